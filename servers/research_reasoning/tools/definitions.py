"""`summarize_document` and `synthesize_research` as tools of a server."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from fastmcp import Context, FastMCP
from fastmcp.apps import AppConfig
from fastmcp.tools.base import ToolResult
from mcp_types import InputRequiredResult, ToolAnnotations

from research_reasoning.apps import answer_meta
from research_reasoning.call import Call
from research_reasoning.folder.narrowing import narrowed_folder
from research_reasoning.follow_up import carried_evidence
from research_reasoning.inquiry import Inquiry
from research_reasoning.models.state import Ledger
from research_reasoning.replies.rendering import summary_text, synthesis_text
from research_reasoning.replies.results import AnswerFormat, Summary, Synthesis
from research_reasoning.requested import WholeFolder, fitting, requested
from research_reasoning.tools.arguments import (
    AnswerLayout,
    Aspects,
    DocumentPath,
    DocumentPaths,
    ExportAs,
    FollowUp,
    HowDeep,
    Length,
    Question,
)
from research_reasoning.tools.service import ReasoningService, Run
from research_shared.middleware.capabilities import client_shows_apps
from research_shared.reading.filters import DocumentFilter
from research_shared.telemetry import record
from research_shared.tools.arguments import resolve_path
from research_shared.tools.choices import choice_of_document
from research_shared.tools.descriptions import described
from research_shared.tools.filters import takes_filter
from research_shared.tools.names import ANSWER_APP_URI
from research_shared.tools.schemas import output_schema

FOLDER_STEPS: Final = 21
"""Steps of a question over the folder, until it is known how many documents are read."""


def add_reasoning_tools(server: FastMCP[Any], service: ReasoningService) -> None:
    """Add `summarize_document` and `synthesize_research` to a server."""
    # Not idempotent in MCP's sense of "the same call has no further effect": each call costs model tokens and may be
    # worded differently. The world it touches is a model outside the server.
    annotations = ToolAnnotations(read_only_hint=True, idempotent_hint=False, open_world_hint=True)

    @described(
        server.tool,
        title="Summarize a document",
        annotations=annotations,
        output_schema=output_schema(Summary),
    )
    async def summarize_document(
        context: Context, document_path: DocumentPath, summary_length: Length = "standard"
    ) -> ToolResult | InputRequiredResult:
        """Summarize one document in 1, 3 or 5+ paragraphs with a language model.

        To decide whether a document is worth reading, or to report on one. For a question, or for several documents,
        use synthesize_research; for exact words use search_documents and read_document. A reply that begins with
        INCOMPLETE rests on a part of the document: `coverage` has the lines that the model was shown, read_document
        gives the others. `route`: whose model wrote it: client (yours), provider (the server's), extractive (none:
        sentences chosen by rule).
        """

        async def prepare(ledger: Ledger) -> tuple[int, Run]:
            from research_reasoning.summarize import STEPS, summarize

            record(documents=[document_path])
            path = ledger.get_result("path") or await resolve_path(
                service.library, document_path, choose=choice_of_document(context, document_path)
            )
            ledger.set_result("path", path, replaces=[])
            record(documents=[path])

            async def run(call: Call) -> ToolResult:
                result = await summarize(call, path, summary_length)
                return ToolResult(summary_text(result), result.model_dump(mode="json"))

            return STEPS, run

        return await service.serve(context, prepare)

    @described(
        server.tool,
        title="Synthesize research over documents",
        annotations=annotations,
        output_schema=output_schema(Synthesis),
        app=AppConfig(resource_uri=ANSWER_APP_URI),
    )
    @takes_filter
    async def synthesize_research(
        context: Context,
        *,
        document_paths: DocumentPaths = [],  # noqa: B006  (never changed; a list in the schema)
        research_question: Question,
        depth: HowDeep = "overview",
        format: AnswerLayout = "prose",  # noqa: A002  (what people call it)
        aspects: Aspects = [],  # noqa: B006  (never changed; a list in the schema)
        follow_up: FollowUp = "",
        export: ExportAs = "",
        wanted: DocumentFilter,
    ) -> ToolResult | InputRequiredResult:
        """Answer one research question from the folder or from named documents, with quotes that were looked up in them.

        `format` table gives `table` (documents by aspects, entries with quotes) in place of prose, timeline `timeline`.
        `follow_up` of an answer, passed with the next question, uses its evidence again.

        Without document_paths, passages of all documents that the filters (type to tags) admit compete to be shown to
        the model; `selection` says what was
        searched, `sources` what was read and why, `not_answered` what stays open. [1] in the answer is the first of
        `sources`. `verified: false`: a quote is not in its document, or `flags` name what the quotes do not hold; do
        not report the insight as fact. `answered: false`: the documents do not answer the question; search for others. `partial: true`: findings per document
        instead of one answer; ask about fewer. `sources_skipped`: documents that were not used, each with its
        `reason`. `coverage.complete: false`: only the passages that fit the question best were shown to the model;
        read_document gives the rest. `route`: whose model answered: client (yours), provider (the server's),
        extractive (none: sentences chosen by rule).
        """
        inquiry = _inquiry(research_question, format, aspects)

        async def prepare(ledger: Ledger) -> tuple[int, Run]:
            record(documents=document_paths)
            carried = carried_evidence(service.sealer, follow_up) if follow_up else None
            asked = inquiry if carried is None else replace(inquiry, earlier=carried.questions)
            chosen = await requested(service.library, document_paths, ledger, wanted)
            if chosen == WholeFolder() and carried is None:
                chosen = await narrowed_folder(context, service.library, ledger)
            if isinstance(chosen, list):
                chosen = await fitting(service.library, chosen, wanted, ledger)
                record(documents=[entry.path for entry in chosen])
                chosen = chosen if carried is None else WholeFolder.among(chosen, wanted)

            async def run(call: Call) -> ToolResult:
                if isinstance(chosen, WholeFolder):
                    from research_reasoning.folder import ask_folder

                    result = await ask_folder(call, service.passages, chosen, asked, depth, carried=carried)
                else:
                    from research_reasoning.synthesize import synthesize

                    result = await synthesize(call, chosen, asked, depth)
                result = await service.completed(call, result, asked, export or None)
                shown = result.model_dump(mode="json")
                return ToolResult(
                    synthesis_text(result, estimate=service.estimate),
                    shown,
                    meta=await answer_meta(shown, library=service.library, link=service.link)
                    if client_shows_apps(context)
                    else None,
                )

            return len(chosen) if isinstance(chosen, list) else FOLDER_STEPS, run

        return await service.serve(context, prepare)


def _inquiry(question: str, answer_format: AnswerFormat, aspects: Sequence[str]) -> Inquiry:
    """Return what is asked. Aspects alone ask for a table, too."""
    named = tuple(dict.fromkeys(" ".join(aspect.split()) for aspect in aspects if aspect.strip()))
    if named and answer_format == "prose":
        answer_format = "table"
    return Inquiry(question=question, format=answer_format, aspects=named if answer_format == "table" else ())
