"""Ask servers that behave as people's own do, with both tools over every route, and print what came of each call.

Usage: python tests/models/matrix.py [--only TEXT]

Each row is a server in one mode and wire format, each column a tool over a route: `provider`, `session` (the client's
model, up to 2025-11-25), `rounds` (the client's model, 2026-07-28) and `fallback` (a client that declares sampling and
does not answer it, which gives way to the provider). A cell is `ok` for a right answer, the setting that the error's hint
names where no answer can be had, or `-` where a route does not apply: a client of 2026-07-28 ends the call itself when
its model refuses. Ends with status 1 unless every cell is what is wanted of it.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any

from fastmcp import Client, FastMCP
from fastmcp.client.logging import LogMessage
from mcp_types import METHOD_NOT_FOUND

sys.path.insert(0, str(Path(__file__).parents[1]))

from clients.run import aligned
from models.checks import wrong_error, wrong_summary, wrong_synthesis
from reasoning.test_fallback import declining
from research_reasoning import build_reasoning_server
from research_shared.settings import Settings
from support.providers import listening
from support.results import answer_of
from support.stand_ins import HTTP_ONLY, MODES, Habit, StandIn, StandInServer

OK = "ok"
NOT_APPLICABLE = "-"
AT_ONCE = 2
"""Rows at a time, each with its servers and clients in one process."""
CELL_S = 90.0
PROVIDER, SESSION, ROUNDS, FALLBACK = ROUTES = ("provider", "session", "rounds", "fallback")
SUMMARIZE, SYNTHESIZE = TOOLS = ("summarize_document", "synthesize_research")
SHOWN_ROUTE = {PROVIDER: "provider", SESSION: "client", ROUNDS: "client", FALLBACK: "provider"}
WIRE_FORMATS = ("openai", "anthropic")

DOCUMENTS = 6
LINES = 240
CONTEXT = 8_000
"""Tokens that a server with a short context takes: less than a document, which the tools would show as a whole."""

ROOM = ("RESEARCH_MODEL_CALL_TOKENS", "RESEARCH_THINKING_TOKENS")
"""What an operator can change about a model that thinks for longer than its context."""

SERIAL_S = 0.5
ATTEMPT_S = 1.2
"""A server of one slot takes longer over all documents than one attempt may: waiting must count against nothing."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A server with one habit, in one wire format. `hopeless` is a habit that may leave no room for an answer."""

    name: str
    habit: Habit
    wire_format: str
    of_a_server: bool
    hopeless: bool = False

    def applies(self, route: str) -> bool:
        """Whether the route can show the habit.

        A client's own model has no wire format, so that one row has its cells. A client of 2026-07-28 ends a call itself
        when its model refuses.
        """
        if route in {PROVIDER, FALLBACK}:
            return True
        once = self.wire_format == "openai" or self.habit.wording == "anthropic"
        return once and not self.of_a_server and not (route == ROUNDS and self.habit.context)


def rows() -> list[Row]:
    """Return every habit in the wire formats in which servers have it, and thinking in a short context."""
    found = []
    for name, mode in MODES.items():
        habit = replace(mode, context=CONTEXT) if mode.context and not mode.remedy else mode
        for wire_format in WIRE_FORMATS:
            worded = habit.context and (habit.wording == "anthropic") != (wire_format == "anthropic")
            unknown = wire_format == "anthropic" and habit.knows and "max_tokens" not in habit.knows
            if not worded and not unknown:
                found.append(
                    Row(name=name, habit=habit, wire_format=wire_format, of_a_server=name in HTTP_ONLY)
                )
    found += [
        Row(
            name=f"thinks {tokens:,}, context {CONTEXT:,}",
            habit=Habit(thinks=tokens, context=CONTEXT, wording=wire_format),
            wire_format=wire_format,
            of_a_server=False,
            hopeless=tokens > CONTEXT,
        )
        for tokens in (1_500, 4_000, 12_000)
        for wire_format in WIRE_FORMATS
    ]
    return found


def make_folder(folder: Path) -> dict[str, str]:
    """Write the documents; gives their texts by path. Each line is a sentence that no other document has."""
    texts = {}
    for number in range(1, DOCUMENTS + 1):
        lines = [
            f"In series {number}, measurement {line} of the apparatus behind the harbour gave a value that the observers "
            "called unremarkable after a long discussion."
            for line in range(1, LINES + 1)
        ]
        path = f"series-{number}.md"
        texts[path] = f"# Series {number}\n\n" + "\n".join(lines) + "\n"
        (folder / path).write_text(texts[path], encoding="utf-8")
    return texts


def settings(folder: Path, row: Row, server: StandInServer, route: str) -> Settings:
    changes: dict[str, Any] = {"roots": str(folder), "retry_base_s": 0.0}
    if route in {PROVIDER, FALLBACK}:
        changes |= {
            "provider": row.wire_format,
            "provider_url": server.base_url(row.wire_format),
            "provider_model": "a-model",
            "model_timeout_s": ATTEMPT_S if row.habit.one_slot else 60.0,
        }
    return Settings.load({}, **changes)


async def ignore(_message: LogMessage) -> None:
    """The log is not looked at here."""


@asynccontextmanager
async def client_of(server: FastMCP[Any], model: StandIn, route: str) -> AsyncIterator[Client[Any]]:
    """A client that uses the route."""
    if route == FALLBACK:
        async with declining(server, METHOD_NOT_FOUND) as (client, _, _):
            yield client
        return
    lends = route in {SESSION, ROUNDS}
    async with Client(
        server,
        mode="legacy" if route == SESSION else "auto",
        sampling_handler=model.sample if lends else None,
        log_handler=ignore,
    ) as client:
        yield client


async def ask(row: Row, tool: str, route: str, folder: Path, texts: Mapping[str, str]) -> str:
    """Return the cell of one call: `ok`, the setting that a wanted hint names, or what is wrong."""
    arguments: dict[str, Any] = {"document_path": next(iter(texts))}
    if tool == SYNTHESIZE:
        question = "Which values were measured?"
        arguments = {"document_paths": list(texts), "research_question": question, "depth": "detailed"}
    model = StandIn(habit=row.habit)
    try:
        async with asyncio.timeout(CELL_S), listening(StandInServer(model, took_s=SERIAL_S)) as provider:
            server = build_reasoning_server(settings(folder, row, provider, route))
            async with client_of(server, model, route) as client:
                answer = answer_of(await client.call_tool(tool, arguments, raise_on_error=False))
    except TimeoutError:
        return f"no answer in {CELL_S:.0f} s"
    except Exception as error:  # noqa: BLE001  (one cell's failure must not hide the others)
        return f"{type(error).__name__}: {error}"
    return judged(row, tool, route, answer, texts)


def judged(row: Row, tool: str, route: str, answer: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Return the cell of an answer or an error."""
    if "error" in answer:
        return judged_error(row, answer["error"])
    if row.habit.remedy:
        return "an answer where none can be had"
    wrong = wrong_summary(answer) if tool == SUMMARIZE else wrong_synthesis(answer, texts)
    wrong += wrong_answer(row, tool, route, answer)
    return "; ".join(wrong) or OK


def judged_error(row: Row, error: Mapping[str, Any]) -> str:
    """Return the setting that the hint of a wanted error names, or what is wrong with it."""
    remedies = [row.habit.remedy] if row.habit.remedy else list(ROOM) if row.hopeless else []
    named = [remedy for remedy in remedies if remedy in error["hint"]]
    wrong = wrong_error(error)
    if named and not wrong:
        return named[0]
    return "; ".join(wrong) or f"{error['code']}: {error['message']} Hint: {error['hint']}"


def wrong_answer(row: Row, tool: str, route: str, answer: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with an answer besides its form: what was lost, or left out without a word."""
    wrong = []
    if answer["route"] != SHOWN_ROUTE[route]:
        wrong.append(f"the route is {answer['route']}")
    if tool == SUMMARIZE:
        coverages = [answer["coverage"]]
    else:
        coverages = [source["coverage"] for source in answer["sources"] if source["coverage"]]
        if answer["sources_used"] != DOCUMENTS:
            wrong.append(f"only {answer['sources_used']} of {DOCUMENTS} documents were used")
        if not answer["answered"] or answer["partial"]:
            wrong.append("the findings were not combined")
        if not any(insight["verified"] for insight in answer["key_insights"]):
            wrong.append("no insight is verified")
    incomplete = not all(coverage["complete"] for coverage in coverages)
    warnings = answer["warnings"]
    if incomplete and not any(
        warning.startswith("INCOMPLETE") or "in part" in warning for warning in warnings
    ):
        wrong.append("a part was left out without a word")
    if incomplete and not row.habit.context:
        wrong.append("a part of a document that fits was left out")
    if row.habit.reads < 1 and not any("RESEARCH_" in warning for warning in warnings):
        wrong.append("no warning names a setting of a prompt that was cut silently")
    return wrong


async def fill(row: Row, folder: Path, texts: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return the cells of a row."""
    return {
        (tool, route): await ask(row, tool, route, folder, texts) if row.applies(route) else NOT_APPLICABLE
        for tool in TOOLS
        for route in ROUTES
    }


def passed(row: Row, cell: str) -> bool:
    """Whether a cell is what is wanted: the remedy where no answer can be had, an answer everywhere else."""
    remedies = {row.habit.remedy} if row.habit.remedy else {OK, *ROOM} if row.hopeless else {OK}
    return cell == NOT_APPLICABLE or cell in remedies


def fill_alone(row: Row, folder: Path, texts: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return the cells of a row, in a process of its own."""
    return asyncio.run(fill(row, folder, texts))


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--only", default="", help="rows with this text in their names")
    only: str = options.parse_args().only
    wanted = [row for row in rows() if only in f"{row.name}, {row.wire_format}"]
    started = monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as work:
        folder = Path(work)
        cells_of = partial(fill_alone, folder=folder, texts=make_folder(folder))
        with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as processes:
            found = list(zip(wanted, processes.map(cells_of, wanted), strict=True))
    print(table(found))
    print(f"{len(found)} rows in {monotonic() - started:.0f} s")
    judgements = [
        (row, at, cell) for row, cells in found for at, cell in cells.items() if cell != NOT_APPLICABLE
    ]
    failures = [(row, at, cell) for row, at, cell in judgements if not passed(row, cell)]
    for row, (tool, route), cell in failures:
        print(f"{row.name}, {row.wire_format}, {tool}, {route}: {cell}")
    print(f"{len(judgements) - len(failures)} passed, {len(failures)} failed")
    return int(bool(failures) or not judgements)


def table(found: Sequence[tuple[Row, Mapping[tuple[str, str], str]]]) -> str:
    """A line for each server, a column for each tool and route."""
    short = {SUMMARIZE: "summarize", SYNTHESIZE: "synthesize"}
    lines = [["server", "wire format", *(f"{short[tool]}, {route}" for tool in TOOLS for route in ROUTES)]]
    for row, cells in found:
        marks = [cell if passed(row, cell) else "FAIL" for cell in cells.values()]
        lines.append([row.name, row.wire_format, *marks])
    return aligned(lines)


if __name__ == "__main__":
    sys.exit(main())
