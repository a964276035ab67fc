"""Ask the user of a client for a choice that is the user's, in both protocol eras. Who cannot be asked is not."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio
from fastmcp import Context
from mcp import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequest, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from research_shared.middleware.capabilities import client_elicits
from research_shared.telemetry import record
from research_shared.text.sizes import counted
from research_shared.text.visible import visible
from research_shared.tools.activity import waiting
from research_shared.tools.arguments import Choose

CHOICE_LIMIT_S: Final = 300.0
"""Seconds that a user may take, in a session. Then the call goes on as if the client could not ask."""
MAX_OPTIONS: Final = 20
"""Options that a user is shown. Of more, nobody is asked."""
MAX_SHOWN_NAME: Final = 200
"""Characters of an argument in a question."""
MAX_NOT_REPEATED: Final = 100
"""Questions that are remembered of a session, the latest ones, as not to be asked again."""
_CHOICE_FIELD: Final = "choice"
_NOT_REPEATED: Final = "research.questions_not_repeated"


class AskUser(Exception):
    """Ends a round: the user is to answer `requests`. Control flow, never an error."""

    def __init__(self, requests: Mapping[str, InputRequest]) -> None:
        super().__init__("the user is to choose")
        self.requests = requests


class UserChoice:
    """Asks the user of one call. The question of a round since 2026-07-28 needs no state of the tool.

    In a session, who declined, cancelled or did not answer is not asked the same again. Since 2026-07-28 there is no session
    to remember that in: what the client sends back belongs to one call.

    `limit_s`: seconds to wait for the user in a session.
    """

    def __init__(self, context: Context, *, limit_s: float = CHOICE_LIMIT_S) -> None:
        self._context = context
        self._limit_s = limit_s

    @property
    def possible(self) -> bool:
        """Whether the client shows forms to its user."""
        return client_elicits(self._context)

    async def among(
        self, key: str, message: str, options: Mapping[str, str], *, subject: str = ""
    ) -> str | None:
        """Return what the user chose: the value of one of `options`, whose keys are shown.

        None: the client cannot ask, or the user declined, cancelled, or did not answer in time, now or before in this session.
        `key` names the question, and `subject` what it is about.

        Raises:
            AskUser: the client speaks 2026-07-28 and is to be asked in this round.
        """
        request = self._context.request_context
        shown = {visible(text): value for text, value in options.items()}
        if not self.possible or request is None or not 1 < len(shown) == len(options) <= MAX_OPTIONS:
            return None
        asked = ElicitRequest(params=_form(message, list(shown)))
        answer: Any
        if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            question = [key, subject]
            if question in await self._not_repeated():
                record(choice=f"{key}: not asked again")
                return None
            answer = await self._over_session(asked)
            if not isinstance(answer, ElicitResult) or answer.action != "accept":
                others = [one for one in await self._not_repeated() if one != question]
                await self._context.set_state(_NOT_REPEATED, [*others, question][-MAX_NOT_REPEATED:])
        elif self._context.request_state is None:
            record(choice=f"{key}: asked")
            raise AskUser({key: asked})
        else:
            answer = (self._context.input_responses or {}).get(key)
        chosen = _chosen_value(answer, shown)
        record(choice=f"{key}: {answer.action if isinstance(answer, ElicitResult) else 'no answer'}")
        return chosen

    async def _not_repeated(self) -> list[list[str]]:
        """Return the questions, each with its subject, that the user of this session did not answer."""
        return await self._context.get_state(_NOT_REPEATED) or []

    async def _over_session(self, asked: ElicitRequest) -> ElicitResult | None:
        """Return the answer of a client from before 2026-07-28; None if there is none."""
        related = ServerMessageMetadata(related_request_id=self._context.request_id)
        with waiting("the user's choice", limit_s=self._limit_s), anyio.move_on_after(self._limit_s):
            try:
                return await self._context.session.send_request(asked, ElicitResult, metadata=related)
            except (MCPError, ValidationError):  # a proxy declares what its own client may not be able to do
                return None
        return None


def choice_of_document(context: Context, given: str) -> Choose:
    """Return what asks the user which of several documents with the same name an argument means."""

    async def choose(paths: Sequence[str]) -> str | None:
        name = given[:MAX_SHOWN_NAME]
        question = (
            f"{counted(len(paths), 'document is', 'documents are')} called {name}. Which one do you mean?"
        )
        options = {path: path for path in paths}
        return await UserChoice(context).among("document", question, options, subject=name)

    return choose


def _form(message: str, options: Sequence[str]) -> ElicitRequestFormParams:
    # A plain enumeration is in the protocol since it has forms.
    schema = {
        "type": "object",
        "properties": {_CHOICE_FIELD: {"type": "string", "title": "Choice", "enum": options}},
        "required": [_CHOICE_FIELD],
    }
    return ElicitRequestFormParams(message=visible(message), requested_schema=schema)


def _chosen_value(answer: object, options: Mapping[str, str]) -> str | None:
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        return None
    value = (answer.content or {}).get(_CHOICE_FIELD)
    return options.get(value) if isinstance(value, str) else None


def ending_round(ask: AskUser, *, state: str) -> InputRequiredResult:
    """Return the result that ends a round of 2026-07-28. `state` comes back with the answers."""
    return InputRequiredResult(input_requests=dict(ask.requests), request_state=state)
