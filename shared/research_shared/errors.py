"""Every error that a user of the tools can see.

The tree (code in brackets, `*` marks the retryable ones)::

    ResearchError
    ├── ConfigurationError          [configuration_error]
    ├── InvalidArguments            [invalid_arguments]
    │   ├── InvalidPattern          [invalid_pattern]
    │   ├── InvalidCursor           [invalid_cursor]
    │   └── RequestTooLarge         [request_too_large]
    ├── ResponseTooLarge            [response_too_large]
    ├── ScopeEmpty                  [scope_empty]
    ├── UnknownTool                 [unknown_tool]
    ├── DocumentError
    │   ├── DocumentNotFound        [document_not_found]
    │   ├── DocumentUnreadable      [document_unreadable]
    │   │   └── UnsupportedType     [unsupported_type]
    │   └── NoReadableDocuments     [no_readable_documents]
    ├── RootUnavailable             [root_unavailable]     *
    ├── ModelError
    │   ├── ModelUnavailable        [model_unavailable]
    │   ├── ModelFailed             [model_failed]         *
    │   └── BudgetExceeded          [budget_exceeded]
    ├── Overloaded                  [overloaded]           *
    │   └── ShuttingDown            [shutting_down]        *
    ├── DeadlineExceeded            [deadline_exceeded]    *
    ├── BackendUnavailable          [backend_unavailable]  *
    ├── BackendRefused              [backend_refused]
    ├── AuditUnavailable            [audit_unavailable]    *
    └── InternalError               [internal_error]

Errors are written for the model that reads them: `message` describes the problem in terms of the call, `hint` the next
step, and `retryable` is true if the same call can succeed later. None of them may contain an absolute path, a traceback, or
the text of a document.

All but ConfigurationError, which is raised before anything is served, are `RequestError`s and so FastMCP's as well.
"""

import logging
from typing import Any

from fastmcp.exceptions import FastMCPError

from research_shared.base_errors import ConfigurationError, ResearchError

__all__ = [
    "ERROR_META_KEY",
    "AuditUnavailable",
    "BackendRefused",
    "BackendUnavailable",
    "BudgetExceeded",
    "ConfigurationError",
    "DeadlineExceeded",
    "DocumentError",
    "DocumentNotFound",
    "DocumentUnreadable",
    "InternalError",
    "InvalidArguments",
    "InvalidCursor",
    "InvalidPattern",
    "ModelError",
    "ModelFailed",
    "ModelUnavailable",
    "NoReadableDocuments",
    "Overloaded",
    "RequestError",
    "RequestTooLarge",
    "ResearchError",
    "ResponseTooLarge",
    "RootUnavailable",
    "ScopeEmpty",
    "ShuttingDown",
    "UnknownTool",
    "UnsupportedType",
]

ERROR_META_KEY = "io.github.research-assistant-mcp/error"
"""Where the `_meta` of a tool's error result holds the error's payload."""


class RequestError(ResearchError, FastMCPError):
    """Base of what fails while a request is served: as FastMCP's own errors, it passes FastMCP's layers unmasked."""

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.log_level = logging.DEBUG


class InvalidArguments(RequestError):
    """The arguments do not fit the tool's input schema."""

    code = "invalid_arguments"
    default_hint = "Correct the named argument and call again."


class InvalidPattern(InvalidArguments):
    """A file pattern that is too long or cannot be compiled."""

    code = "invalid_pattern"
    default_hint = "Use a glob such as `*.pdf` or `reports/**/*.md`."


class InvalidCursor(InvalidArguments):
    """A cursor that this server did not hand out, or whose query has changed."""

    code = "invalid_cursor"
    default_hint = "Call again without a cursor to start from the first page."


class RequestTooLarge(InvalidArguments):
    """The arguments of a call are larger than the server takes."""

    code = "request_too_large"
    default_hint = "Send less in one call."


class ResponseTooLarge(RequestError):
    """The result of a call is larger than the server gives."""

    code = "response_too_large"
    default_hint = "Ask for less: a smaller limit, fewer lines, or one page at a time."


class ScopeEmpty(RequestError):
    """The roots that the client declares and the research folders have nothing in common."""

    code = "scope_empty"
    default_hint = (
        "Have the client declare a root that holds, or lies in, a research folder; see research://scope."
    )


class UnknownTool(RequestError):
    """No tool of that name is served here."""

    code = "unknown_tool"
    default_hint = "Call tools/list to see the tools of this server."


class DocumentError(RequestError):
    """A document cannot be used."""


class DocumentNotFound(DocumentError):
    """No such document within the scope. Says nothing about what lies outside."""

    code = "document_not_found"
    default_hint = "Call list_research_documents to see the available paths, then use one exactly as listed."


class DocumentUnreadable(DocumentError):
    """The document is there, but gives no text. `reason` is one a person understands."""

    code = "document_unreadable"
    default_hint = "Continue with other documents; this one needs attention by a person."

    def __init__(self, message: str, *, reason: str, hint: str | None = None, **details: Any) -> None:
        super().__init__(message, hint=hint, reason=reason, **details)
        self.reason = reason


class UnsupportedType(DocumentUnreadable):
    """The file is there, and of a type that is not read. The hint says what people can do about it."""

    code = "unsupported_type"

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message, **{"hint": hint, "reason": "unsupported type", **details})


class NoReadableDocuments(DocumentError):
    """None of the requested documents could be read."""

    code = "no_readable_documents"
    default_hint = "Call list_research_documents to see the available paths, then call again with those."


class RootUnavailable(RequestError):
    """A research folder is missing or unreadable at the moment."""

    code = "root_unavailable"
    retryable = True
    default_hint = "The research folder is not reachable now. Try again later or tell the operator."


class ModelError(RequestError):
    """A language model could not do its part."""


class ModelUnavailable(ModelError):
    """No route to a language model is open to this request."""

    code = "model_unavailable"
    default_hint = (
        "Use a client that offers sampling, or have the operator set RESEARCH_PROVIDER, RESEARCH_PROVIDER_MODEL "
        "and RESEARCH_PROVIDER_KEY (or RESEARCH_MODEL_ROUTE=extractive for summaries without a model)."
    )


class ModelFailed(ModelError):
    """The model did not answer usefully in the allowed number of attempts."""

    code = "model_failed"
    retryable = True
    default_hint = "Call again later. Searching and reading documents still works."


class BudgetExceeded(ModelError):
    """The request needs more model tokens, calls or rounds than are allowed."""

    code = "budget_exceeded"
    default_hint = "Ask for fewer documents or a shorter summary."


class Overloaded(RequestError):
    """A limit on concurrency or rate is reached."""

    code = "overloaded"
    retryable = True
    default_hint = "Wait a moment, then call again."


class ShuttingDown(Overloaded):
    """The server finishes the calls in flight and takes no new work."""

    code = "shutting_down"
    default_hint = "Call again in a few seconds, when the server is back."


class DeadlineExceeded(RequestError):
    """The work did not end within its time limit."""

    code = "deadline_exceeded"
    retryable = True
    default_hint = "Ask for less in one call, or call again later."


class BackendUnavailable(RequestError):
    """An upstream server behind the gateway does not answer."""

    code = "backend_unavailable"
    retryable = True
    default_hint = "Wait a moment, then call again; other tools are not affected."


class BackendRefused(RequestError):
    """An upstream server behind the gateway answered with a protocol error."""

    code = "backend_refused"
    default_hint = "Read the message of that server and change the call."


class AuditUnavailable(RequestError):
    """The audit trail cannot be written and the policy is to refuse work in that case."""

    code = "audit_unavailable"
    retryable = True
    default_hint = "Tell the operator that the audit log cannot be written."


class InternalError(RequestError):
    """Anything unexpected; `error_id` finds the traceback in the server's log."""

    code = "internal_error"
    default_hint = "Report the error id to the operator; retrying the same call is unlikely to help."
