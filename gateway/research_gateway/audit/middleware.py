"""Audits the requests of a server: a start record before each request and an end record after it."""

import secrets
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from random import Random
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from structlog.contextvars import bound_contextvars

from research_gateway.audit.log.chain import Event, timestamp
from research_gateway.audit.log.format import to_json
from research_gateway.audit.request.describe import capped, described_request, params_of, trace_of
from research_gateway.audit.request.outcome import (
    CallOutcome,
    facts_shown,
    outcome_of_exception,
    outcome_of_result,
    reclassify_out_of_scope,
    result_size,
)
from research_gateway.audit.request.waiting_calls import WaitingCalls, asked_state, state_digest
from research_gateway.audit.trail import AuditTrail
from research_shared.access.roots import Root
from research_shared.errors import AuditUnavailable
from research_shared.logs import get_logger
from research_shared.middleware.boundary import error_result, protocol_error
from research_shared.tasks import current_work
from research_shared.telemetry import collecting

log = get_logger("research.audit")

UNAUDITED_METHODS = frozenset(
    {"initialize", "ping", "server/discover", "logging/setLevel", "subscriptions/listen"}
)
"""Methods that only maintain a connection. They are not recorded."""

_current_call_id: ContextVar[str | None] = ContextVar("research_audit_call", default=None)


_current_logical_call_id: ContextVar[str | None] = ContextVar("research_audit_logical_call", default=None)


def current_call_id() -> str | None:
    """Return the audit id of the call being served, or None outside of an audited call."""
    return _current_call_id.get()


def current_call_ids() -> tuple[str | None, str | None]:
    """Return the audit ids of the call being served and of the logical call that it belongs to, for its task to carry."""
    return _current_call_id.get(), _current_logical_call_id.get()


class AuditMiddleware(Middleware):
    """Records every request in a trail. Add it first, so that it is the outermost middleware.

    `roots` are used to split document paths into root and relative path; default: those of the trail's options.

    >>> from pathlib import Path
    >>> from fastmcp import Client, FastMCP
    >>> trail = AuditTrail.open(path=Path("audit.jsonl"))
    >>> server = FastMCP("host", middleware=[AuditMiddleware(trail)])
    >>> async with trail, Client(server) as client:
    ...     tools = await client.list_tools()
    >>> '"tools/list"' in Path("audit.jsonl").read_text()
    True
    """

    def __init__(self, trail: AuditTrail, *, roots: Sequence[Root] | None = None) -> None:
        self.trail = trail
        self.roots = tuple(trail.options.roots if roots is None else roots)
        self.waiting_calls = WaitingCalls()
        self.ids = Random(secrets.randbits(256))  # noqa: S311  (ids need to be unique, not secret)

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Record the start, serve the request, and record its outcome.

        Raises:
            MCPError: a record could not be written and `on_failure` is `closed`. Tools return an error result.
        """
        if context.method in UNAUDITED_METHODS:
            return await call_next(context)
        call = _AuditedCall(self, context)
        token = _current_call_id.set(call.call_id)
        logical_token = _current_logical_call_id.set(call.logical_call_id)
        try:
            async with self.trail.keep_open():
                with bound_contextvars(call_id=call.call_id):  # in the log lines of the call
                    return await self._audited(call, context, call_next)
        except AuditUnavailable as refusal:
            if context.method == "tools/call":
                return error_result(refusal)
            raise protocol_error(refusal) from refusal
        finally:
            _current_logical_call_id.reset(logical_token)
            _current_call_id.reset(token)

    async def _audited(
        self, call: "_AuditedCall", context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
    ) -> Any:
        trail = self.trail
        start = trail.submit(call.begin())
        with collecting() as facts:
            try:
                await trail.written(start)
                result = await call_next(context)
            except BaseException as error:
                end = trail.submit(call.end(outcome_of_exception(error, call.method), facts), follows=start)
                if isinstance(error, Exception) and not isinstance(error, AuditUnavailable):
                    await trail.written(end)
                raise
        outcome = outcome_of_result(result, modern=call.fields.get("era") != "handshake")
        await trail.written(trail.submit(call.end(outcome, facts, result), follows=start))
        return result


class _AuditedCall:
    """State of one request in the middleware."""

    def __init__(self, audit: AuditMiddleware, context: MiddlewareContext[Any]) -> None:
        self._audit = audit
        self._parent = _current_call_id.get()
        self._begun = time.perf_counter()
        options = audit.trail.options
        self.method = context.method or ""
        self.call_id = f"{audit.ids.getrandbits(96):024x}"
        params = params_of(context.message)
        self.fields = described_request(
            context, params, roots=audit.roots, level=options.level, key=options.key
        )
        server = context.fastmcp_context.fastmcp.name if context.fastmcp_context is not None else ""
        self.fields["server"] = capped(server, 128)
        self._continue(params)
        if (current := current_work()) is not None:
            # The work of a task belongs to the call that submitted it, which ended long before it.
            self._parent = current.work.call_id
            self.logical_call_id = current.work.logical_call_id or self.call_id
            self.fields |= {"transport": "task", "task": current.task_id, "attempt": current.attempt}

    def _continue(self, params: Mapping[str, Any]) -> None:
        given = params.get("request_state") or params.get("requestState")
        answers = params.get("input_responses") or params.get("inputResponses")
        if not isinstance(given, str):  # the protocol layer refuses the request, and the refusal is recorded
            given = None
        if not given and not answers:
            self.logical_call_id, self._round = self.call_id, 1
            return
        state = state_digest(given)
        resumed = self._audit.waiting_calls.resume(self.fields, state, answered=bool(answers))
        self.logical_call_id, self._round = resumed or (self.call_id, 1)
        if state is not None:
            self.fields["state"] = state
        if isinstance(answers, Mapping):
            self.fields["answers"] = len(answers)

    def _event(self, kind: str) -> dict[str, Any]:
        fields = {
            "event": kind,
            "time": timestamp(self._audit.trail.clock()),
            "call_id": self.call_id,
            "logical_call_id": self.logical_call_id,
            "round": self._round,
        }
        if self._parent is not None:
            fields["parent_call_id"] = self._parent
        return fields

    def begin(self) -> Event:
        """Return the start event."""
        fields = {**self._event("start"), **self.fields, **trace_of(self.call_id)}
        return Event(body=to_json(fields), call_id=self.call_id, phase="start")

    def end(self, outcome: CallOutcome, facts: Mapping[str, Any], result: object = None) -> Event:
        """Return the end event."""
        outcome = reclassify_out_of_scope(outcome, fields=self.fields, facts=facts)
        fields = self._event("end")
        for name in ("server", "method", "tool", "prompt", "uri", "task", "attempt"):
            if name in self.fields:
                fields[name] = self.fields[name]
        fields |= {"outcome": outcome.kind, "decision": outcome.decision, "reason": outcome.reason}
        if outcome.error_id is not None:
            fields["error_id"] = outcome.error_id
        fields["duration_ms"] = round((time.perf_counter() - self._begun) * 1000, 3)
        shown = ("method", "tool", "prompt", "outcome", "reason", "duration_ms")
        log.debug("call ended", **{name: fields[name] for name in shown if fields.get(name) is not None})
        fields |= result_size(result)
        if facts:
            fields |= facts_shown(facts, self._audit.roots)
        if outcome.kind == "input_required":
            state = asked_state(result)
            self._audit.waiting_calls.wait(
                fields=self.fields, state=state, logical_call=self.logical_call_id, number=self._round + 1
            )
            if state is not None:
                fields["state"] = state
        return Event(body=to_json(fields), call_id=self.call_id, phase="end")
