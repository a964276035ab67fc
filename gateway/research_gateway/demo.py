"""The demonstration: the main job, end to end, through a real client over HTTP on this machine."""

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastmcp import Client
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.table import Table

from research_gateway.app import build_gateway
from research_gateway.audit.check.chain_verifier import Expectations
from research_gateway.audit.check.show import records_of
from research_gateway.audit.check.verify import collect, verify
from research_gateway.cli.page import context_of, page
from research_gateway.cli.show import (
    answer_view,
    documents_view,
    hits_view,
    linker,
    marker,
    quotes_view,
    summary_view,
)
from research_shared.logs import configure_logging
from research_shared.serving.fleet.place import tcp_socket
from research_shared.serving.transports.http import MCP_PATH
from research_shared.settings import Settings
from research_shared.text.sizes import counted
from research_shared.text.visible import terminal_safe

SAMPLES = Path(__file__).parent / "samples"
DEFAULT_QUESTION = (
    "How did the four-day week change output, burnout and the hours that managers spend on scheduling?"
)
DRAFT_QUOTES = (
    "The mean burnout score fell from 2.9 to 2.1 in Bristol",
    "The mean burnout score fell from 2.9 to 1.8 in Bristol",
    "the median time to a first substantive answer rose from 3.1 to 3.9 hours",
)
"""Quotes of somebody's draft over the samples: a true one, one that a superseded draft has, and a wrong one."""
OUTSIDE = "../../../etc/passwd"
SHOWN_DOCUMENTS = 12
SHOWN_HITS = 3
SHOWN_INSIGHTS = 5
SUMMARY_STEPS = 3


@asynccontextmanager
async def gateway_on_loopback(settings: Settings) -> AsyncIterator[str]:
    """Serve the gateway over HTTP on a free port of this machine; gives its URL."""
    listener = tcp_socket(socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
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
        changes: dict[str, Any] = {
            "audit_log": settings.audit_log or Path(directory) / "audit.jsonl",
        }
        if without_model:
            changes["model_route"] = "extractive"
        demo = _Demo(
            # Tasks that wait belong to servers of other folders.
            settings.without_tasks().model_copy(update=changes),
            question,
            samples=samples,
            without_model=without_model,
        )
        asyncio.run(demo.run())


def _plain(text: str) -> str:
    """Return text of a document or a caller as markup of the console that shows it as it is."""
    return "\n".join(escape(terminal_safe(line)) for line in text.split("\n"))


class _Demo:
    def __init__(self, settings: Settings, question: str, *, samples: bool, without_model: bool) -> None:
        self.settings = settings
        self.question = question
        self.samples = samples
        self.without_model = without_model
        self.console = Console(highlight=False)
        self.link = linker(settings)

    async def run(self) -> None:
        async with gateway_on_loopback(self.settings) as url, Client(url) as client:
            self.introduce(url)
            paths = await self.listing(client)
            if not paths:
                self.console.print("The folder holds no document.")
                return
            hits = await self.search(client)
            await self.summary(client, next(iter([*hits, *paths])))
            await self.answer(client)
            if self.samples:
                await self.draft(client)
            await self.outside(client)
        self.trail()

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

    def show(self, tool: str, what: str, *views: RenderableType) -> None:
        self.console.print()
        self.console.print(Rule(f"[bold]{tool}[/] {_plain(what)}", align="left"))
        for view in views:
            self.console.print(_plain(view) if isinstance(view, str) else view, soft_wrap=False)

    async def listing(self, client: Client[Any]) -> list[str]:
        result = await self.call(client, "list_research_documents", limit=1_000)
        paths = [document["path"] for document in result["documents"]]
        shown = result | {
            "documents": result["documents"][:SHOWN_DOCUMENTS],
            "count": min(len(paths), SHOWN_DOCUMENTS),
            "next_cursor": None,
        }
        self.show("list_research_documents", "what is in the folder", documents_view(shown))
        return paths

    async def search(self, client: Client[Any]) -> list[str]:
        result = await self.call(client, "search_documents", query=self.question, limit=SHOWN_HITS)
        view = hits_view(
            result | {"next_cursor": None}, marker=marker(self.question, regex=False), link=self.link
        )
        self.show("search_documents", f"the best places for: {self.question}", view)
        return [match["document"] for match in result["matches"]]

    async def summary(self, client: Client[Any], path: str) -> None:
        result = await self.call(
            client, "summarize_document", steps=SUMMARY_STEPS, document_path=path, summary_length="brief"
        )
        self.show("summarize_document", path, summary_view(result))

    async def answer(self, client: Client[Any]) -> None:
        """Ask the whole folder: the server chooses the evidence."""
        result = await self.call(client, "synthesize_research", steps=1, research_question=self.question)
        shown = result | {"key_insights": result["key_insights"][:SHOWN_INSIGHTS]}
        self.show("synthesize_research", self.question, answer_view(shown, link=self.link))
        file = Path(tempfile.mkdtemp(prefix="research-assistant-")) / "answer.html"
        context = await context_of(result, partial(self.call, client))
        file.write_text(page(result, link=self.link, context=context), encoding="utf-8")
        self.console.print(
            f"The same as a page, with each quote in its context: [bold]{_plain(str(file))}[/]",
            soft_wrap=True,
        )

    async def draft(self, client: Client[Any]) -> None:
        """Check the quotes of a draft, of which not all stand in the folder as they are quoted."""
        result = await self.call(client, "verify_quotes", quotes=list(DRAFT_QUOTES))
        self.show("verify_quotes", "the quotes of somebody's draft", quotes_view(result, link=self.link))

    async def outside(self, client: Client[Any]) -> None:
        """Ask for a file outside the folder, which is refused."""
        refused = await client.call_tool("read_document", {"document_path": OUTSIDE}, raise_on_error=False)
        said = "\n".join(getattr(part, "text", "") for part in refused.content)
        self.show("read_document", f"an attempt to leave the folder: {OUTSIDE}", said)

    async def call(
        self, client: Client[Any], tool: str, *, steps: int | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Call a tool, with a bar for its progress when `steps` says how many to expect at first."""
        if steps is None:
            result = await client.call_tool(tool, arguments)
        else:
            columns = (SpinnerColumn(), TextColumn("{task.fields[tool]}"), BarColumn(), MofNCompleteColumn())
            with Progress(*columns, TextColumn("{task.description}"), console=self.console) as bar:
                task = bar.add_task("", total=steps, tool=tool)

                async def advance(progress: float, total: float | None, message: str | None) -> None:
                    bar.update(task, completed=progress, total=total, description=_plain(message or ""))

                result = await client.call_tool(tool, arguments, progress_handler=advance)
        structured: dict[str, Any] = result.structured_content or {}
        return structured

    def trail(self) -> None:
        """Show the records of these calls, and verify the chain that they stand in."""
        path = self.settings.audit_log
        if path is None:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("record", "tool", "outcome", "route", "documents", "ms"):
            table.add_column(column, justify="right" if column in {"record", "documents", "ms"} else "left")
        for record in records_of([path]):
            if record.get("event") == "end" and record.get("tool"):
                table.add_row(
                    str(record["seq"]),
                    _plain(record["tool"]),
                    _plain(record["outcome"]),
                    _plain(record.get("route", "")),
                    str(len(record.get("documents", []))),
                    f"{record['duration_ms']:.1f}",
                )
        key = self.settings.audit_key
        expected = Expectations(key=None if key is None else key.get_secret_value().encode())
        verdicts = [
            f"{counted(report.records, 'record')}, each sealed by the one before; none was changed, added or removed."
            if report.intact
            else f"The trail is not intact: {report.problem}"
            for report in (verify(log, expected) for log in collect([path]))
        ]
        self.show("the audit trail", "of these calls", table, *verdicts)
