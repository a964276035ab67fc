"""The tool `verify_quotes`."""

from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.tools.base import ToolResult
from mcp_types import ToolAnnotations

from research_documents.quotes.check import QuoteChecker
from research_documents.quotes.results import CheckedQuote, NearestText, QuotesToCheck, VerifiedQuotes
from research_documents.search import DocumentSearch
from research_shared.reading.library import Library
from research_shared.telemetry import record
from research_shared.text.sizes import counted
from research_shared.tools.descriptions import described
from research_shared.tools.names import INCOMPLETE
from research_shared.tools.progress import ClientLog, Progress
from research_shared.tools.schemas import output_schema


def add_quote_tool(
    server: FastMCP[Any],
    *,
    library: Library,
    engine: DocumentSearch,
    annotations: ToolAnnotations,
    log_name: str,
    time_limit_s: float,
) -> None:
    """Add `verify_quotes`. One call works for at most `time_limit_s` seconds."""

    @described(
        server.tool,
        title="Verify quotes",
        annotations=annotations,
        output_schema=output_schema(VerifiedQuotes),
    )
    async def verify_quotes(ctx: Context, quotes: QuotesToCheck) -> ToolResult:
        """Check whether quotes of any text, such as your draft, stand in the documents word for word, and where.

        `verified: false`: correct the quote by `nearest` and its `differences`, or take it out.
        """
        record(documents=sorted({each.document_path for each in quotes if each.document_path}))
        checker = QuoteChecker(library, engine, time_limit_s=time_limit_s)
        result = await checker.check(quotes, on_checked=Progress(ctx, len(quotes)).advance)
        record(documents=sorted(checker.looked_into))
        client_log = ClientLog(ctx, log_name)
        for warning in result.warnings:
            await client_log.warning(warning)
        await client_log.info(f"{result.verified} of {counted(len(result.quotes), 'quote')} verified")
        return ToolResult(quotes_text(result), result.model_dump(mode="json"))


def quotes_text(result: VerifiedQuotes) -> str:
    """Render checked quotes, one or two lines each; what is incomplete comes first."""
    first = [warning for warning in result.warnings if warning.startswith(INCOMPLETE)]
    notes = [f"Note: {warning}" for warning in result.warnings if not warning.startswith(INCOMPLETE)]
    lines = [line for number, quote in enumerate(result.quotes, 1) for line in _quote_lines(number, quote)]
    heading = f"{result.verified} of {counted(len(result.quotes), 'quote')} verified."
    return "\n".join([*first, heading, *notes, "```", *lines, "```"])


def _quote_lines(number: int, checked: CheckedQuote) -> list[str]:
    if checked.verified and checked.document is not None and checked.lines is not None:
        version = f" [{checked.version}]" if checked.version else ""
        return [f"{number} verified: {_locator_text(checked.document, checked.page, checked.lines)}{version}"]
    lines = [f"{number} NOT VERIFIED: {checked.reason}"]
    if checked.nearest is not None:
        lines += _nearest_lines(number, checked.nearest)
    return lines


def _nearest_lines(number: int, nearest: NearestText) -> list[str]:
    place = _locator_text(nearest.document, nearest.page, nearest.lines)
    differs = "; ".join(
        f'"{each.quoted}" is "{each.document}"'
        if each.quoted and each.document
        else f'"{each.quoted}" is not there'
        if each.quoted
        else f'"{each.document}" is left out'
        for each in nearest.differences
    )
    return [
        f"{number} nearest: {place}: {nearest.text}",
        *([f"{number} differs: {differs}"] if differs else []),
    ]


def _locator_text(document: str, page: int | None, lines: tuple[int, int]) -> str:
    where = f"line {lines[0]}" if lines[0] == lines[1] else f"lines {lines[0]}-{lines[1]}"
    return f"{document} {'' if page is None else f'p{page} '}{where}"
