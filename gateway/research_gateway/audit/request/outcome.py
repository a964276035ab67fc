"""The outcome of a call, for the audit trail and the metrics."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastmcp.exceptions import (
    AuthorizationError,
    DisabledError,
    NotFoundError,
    PromptError,
    ResourceError,
    ToolError,
    ValidationError,
)
from fastmcp.prompts.base import InputRequiredPromptResult, PromptResult
from fastmcp.resources.base import InputRequiredResourceResult, ResourceResult
from fastmcp.tools.base import InputRequiredToolResult, ToolResult
from mcp import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    InputRequiredResult,
)
from pydantic import BaseModel
from pydantic import ValidationError as PydanticValidationError

from research_gateway.audit.request.describe import capped, capped_list, locate
from research_shared.access.roots import Root, Scope
from research_shared.errors import ERROR_META_KEY, InvalidArguments, ResearchError, UnknownTool

OutcomeKind = Literal[
    "ok", "denied", "error", "cancelled", "input_required", "invalid_arguments", "unknown_tool"
]

_DENIALS = frozenset({"access_denied", "audit_unavailable", "overloaded", "outside_scope"})
_INVALID = frozenset({"invalid_arguments", "invalid_pattern", "invalid_cursor"})
_REFERENCES = {"resources/read": "unknown_resource", "prompts/get": "unknown_prompt"}
_INPUT_REQUIRED = (
    InputRequiredToolResult,
    InputRequiredResourceResult,
    InputRequiredPromptResult,
    InputRequiredResult,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """Outcome of a call. `reason` is an error code, None for `ok`; `error_id` finds the traceback in the server's log."""

    kind: OutcomeKind
    reason: str | None = None
    error_id: str | None = None

    @property
    def decision(self) -> Literal["allow", "deny"]:
        """Whether a policy allowed the call."""
        return "deny" if self.kind == "denied" else "allow"


def _of_code(code: object, error_id: object = None) -> CallOutcome:
    reason = capped(code, 64)
    identity = capped(error_id, 64) if isinstance(error_id, str) else None
    if reason in _INVALID:
        return CallOutcome(kind="invalid_arguments", reason=reason)
    if reason == UnknownTool.code:
        return CallOutcome(kind="unknown_tool", reason=reason)
    return CallOutcome(kind="denied" if reason in _DENIALS else "error", reason=reason, error_id=identity)


def _of_payload(held: object, key: str) -> CallOutcome | None:
    """Return the outcome of the error payload in `held[key]`, or None if there is none."""
    error = held.get(key) if isinstance(held, Mapping) else None
    if not isinstance(error, Mapping) or not isinstance(error.get("code"), str):
        return None
    return _of_code(error["code"], error.get("error_id"))


def outcome_of_result(result: object, *, modern: bool = True) -> CallOutcome:
    """Return the outcome of a call that returned. `modern`: the client speaks 2026-07-28 or later."""
    if isinstance(result, _INPUT_REQUIRED):
        return (
            CallOutcome(kind="input_required")
            if modern
            else CallOutcome(kind="error", reason="era_without_input_required")
        )
    if isinstance(result, Mapping) and result.get("resultType") == "input_required":
        return CallOutcome(kind="input_required")
    if isinstance(result, ToolResult) and result.is_error:
        return _of_payload(result.meta, ERROR_META_KEY) or CallOutcome(kind="error", reason="reported_error")
    return CallOutcome(kind="ok")


def outcome_of_exception(error: BaseException, method: str) -> CallOutcome:  # noqa: PLR0911  (one return for each kind)
    """Return the outcome of a call that raised."""
    match error:
        case asyncio.CancelledError():
            return CallOutcome(kind="cancelled", reason="cancelled")
        case ResearchError():
            return _of_code(error.code, error.details.get("error_id"))
        case AuthorizationError():
            return CallOutcome(kind="denied", reason="access_denied")
        case NotFoundError() | DisabledError():
            if method == "tools/call":
                return CallOutcome(kind="unknown_tool", reason=UnknownTool.code)
            return CallOutcome(kind="error", reason=_REFERENCES.get(method, "not_found"))
        case ValidationError() | PydanticValidationError():
            return CallOutcome(kind="invalid_arguments", reason=InvalidArguments.code)
        case MCPError():
            return _of_protocol_error(error)
        case ToolError() | ResourceError() | PromptError() if error.__cause__ is None:
            return CallOutcome(kind="error", reason="reported_error")
        case Exception() if error.__cause__ is not None:
            return outcome_of_exception(error.__cause__, method)
        case Exception():
            return CallOutcome(kind="error", reason="internal_error")
        case _:
            return CallOutcome(kind="error", reason="process_ending")


def _of_protocol_error(error: MCPError) -> CallOutcome:
    if outcome := _of_payload(error.error.data, "error"):
        return outcome
    match error.error.code:
        case c if c == INVALID_PARAMS:
            return CallOutcome(kind="invalid_arguments", reason=InvalidArguments.code)
        case c if c == METHOD_NOT_FOUND:
            return CallOutcome(kind="error", reason="unknown_method")
        case c if c == MISSING_REQUIRED_CLIENT_CAPABILITY:
            return CallOutcome(kind="error", reason="missing_client_capability")
        case code:
            return CallOutcome(kind="error", reason=f"protocol_{code}")


def reclassify_out_of_scope(
    outcome: CallOutcome, *, fields: Mapping[str, Any], facts: Mapping[str, Any]
) -> CallOutcome:
    """Turn `document_not_found` into a denial if the document is outside of the roots or the scope.

    `fields` describe the request, `facts` are those recorded by the tool. Clients cannot tell the two cases apart;
    operators can.
    """
    if outcome.reason != "document_not_found":
        return outcome
    documents: Sequence[Mapping[str, Any]] = fields.get("documents", ())
    if any(document.get("rejected") for document in documents):
        return CallOutcome(kind="denied", reason="outside_roots")
    scope = facts.get("effective_scope")
    if isinstance(scope, Scope):
        named = [str(document["path"]) for document in documents]
        if not all(scope.admits(path) for path in named):
            return CallOutcome(kind="denied", reason="outside_scope")
    return outcome


def result_size(result: object) -> dict[str, int]:
    """Return `result_items` of a listing, or `result_bytes` of text and binary content."""
    match result:
        case ToolResult():
            return {"result_bytes": sum(_bytes_of(block) for block in result.content)}
        case ResourceResult():
            return {"result_bytes": sum(_length(part.content) for part in result.contents)}
        case PromptResult():
            return {"result_items": len(result.messages)}
        case {"completion": {"values": list(values)}}:
            return {"result_items": len(values)}
        case list() | tuple():
            return {"result_items": len(result)}
        case _:
            return {}


def _bytes_of(block: BaseModel) -> int:
    fields = vars(block)
    return _length(fields.get("text")) + _length(fields.get("data"))


def _length(value: object) -> int:
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
        case bytes():
            return len(value)
        case _:
            return 0


_STRINGS = ("choice", "route", "model", "stop_reason", "model_error", "upstream")
_NUMBERS = (
    "attempts",
    "retries",
    "model_calls",
    "input_tokens",
    "output_tokens",
    "unfinished_model_calls",
    "unfinished_input_tokens",
    "cache_hits",
    "cache_misses",
    "sources_used",
    "sources_skipped",
)


def facts_shown(facts: Mapping[str, Any], roots: Sequence[Root]) -> dict[str, Any]:
    """Select the facts recorded by tools that belong in the trail."""
    shown: dict[str, Any] = {}
    for name in _STRINGS:
        if isinstance(value := facts.get(name), str):
            shown[name] = capped(value, 128)
    for name in _NUMBERS:
        if isinstance(value := facts.get(name), int | float) and not isinstance(value, bool):
            shown[name] = value
    if isinstance(partial := facts.get("partial"), bool):
        shown["partial"] = partial
    if isinstance(call := facts.get("call"), str):
        # the tool's own id of a call of several rounds, the same on all replicas
        shown["tool_call"] = capped(call, 64)
    if isinstance(task := facts.get("task"), str):
        shown["task"] = capped(task, 64)
    if isinstance(scope := facts.get("scope"), list | tuple):
        shown["scope"] = capped_list(scope)
    if isinstance(rules := facts.get("rules"), list | tuple):
        shown["rules"] = capped_list(rules)
    if isinstance(documents := facts.get("documents"), list | tuple) and documents:
        shown["documents"] = [locate(path, roots) for path, _ in zip(documents, range(100), strict=False)]
        shown["documents_total"] = len(documents)
    return shown
