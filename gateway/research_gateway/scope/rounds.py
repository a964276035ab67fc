"""The state of a call that asks its client for roots, carried from round to round."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types

from research_gateway.scope.client_roots import narrowed_by
from research_shared.access.roots import Root, Scope

ROOTS_KEY = "research_gateway_roots"
"""Key of the roots request in a round, and of the session state that caches the roots."""


_STATE_MARK = "research-scope:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRound:
    """The state of the previous round: `scope` is None until the roots are known; `state` and `answers` are the tool's own.

    `asked` is True if the previous round asked for the roots.
    """

    scope: Scope | None
    state: str | None
    answers: Mapping[str, Any] | None
    asked: bool

    @classmethod
    def of(cls, state: str | None, answers: Mapping[str, Any] | None, roots: Sequence[Root]) -> "ScopeRound":
        """Parse the `state` and `answers` of a request as sent by the client."""
        if state is None or not state.startswith(_STATE_MARK):
            return cls(scope=None, state=state, answers=answers, asked=False)
        carried = json.loads(state.removeprefix(_STATE_MARK))
        inner = {key: value for key, value in (answers or {}).items() if key != ROOTS_KEY}
        if carried["scope"] is not None:
            scope = Scope.from_json(carried["scope"])
        else:
            answer = (answers or {}).get(ROOTS_KEY)
            if answer is None:
                return cls(scope=None, state=carried["state"], answers=inner, asked=True)
            listed = answer.roots if isinstance(answer, mcp_types.ListRootsResult) else []
            scope = narrowed_by(roots, (str(root.uri) for root in listed))
        return cls(scope=scope, state=carried["state"], answers=inner, asked=True)


def _sealed_state(scope: Scope | None, state: str | None) -> str:
    return _STATE_MARK + json.dumps({"scope": None if scope is None else scope.to_json(), "state": state})


def ask_for_roots(
    scope: Scope | None, inner: mcp_types.InputRequiredResult | None
) -> mcp_types.InputRequiredResult:
    """Return the tool's own questions, plus a roots request while `scope` is None."""
    requests = dict((inner.input_requests if inner is not None else None) or {})
    if scope is None:
        requests[ROOTS_KEY] = mcp_types.ListRootsRequest()
    state = _sealed_state(scope, inner.request_state if inner is not None else None)
    if inner is None:
        return mcp_types.InputRequiredResult(input_requests=requests, request_state=state)
    return inner.model_copy(update={"input_requests": requests or None, "request_state": state})
