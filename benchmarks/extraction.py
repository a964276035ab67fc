"""How fast PDFs are read: the library with one worker and with several, next to the raw readers, in one run.

    python benchmarks/extraction.py DIRECTORY [--rounds 5] [--workers 2]

Each contender reads every PDF of the directory once a round; rounds take turns, so that a busy machine is unfair to
nobody. The best round counts. A library is made afresh for each round; starting its processes is shown apart, as a
server pays for it once (its CPU time includes it, and a document for each worker more).
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pypdf
import pypdfium2

from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits

Contender = Callable[[], tuple[int, float]]


def raw_pypdfium2(files: list[Path]) -> tuple[int, float]:
    started = time.perf_counter()
    pages = 0
    for file in files:
        document = pypdfium2.PdfDocument(file)
        for page in document:
            page.get_textpage().get_text_range()
            pages += 1
        document.close()
    return pages, time.perf_counter() - started


def raw_pypdf(files: list[Path]) -> tuple[int, float]:
    started = time.perf_counter()
    pages = 0
    for file in files:
        for page in pypdf.PdfReader(file).pages:
            page.extract_text()
            pages += 1
    return pages, time.perf_counter() - started


def pdftotext(files: list[Path], pages: int) -> tuple[int, float]:
    started = time.perf_counter()
    for file in files:
        subprocess.run(["pdftotext", file, os.devnull], check=True, capture_output=True)
    return pages, time.perf_counter() - started


async def _library(directory: Path, workers: int) -> tuple[int, float, float]:
    policy = RootsPolicy([Root("papers", directory)])
    async with Library(policy, Limits(workers=workers)) as library:
        paths = [info.path for info in await library.documents("*.pdf")]
        started = time.perf_counter()
        # Starting: one document for each worker, which is then forgotten.
        await asyncio.gather(*(library.read(path) for path in paths[:workers]))
        library.forget()
        warmed = time.perf_counter()
        texts = await asyncio.gather(*(library.read(path) for path in paths))
        ended = time.perf_counter()
    return sum(text.pages or 0 for text in texts), ended - warmed, warmed - started


def through_library(directory: Path, workers: int, starts: list[float]) -> tuple[int, float]:
    pages, seconds, start = asyncio.run(_library(directory, workers))
    starts.append(start)
    return pages, seconds


def processor_time() -> float:
    """What this process and those that it has seen end have used, in seconds."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    logging.disable()  # pypdf remarks on every font
    files = sorted(arguments.directory.rglob("*.pdf"))
    if not files:
        sys.exit(f"no PDF in {arguments.directory}")
    starts: list[float] = []
    pages, _ = raw_pypdfium2(files)
    contenders: dict[str, Contender] = {
        "raw pypdfium2": lambda: raw_pypdfium2(files),
        "library, 1 worker": lambda: through_library(arguments.directory, 1, starts),
        f"library, {arguments.workers} workers": lambda: through_library(
            arguments.directory, arguments.workers, starts
        ),
        "pdftotext": lambda: pdftotext(files, pages),
        "raw pypdf": lambda: raw_pypdf(files),
    }
    if shutil.which("pdftotext") is None:
        del contenders["pdftotext"]
        print("pdftotext is not installed (poppler-utils)", file=sys.stderr)
    best: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for number in range(arguments.rounds):
        for name, contend in contenders.items():
            if name == "raw pypdf" and number:  # slow, and far off: once is enough
                continue
            before = processor_time()
            read, seconds = contend()
            busy = processor_time() - before
            if read != pages:
                sys.exit(f"{name} read {read} of {pages} pages")
            best[name] = min(seconds, best.get(name, seconds))
            cpu[name] = min(busy, cpu.get(name, busy))
    reference = best["raw pypdfium2"]
    figures = {
        name: {
            "pages_per_s": round(pages / seconds, 1),
            "x_raw_pypdfium2": round(seconds / reference, 2),
            "cpu_s": round(cpu[name], 2),
        }
        for name, seconds in best.items()
    }
    if arguments.json:
        print(json.dumps({"files": len(files), "pages": pages, "start_s": min(starts), "readers": figures}))
        return
    print(f"{len(files)} files, {pages} pages, {os.cpu_count()} cores, best of {arguments.rounds} rounds\n")
    print("| reader | pages/s | time / raw pypdfium2 | CPU s |\n|---|---:|---:|---:|")
    for name, figure in figures.items():
        print(
            f"| {name} | {figure['pages_per_s']:.0f} | {figure['x_raw_pypdfium2']:.2f} | {figure['cpu_s']:.2f} |"
        )
    print(f"\nstarting the processes and reading one document each: {min(starts):.2f} s")


if __name__ == "__main__":
    main()
