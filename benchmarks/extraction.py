"""How fast documents are read: PDFs by the library with one worker and with several, other formats with one.

    python benchmarks/extraction.py DIRECTORY [--rounds 5] [--workers 2]
    python benchmarks/extraction.py DIRECTORY --formats [--rounds 3]

Each contender reads every PDF of the directory once a round; rounds take turns, so that a busy machine is unfair to
nobody. The best round counts. A library is made afresh for each round; starting its processes is shown apart, as a
server pays for it once (its CPU time includes it, and a document for each worker more).

With `--formats` there is a row for each format of the directory: what the reader of a worker reads in a second of processor
time, beside a well-known library where it is installed (python-docx, python-pptx, openpyxl, python-calamine, odfpy, striprtf,
beautifulsoup4). Only files that both read count. Both run in this process: a worker adds less than a millisecond a file.
"""

import argparse
import asyncio
import email
import email.policy
import importlib
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
from research_shared.formats import format_of, media_type_of
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


def with_python_docx(file: Path) -> int:
    docx = importlib.import_module("docx")
    document = docx.Document(str(file))
    cells = (cell.text for table in document.tables for row in table.rows for cell in row.cells)
    return sum(map(len, (*(each.text for each in document.paragraphs), *cells)))


def with_python_pptx(file: Path) -> int:
    pptx = importlib.import_module("pptx")
    slides = pptx.Presentation(str(file)).slides
    return sum(
        len(shape.text_frame.text) for slide in slides for shape in slide.shapes if shape.has_text_frame
    )


def with_openpyxl(file: Path) -> int:
    openpyxl = importlib.import_module("openpyxl")
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    return sum(
        len(str(value)) for sheet in book for row in sheet.values for value in row if value is not None
    )


def with_calamine(file: Path) -> int:
    calamine = importlib.import_module("python_calamine")
    book = calamine.CalamineWorkbook.from_path(str(file))
    sheets = (book.get_sheet_by_name(name) for name in book.sheet_names)
    return sum(
        len(str(value)) for sheet in sheets for row in sheet.to_python() for value in row if value != ""
    )


def with_odfpy(file: Path) -> int:
    teletype, load = importlib.import_module("odf.teletype"), importlib.import_module("odf.opendocument").load
    return len(teletype.extractText(load(str(file)).body))


def with_striprtf(file: Path) -> int:
    striprtf = importlib.import_module("striprtf.striprtf")
    return len(striprtf.rtf_to_text(file.read_text("latin-1"), errors="ignore"))


def with_beautifulsoup(file: Path) -> int:
    bs4 = importlib.import_module("bs4")
    return len(bs4.BeautifulSoup(file.read_bytes(), "html.parser").get_text())


def with_email(file: Path) -> int:
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    body = message.get_body(("plain", "html"))
    return len(body.get_content()) if body is not None else 0


OTHERS: dict[str, dict[str, Callable[[Path], int]]] = {
    ".docx": {"python-docx": with_python_docx},
    ".pptx": {"python-pptx": with_python_pptx},
    ".xlsx": {"openpyxl": with_openpyxl, "python-calamine": with_calamine},
    ".odt": {"odfpy": with_odfpy},
    ".ods": {"python-calamine": with_calamine},
    ".odp": {"odfpy": with_odfpy},
    ".rtf": {"striprtf": with_striprtf},
    ".html": {"beautifulsoup4": with_beautifulsoup},
    ".eml": {"email (the standard library)": with_email},
}
"""Libraries by the suffix of what they read. Each returns how many characters it found."""


def readable(read: Callable[[Path], int], file: Path) -> bool:
    """Return whether a library reads a file. They raise anything at all on damaged ones, and more when not installed."""
    try:
        read(file)
    except Exception:  # noqa: BLE001
        return False
    return True


def with_ours(file: Path) -> int:
    """Return how many characters the first reader of the format finds."""
    media_type = media_type_of(file.name)
    if media_type is None:
        raise ValueError(file.suffix)
    pages = format_of(media_type).readers[0].open(file.read_bytes(), 1, 5_000)
    return sum(len(text) for text in pages.texts if isinstance(text, str))


def print_formats(directory: Path, rounds: int) -> None:
    """Print a row for each format."""
    policy = RootsPolicy([Root("files", directory)])
    by_suffix: dict[str, set[str]] = {}
    for info in policy.walk():
        by_suffix.setdefault(Path(info.path).suffix.lower(), set()).add(info.path)
    by_suffix = {kind: found for kind, found in by_suffix.items() if kind not in {".pdf", ".md", ".txt"}}
    print("| format | files | MB | documents/s | MB/s | beside it | its documents/s | times as fast |")
    print("|---|---:|---:|---:|---:|---|---:|---:|")
    for suffix, paths in sorted(by_suffix.items()):
        taken = {path for path in paths if readable(with_ours, directory / path)}
        others = {
            name: {path for path in taken if readable(read, directory / path)}
            for name, read in OTHERS.get(suffix, {}).items()
        }
        both = set.intersection(taken, *(each for each in others.values() if each))
        if not both:
            continue
        ours = min(_seconds(with_ours, directory, both) for _ in range(rounds))
        beside, theirs = "", 0.0
        for name, read in OTHERS.get(suffix, {}).items():
            if others[name]:
                seconds = min(_seconds(read, directory, both) for _ in range(rounds))
                if not theirs or seconds < theirs:
                    beside, theirs = name, seconds
        size = sum((directory / path).stat().st_size for path in both) / 1e6
        compared = f"{beside} | {len(both) / theirs:.0f} | {theirs / ours:.2f}" if theirs else "| | "
        print(
            f"| {suffix} | {len(both)} | {size:.1f} | {len(both) / ours:.0f} | {size / ours:.1f} | {compared} |"
        )


def _seconds(read: Callable[[Path], int], directory: Path, paths: set[str]) -> float:
    started = time.process_time()
    for path in sorted(paths):
        read(directory / path)
    return time.process_time() - started


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
    parser.add_argument("--formats", action="store_true", help="compare the formats other than PDF instead")
    arguments = parser.parse_args()
    logging.disable()  # pypdf remarks on every font
    if arguments.formats:
        print_formats(arguments.directory, arguments.rounds)
        return
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
