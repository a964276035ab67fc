"""The demonstration: the main job, end to end, through a real client over HTTP on this machine."""

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastmcp import Client
from rich.console import Console, Group
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from research_gateway.app import build_gateway
from research_gateway.audit.check.show import records_of
from research_gateway.cli.page import context_of, page
from research_gateway.cli.show import linker
from research_shared.logs import configure_logging
from research_shared.serving.run import MCP_PATH
from research_shared.settings import Settings

SAMPLES = Path(__file__).parent / "samples"
DEFAULT_QUESTION = (
    "How did the four-day week change output, burnout and the hours that managers spend on scheduling?"
)
SHOWN_DOCUMENTS = 12
SYNTHESIZED_DOCUMENTS = 5
SHOWN_INSIGHTS = 5
SNIPPET = 88


@asynccontextmanager
async def gateway_on_loopback(settings: Settings) -> AsyncIterator[str]:
    """Serve the gateway over HTTP on a free port of this machine; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = build_gateway(settings).http_app(path=MCP_PATH)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{MCP_PATH}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


def run_demo(settings: Settings, *, question: str = DEFAULT_QUESTION, samples: bool = True) -> None:
    """Run the demonstration on the terminal."""
    configure_logging("error")
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="research-assistant-") as directory:
        without_model = settings.provider is None and settings.model_route in {"auto", "client"}
        changes: dict[str, Any] = {"audit_log": settings.audit_log or Path(directory) / "audit.jsonl"}
        if without_model:
            changes["model_route"] = "extractive"
        demo = _Demo(
            settings.model_copy(update=changes), question, samples=samples, without_model=without_model
        )
        asyncio.run(demo.run())


class _Demo:
    def __init__(self, settings: Settings, question: str, *, samples: bool, without_model: bool) -> None:
        self.settings = settings
        self.question = question
        self.samples = samples
        self.without_model = without_model
        self.console = Console()

    async def run(self) -> None:
        async with gateway_on_loopback(self.settings) as url, Client(url) as client:
            self.introduce(url)
            paths = await self.listing(client)
            if not paths:
                self.console.print("The folder holds no document.")
                return
            hits = await self.search(client)
            chosen = list(dict.fromkeys([*hits, *paths]))[:SYNTHESIZED_DOCUMENTS]
            await self.summary(client, chosen[0])
            await self.synthesis(client, chosen)
        self.audit()

    def introduce(self, url: str) -> None:
        what = "sample documents of the package" if self.samples else "your research folder"
        lines = [f"A gateway is listening at [bold]{url}[/], over the {what}."]
        if self.without_model:
            lines.append(
                "No language model is configured, so summaries and syntheses are [bold]extractive[/]: sentences chosen "
                "from the documents by a fixed rule. Set RESEARCH_PROVIDER, RESEARCH_PROVIDER_MODEL and "
                "RESEARCH_PROVIDER_KEY, or connect a client that offers sampling, for real ones."
            )
        self.console.print(Panel("\n".join(lines), title="Research Assistant MCP"))

    async def listing(self, client: Client[Any]) -> list[str]:
        result = await self.call(client, "list_research_documents", limit=1_000)
        table = Table(title=f"list_research_documents: {result['total']} documents", title_justify="left")
        table.add_column("path")
        table.add_column("type")
        table.add_column("bytes", justify="right")
        table.add_column("modified")
        for document in result["documents"][:SHOWN_DOCUMENTS]:
            table.add_row(
                Text(document["path"]),
                document["media_type"].partition("/")[2],
                f"{document['size_bytes']:,}",
                document["modified"][:10],
            )
        if result["total"] > SHOWN_DOCUMENTS:
            table.add_row(f"… and {result['total'] - SHOWN_DOCUMENTS} more")
        self.console.print(table)
        return [document["path"] for document in result["documents"]]

    async def search(self, client: Client[Any]) -> list[str]:
        result = await self.call(client, "search_documents", query=self.question, limit=8)
        title = f"search_documents: {self.question!r}"
        table = Table(title=title, title_justify="left", caption_justify="left")
        table.add_column("document")
        table.add_column("page", justify="right")
        table.add_column("line", justify="right")
        table.add_column("text", ratio=1)
        for match in result["matches"]:
            snippet = match["matched_text"].strip()
            table.add_row(
                Text(match["document"]),
                str(match.get("page", "")),
                str(match["line_number"]),
                Text(snippet if len(snippet) <= SNIPPET else snippet[:SNIPPET] + "…"),
            )
        self.console.print(table)
        return [match["document"] for match in result["matches"]]

    async def summary(self, client: Client[Any], path: str) -> None:
        result = await self.call(
            client, "summarize_document", steps=3, document_path=path, summary_length="standard"
        )
        self.console.print(
            Panel(
                Markdown(result["summary"]),
                title=f"summarize_document: {path}",
                subtitle=f"{result['word_count']} words · route {result['route']} · model {result['model']}",
            )
        )

    async def synthesis(self, client: Client[Any], paths: Sequence[str]) -> None:
        result = await self.call(
            client,
            "synthesize_research",
            steps=len(paths),
            document_paths=list(paths),
            research_question=self.question,
            depth="detailed",
        )
        insights = Table(title="key insights", title_justify="left", show_header=False, box=None)
        insights.add_column()
        insights.add_column(ratio=1)
        for insight in result["key_insights"][:SHOWN_INSIGHTS]:
            places = "; ".join(_place(evidence, insight["claim"]) for evidence in insight["evidence"])
            insights.add_row("✓" if insight["verified"] else "?", Text(f"{insight['claim']}\n  {places}"))
        used, skipped = result["sources_used"], result["sources_skipped"]
        file = Path(tempfile.mkdtemp(prefix="research-assistant-")) / "answer.html"
        context = await context_of(result, partial(self.call, client))
        file.write_text(page(result, link=linker(self.settings), context=context), encoding="utf-8")
        self.console.print(
            Panel(
                Group(Markdown(result["synthesis"]), insights),
                title=f"synthesize_research: {self.question}",
                subtitle=f"{used} sources used, {skipped} skipped · route {result['route']} · model {result['model']}",
            )
        )
        self.console.print(
            f"The same as a page, with each quote in its context: [bold]{file}[/]", soft_wrap=True
        )

    async def call(
        self, client: Client[Any], tool: str, *, steps: int | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Call a tool, with a bar for its progress when `steps` says how many to expect."""
        if steps is None:
            result = await client.call_tool(tool, arguments)
        else:
            columns = (SpinnerColumn(), TextColumn("{task.fields[tool]}"), BarColumn(), MofNCompleteColumn())
            with Progress(*columns, TextColumn("{task.description}"), console=self.console) as bar:
                task = bar.add_task("", total=steps, tool=tool)

                async def advance(progress: float, total: float | None, message: str | None) -> None:
                    bar.update(task, completed=progress, total=total, description=message or "")

                result = await client.call_tool(tool, arguments, progress_handler=advance)
        structured: dict[str, Any] = result.structured_content or {}
        return structured

    def audit(self) -> None:
        path = self.settings.audit_log
        if path is None:
            return
        table = Table(title="the audit trail of these calls", title_justify="left")
        for column in ("record", "tool", "outcome", "route", "documents", "ms"):
            table.add_column(column, justify="right" if column in {"record", "documents", "ms"} else "left")
        for record in records_of([path]):
            if record.get("event") == "end" and record.get("tool"):
                table.add_row(
                    str(record["seq"]),
                    record["tool"],
                    record["outcome"],
                    record.get("route", ""),
                    str(len(record.get("documents", []))),
                    f"{record['duration_ms']:.1f}",
                )
        self.console.print(table)


def _place(evidence: dict[str, Any], claim: str) -> str:
    """Return the locator of a piece of evidence, with the quote unless it equals the claim."""
    quote = "" if evidence["quote"] == claim else f"“{evidence['quote']}” "
    page = f", page {evidence['page']}" if evidence.get("page") else ""
    lines = evidence.get("lines")
    where = f", lines {lines[0]}-{lines[-1]}" if lines else ""
    return f"{quote}({evidence['document']}{page}{where})"
