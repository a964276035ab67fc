"""Whether the first search after a start is right, or says that it is not complete yet.

Usage: python benchmarks/cold_start.py FOLDER [--query TEXT] [--expect NAME] [--starts N] [--load N] [-- SERVE_OPTION...]

Starts the gateway N times over stdio and asks at once, while so many busy loops take the processor. Prints for each start
what the first answer was: right, incomplete (and it says so) or WRONG. Ends with status 1 when one was WRONG. The expected
first hit is the document whose path holds NAME; without it, the first hit of the answer of a server that had all the time it
wanted. With `-- --index DIR` the starts after the first one find the index that it left.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

SERVE = ("-m", "research_gateway", "serve")
PATIENCE_S = 120
MARK = "INCOMPLETE:"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search gave, and how many seconds after the start of the process and of the call."""

    documents: tuple[str, ...]
    said: str
    total: int
    since_start_s: float
    since_call_s: float

    def verdict(self, expected: str) -> str:
        """`right`, `incomplete` when it says so, otherwise `WRONG`."""
        if self.documents and expected in self.documents[0] and not self.said:
            return "right"
        return "incomplete" if self.said else "WRONG"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many processes spinning."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


async def first_answer(folder: Path, query: str, options: Sequence[str], *, settled: bool = False) -> Answer:
    """Start a server and search; with `settled`, again and again until the answer is complete."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    command = [*SERVE, "--root", str(folder), *options]
    transport = StdioTransport(sys.executable, command, env=kept, keep_alive=False, log_file=Path(os.devnull))
    started = time.monotonic()
    async with Client(transport, timeout=PATIENCE_S) as client:
        while True:
            asked = time.monotonic()
            result = await client.call_tool("search_documents", {"query": query})
            found: dict[str, Any] = result.structured_content or {}
            warnings = found.get("warnings") or [""]
            said = warnings[0] if warnings[0].startswith(MARK) else ""
            if not settled or not said:
                break
    answered = time.monotonic()
    return Answer(
        tuple(match["document"] for match in found["matches"]),
        said,
        found["total_documents"],
        answered - started,
        answered - asked,
    )


async def run(arguments: argparse.Namespace, options: Sequence[str]) -> int:
    """Print the table; the number of wrong answers."""
    folder, query = arguments.folder, arguments.query
    expected = arguments.expect
    if expected is None:
        expected = (await first_answer(folder, query, [], settled=True)).documents[0]
    print(f"{arguments.starts} starts, {arguments.load} busy loops, {query!r}, expected first: {expected}")
    print(f"{'start':>5} {'answer':10} {'after start':>12} {'of the call':>12} {'documents':>10}  first hit")
    verdicts: Counter[str] = Counter()
    with busy(arguments.load):
        for number in range(1, arguments.starts + 1):
            answer = await first_answer(folder, query, options)
            verdict = answer.verdict(expected)
            verdicts[verdict] += 1
            first = answer.said or next(iter(answer.documents), "none")
            print(
                f"{number:5} {verdict:10} {answer.since_start_s:10.2f} s {answer.since_call_s:10.2f} s "
                f"{answer.total:10}  {first}",
                flush=True,
            )
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    return verdicts["WRONG"]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--query", default="onion routing")
    parser.add_argument("--expect", default=None, help="what the path of the right first hit holds")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--load", type=int, default=2, help="busy loops beside the server")
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    wrong = asyncio.run(run(parser.parse_args(given[:at]), given[at + 1 :]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
