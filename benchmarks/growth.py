"""How a gateway with an index directory grows with its folder: python benchmarks/growth.py [SOURCE...] [--files 1000 10000 100000]

SOURCE is what `make_corpus.py` makes the folders from, such as a BEIR `corpus.jsonl`; without it, the pages of `docs`. Each
folder is served twice over HTTP: cold, with an empty index directory, and warm, with the one that the first left. Prints a table
in Markdown. All times are from the start of the process but the last two columns.

- *listens*: connections are accepted; *first answer*: of a search that is sent at once, with the wait of
  `RESEARCH_INDEX_WAIT_S`, and the documents that it searched; *complete*: `/readyz` says that the index is.
- *own*, *mapped*: the process's anonymous memory and its pages of files such as the index (the kernel can take these back) when
  `--settle` seconds have passed since then, as freed memory is returned once a minute; *peak* is the most of both.
- *search*: p50 and p99 of keyword searches of two words in one client. *change seen*: until a search finds the new word
  of a file that was just written, p50 and worst of `--rounds`.

`--work DIR` keeps the folders, and uses those that are there. 172,000 files of 6,600 bytes have 1 million passages.
"""

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastmcp import Client

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.figures import machine, markdown_table, memory_of, p50_p99_ms, peak_mb, percentile  # noqa: E402
from support.processes import Server, served  # noqa: E402

WITHIN_S = 3600
HEADER = (
    "files",
    "MB",
    "passages",
    "start",
    "listens",
    "first answer",
    "complete",
    "own MB",
    "mapped MB",
    "peak MB",
    "index on disk MB",
    "search p50, p99 ms",
    "change seen p50, worst ms",
)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Documents of one number and size, and where their index is kept."""

    path: Path
    index: Path
    files: int
    megabytes: float


def megabytes(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6


def made(work: Path, sources: list[Path], files: int) -> Folder:
    """Make a folder of so many files, unless it is there."""
    path = work / f"{files}" / "research"
    if not path.is_dir():
        script = str(ROOT / "benchmarks" / "make_corpus.py")
        making = path.with_name("making")
        shutil.rmtree(making, ignore_errors=True)
        command = [sys.executable, script, str(making), *map(str, sources), "--files", str(files)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        making.rename(path)
    return Folder(path=path, index=path.parent / "index", files=files, megabytes=megabytes(path))


async def unheard(_message: object) -> None:
    """Leave out what the server says about each search."""


async def search(client: Client[Any], query: str, limit: int = 10) -> dict[str, Any]:
    found = (await client.call_tool("search_documents", {"query": query, "limit": limit})).structured_content
    assert found is not None
    return found


async def complete(server: Server) -> None:
    """Wait until the index holds every document."""
    page = server.url.replace("/mcp", "/readyz")
    async with asyncio.timeout(WITHIN_S), httpx.AsyncClient(trust_env=False, timeout=120) as http:
        while (await http.get(page)).json()["checks"]["index"]["state"] != "complete":  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def passages(server: Server) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=120) as http:
        page = (await http.get(server.url.replace("/mcp", "/metrics"))).text
    return next(
        int(float(line.split()[1]))
        for line in page.splitlines()
        if line.startswith("research_index_passages ")
    )


async def change_latencies(client: Client[Any], folder: Path, rounds: int) -> list[float]:
    """Write a file with a new word, and again, and search until it is found."""
    file = folder / "change-probe.md"
    seen = []
    for _ in range(rounds):
        word = f"quokka{time.time_ns()}"
        begun = time.perf_counter()
        file.write_text(f"one {word} here\n", encoding="utf-8")
        while not (await search(client, word, 1))["matches"]:
            pass
        seen.append(time.perf_counter() - begun)
    file.unlink()
    return seen


def words_of(folder: Path) -> list[str]:
    """Return the words of some documents."""
    files = sorted(folder.glob("area-00/topic-00/*.md"))[:20]
    return sorted(
        {word for file in files for word in file.read_text(encoding="utf-8").split() if word.isalpha()}
    )


async def search_latencies(client: Client[Any], words: list[str], count: int) -> list[float]:
    """Search for two of the words each time."""
    seeded = random.Random(5)
    took = []
    for _ in range(count):
        query = " ".join(seeded.sample(words, 2))
        begun = time.perf_counter()
        await search(client, query)
        took.append(time.perf_counter() - begun)
    return took


async def row(folder: Folder, start: str, options: argparse.Namespace) -> list[str]:
    """Serve a folder once, and return a row of the table."""
    begun = time.perf_counter()
    async with served(folder.path, RESEARCH_INDEX_DIR=str(folder.index), RESEARCH_METRICS="true") as server:
        listens = time.perf_counter() - begun
        async with Client(server.url, timeout=WITHIN_S, log_handler=unheard) as client:
            first = await search(client, "owl river")
            answered = time.perf_counter() - begun
            await complete(server)
            done = time.perf_counter() - begun
            searches = await search_latencies(client, words_of(folder.path), options.searches)
            changes = await change_latencies(client, folder.path, options.rounds)
        await asyncio.sleep(options.settle)
        memory, peak = memory_of(server.process.pid), peak_mb(server.process.pid)
        count = await passages(server)
    return [
        f"{folder.files:,}",
        f"{folder.megabytes:,.0f}",
        f"{count:,}",
        start,
        f"{listens:.1f} s",
        f"{answered:.1f} s of {first['total_documents']:,}",
        f"{done:.1f} s",
        f"{memory.anonymous:.0f}",
        f"{memory.file:.0f}",
        f"{peak:.0f}",
        f"{megabytes(folder.index):,.0f}",
        p50_p99_ms(searches),
        f"{1e3 * percentile(changes, 0.5):.0f}, {1e3 * max(changes):.0f}",
    ]


async def measure(work: Path, options: argparse.Namespace) -> None:
    print(f"{machine()}; memory is read {options.settle:.0f} s later.\n")
    rows = []
    for files in options.files:
        folder = made(work, options.source or [ROOT / "docs"], files)
        shutil.rmtree(folder.index, ignore_errors=True)
        for start in ("cold", "warm"):
            rows.append(await row(folder, start, options))
            print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(markdown_table(HEADER, rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, nargs="*")
    parser.add_argument("--files", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=20, help="changes that are waited for")
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--settle", type=float, default=65, help="seconds before memory is read")
    parser.add_argument("--work", type=Path, help="where folders are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as usual:
        asyncio.run(measure(options.work or Path(usual), options))


if __name__ == "__main__":
    main()
