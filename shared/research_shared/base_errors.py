"""The base of the error tree, and the one error that needs no server: see `research_shared.errors` for the whole tree.

Kept apart because importing FastMCP takes a second, which reading settings or checking an audit log can do without.
"""

from typing import Any, ClassVar

MAX_MESSAGE = 2_000
"""Characters of an error's message. Longer ones hold text of a client or of another server."""


def sendable(text: str, limit: int = MAX_MESSAGE) -> str:
    r"""Return the text at most `limit` characters long, and with each half of a surrogate pair escaped.

    A lone half has no UTF-8 form, so that nothing with it can be sent.

    >>> sendable("\ud800 is no character")
    '\\ud800 is no character'
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


class ResearchError(Exception):
    """Base of all expected failures; subclasses fix `code` and a default `hint`, and mostly `retryable`."""

    code: ClassVar[str] = "research_error"
    retryable: bool = False
    default_hint: ClassVar[str] = "Read the message and change the call."

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        self.message = sendable(message)
        super().__init__(self.message)
        self.hint = hint if hint is not None else self.default_hint
        self.details = details

    def payload(self) -> dict[str, Any]:
        """Return the structured form for the wire: `{code, message, hint, retryable, …}` and the details."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            **self.details,
        }


class ConfigurationError(ResearchError):
    """A setting is wrong; raised at start, before any request is served."""

    code = "configuration_error"
    default_hint = "Correct the named setting and start again."
