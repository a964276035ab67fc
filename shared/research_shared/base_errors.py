"""The base of the error tree, and the one error that needs no server: see `research_shared.errors` for the whole tree.

Kept apart because importing FastMCP takes a second, which reading settings or checking an audit log can do without.
"""

from typing import Any, ClassVar


class ResearchError(Exception):
    """Base of all expected failures; subclasses fix `code` and a default `hint`, and mostly `retryable`."""

    code: ClassVar[str] = "research_error"
    retryable: bool = False
    default_hint: ClassVar[str] = "Read the message and change the call."

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
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
