"""Spans of a trace around the work of a call, by OpenTelemetry's API. Without an exporter they cost nothing and go nowhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from research_shared.base_errors import ResearchError

_tracer = trace.get_tracer("research_assistant")


@contextmanager
def span(name: str, **attributes: str | float) -> Iterator[Span]:
    """Run a block in a span. Attributes are named `research.` and what is given; they hold no text, path or key.

    A failure marks the span with the code of the error, or with its type.

    >>> with span("read text", media_type="text/plain") as current:
    ...     current.set_attribute("research.pages", 3)
    """
    named = {f"research.{key}": value for key, value in attributes.items()}
    with _tracer.start_as_current_span(
        name, attributes=named, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_attribute(
                "error.type", error.code if isinstance(error, ResearchError) else type(error).__name__
            )
            current.set_status(Status(StatusCode.ERROR))
            raise


def trace_fields() -> dict[str, str]:
    """Return the ids of the current trace and span in hexadecimal, as log lines carry them; nothing outside of a trace."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": f"{current.trace_id:032x}", "span_id": f"{current.span_id:016x}"}
