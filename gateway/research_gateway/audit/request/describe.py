"""Describes a request for its start record: caller, target and documents, never text of documents or prompts."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastmcp.server.context import Context
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import MiddlewareContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from opentelemetry import trace
from pydantic import BaseModel

from research_documents.connectors import DocumentId
from research_gateway.audit.log.format import to_json
from research_gateway.audit.options import AuditLevel
from research_gateway.audit.request.redaction import HIDDEN, is_absolute, public_uri, without_credentials
from research_shared.access.roots import Root
from research_shared.document_urls import DOCUMENT_URI, without_document_uri
from research_shared.logs import get_logger

log = get_logger("research.audit")

MAX_STRING = 256
MAX_LISTED_DOCUMENTS = 100
MAX_SHOWN_ARGUMENTS = 50
MAX_ARGUMENT_DEPTH = 4
MAX_SCANNED = 4_096
"""Characters of an argument in which credentials are looked for. What is recorded is shorter."""
_SECRET = re.compile(r"key|token|secret|passw|authorization|credential|cookie", re.IGNORECASE)
_TEXTS = frozenset(
    {"body", "completion", "content", "contents", "data", "document", "message", "messages", "prompt", "text"}
)
"""Argument names of foreign tools whose values may be document text and are not recorded."""


def capped(value: object, limit: int = MAX_STRING) -> str:
    """Truncate a string to `limit` characters, with an ellipsis."""
    text = value if type(value) is str else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def digest_of(data: bytes, key: bytes | None) -> str:
    """Return a digest of arguments; with a key an HMAC, so that values cannot be guessed."""
    if key is not None:
        return "hmac-sha256:" + hmac.digest(key, data, "sha256").hex()
    return "sha256:" + hashlib.sha256(data).hexdigest()


def locate(path: object, roots: Sequence[Root]) -> dict[str, str | None]:
    """Split a document path into root name and relative path. Paths outside of the roots are not recorded."""
    if not isinstance(path, str):
        return {"root": None, "path": None, "rejected": "no_path"}
    path = without_document_uri(path.strip())
    parts = path.split("/")
    if is_absolute(path):
        return {"root": None, "path": None, "rejected": "absolute"}
    if ".." in parts or "\0" in path:
        return {"root": None, "path": None, "rejected": "outside"}
    if len(roots) == 1:
        return {"root": capped(roots[0].name), "path": capped(path)}
    if len(parts) > 1 and parts[0] in {root.name for root in roots}:
        return {"root": capped(parts[0]), "path": capped("/".join(parts[1:]))}
    return {"root": None, "path": capped(path)}


def documents_of(
    method: str, *, params: Mapping[str, Any], roots: Sequence[Root]
) -> list[dict[str, str | None]]:
    """Return the documents that a request names."""
    paths: list[object] = []
    arguments = params.get("arguments")
    if method == "tools/call" and isinstance(arguments, Mapping):
        if "document_path" in arguments:
            paths.append(arguments["document_path"])
        several = arguments.get("document_paths")
        if isinstance(several, list | tuple):
            paths.extend(several[:MAX_LISTED_DOCUMENTS])
        if params.get("name") == "fetch" and isinstance(named := arguments.get("id"), str):
            paths.append(without_document_uri(DocumentId.parse(named).path))
    elif method == "resources/read" and str(params.get("uri", "")).startswith(DOCUMENT_URI):
        paths.append(without_document_uri(str(params["uri"])))
    return [locate(path, roots) for path in paths]


def _is_private(name: str) -> bool:
    return name.lower() in _TEXTS or _SECRET.search(name) is not None


def shown_arguments(value: object, depth: int = 0) -> object:
    """Arguments as the level `arguments` shows them: strings and lists capped, secrets and texts left out."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124
        case str():
            return capped(without_credentials(value[:MAX_SCANNED]))
        case Mapping() if depth < MAX_ARGUMENT_DEPTH:
            items = list(value.items())[:MAX_SHOWN_ARGUMENTS]
            return {
                capped(without_credentials(str(name)), 64): HIDDEN
                if _is_private(str(name))
                else shown_arguments(item, depth + 1)
                for name, item in items
            }
        case list() | tuple() if depth < MAX_ARGUMENT_DEPTH:
            return [shown_arguments(item, depth + 1) for item in value[:MAX_SHOWN_ARGUMENTS]]
        case _:
            return "(not shown)"


def params_of(message: Any) -> Mapping[str, Any]:
    """Return the parameters of a request, which may be a Pydantic model or a mapping."""
    if isinstance(message, BaseModel):
        fields = vars(message)
        inner = fields.get("params", fields)
        if isinstance(inner, BaseModel):
            return vars(inner)
        return inner if isinstance(inner, Mapping) else {}
    return message if isinstance(message, Mapping) else {}


def target_of(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the requested tool, prompt, resource or reference."""
    match method:
        case "tools/call":
            return {"tool": capped(params.get("name", ""), 128)}
        case "prompts/get":
            return {"prompt": capped(params.get("name", ""), 128)}
        case "resources/read" | "resources/subscribe" | "resources/unsubscribe":
            return {"uri": capped(public_uri(str(params.get("uri", ""))))}
        case "tasks/get" | "tasks/update" | "tasks/cancel":
            return {"task": capped(params.get("taskId", ""), 64)}
        case "completion/complete":
            ref, argument = _as_mapping(params.get("ref")), _as_mapping(params.get("argument"))
            named = ref.get("name")
            of = (
                {"prompt": capped(named, 128)}
                if named
                else {"uri": capped(public_uri(str(ref.get("uri", ""))))}
            )
            return {**of, "argument": capped(argument.get("name", ""), 64)}
        case _:
            return {}


def _as_mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return dict(value)
    return value if isinstance(value, Mapping) else {}


def arguments_of(
    method: str, params: Mapping[str, Any], *, level: AuditLevel, key: bytes | None
) -> dict[str, Any]:
    """Return digest and size of the arguments; at level `arguments` also the arguments of tools."""
    arguments = params.get("arguments")
    if not isinstance(arguments, Mapping):
        return {}
    try:
        data = to_json(arguments).encode()
    except (TypeError, ValueError, RecursionError):
        data = repr(arguments).encode(errors="backslashreplace")
    fields: dict[str, Any] = {"argument_bytes": len(data), "argument_digest": digest_of(data, key)}
    if level == "arguments" and method == "tools/call":
        fields["arguments"] = shown_arguments(arguments)
    return fields


def caller_of(context: Context | None) -> dict[str, Any]:
    """Return era, transport, client and principal of a request; calls inside the server only have a transport."""
    request = context.request_context if context is not None else None
    if context is None or request is None:
        return {"transport": "internal"}
    fields: dict[str, Any] = {
        "era": "modern" if request.protocol_version in MODERN_PROTOCOL_VERSIONS else "handshake",
        "protocol": capped(request.protocol_version, 32),
        "transport": context.transport or "in-memory",
        "request_id": capped(request.request_id, 64),
    }
    params = request.session.client_params
    if params is not None:
        info = params.client_info
        fields["client"] = {"name": capped(info.name, 128), "version": capped(info.version, 64)}
    token = get_access_token()
    if token is not None:
        subject = (token.claims or {}).get("sub")
        fields["principal"] = {"client_id": capped(token.client_id, 128)}
        if isinstance(subject, str):
            fields["principal"]["subject"] = capped(subject, 128)
    return fields


def trace_of(call_id: str) -> dict[str, Any]:
    """Return the trace id, and set the call id on the current OpenTelemetry span."""
    span = trace.get_current_span()
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    span.set_attribute("research.audit.call_id", call_id)
    return {"trace_id": f"{context.trace_id:032x}"}


def describe_request(
    context: MiddlewareContext[Any],
    params: Mapping[str, Any],
    *,
    roots: Sequence[Root],
    level: AuditLevel,
    key: bytes | None,
) -> dict[str, Any]:
    """Return the fields of a start record that describe the request."""
    method = context.method or ""
    fields: dict[str, Any] = {"method": capped(method, 64), **target_of(method, params)}
    fields.update(caller_of(context.fastmcp_context))
    if documents := documents_of(method, params=params, roots=roots):
        fields["documents"] = documents
    fields.update(arguments_of(method, params, level=level, key=key))
    return fields


def described_request(
    context: MiddlewareContext[Any],
    params: Mapping[str, Any],
    *,
    roots: Sequence[Root],
    level: AuditLevel,
    key: bytes | None,
) -> dict[str, Any]:
    """Return `describe_request`, or the method and the kind of failure if a request cannot be described.

    A request is recorded whatever is in it.
    """
    try:
        return describe_request(context, params, roots=roots, level=level, key=key)
    except Exception as error:
        log.exception("a request cannot be described", method=context.method)
        return {"method": capped(context.method or "", 64), "undescribed": type(error).__name__}


def capped_list(values: Iterable[object], limit: int = MAX_LISTED_DOCUMENTS) -> list[str]:
    """Return the first `limit` values as truncated strings."""
    return [capped(value) for value, _ in zip(values, range(limit), strict=False)]
