"""Compare what others find in the office and text cases with what this server finds.

Usage: python tests/judges/run.py {pdftotext,recoll}

- `pdftotext` (poppler-utils) reads the PDFs: each line of a page and each word that its text has, ours has too.
- `recoll` (recollcmd and its helpers) searches all cases: what it finds in a file, ours finds there too.

Prints how many checks each passes, and ends with status 1 for a check that the judge passes and this server does not, and
when the judge finds so little that it is not at work.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fastmcp import Client

from documents.test_office import FACTS
from documents.test_pdf_texts import FOUND, LINES
from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.results import answer_of

DATA = Path(__file__).parents[1] / "data"
LEAST = {"pdftotext": 20, "recoll": 100}
"""How many checks each judge passes at least when it is at work."""

WORDS: dict[str, tuple[str, ...]] = {
    "arabic-digits.md": ("2024",),
    "arabic-tatweel.md": ("العربية",),
    "cp1252.txt": ("Café", "Zürich", "naïve"),
    "csharp-s2.md": ("C++",),
    "csharp-s3.md": ("C#",),
    "greek-accent.md": ("οδος", "οδός", "ΟΔΟΣ"),
    "greek-upper.md": ("οδος", "οδός", "ΟΔΟΣ"),
    "russian-yo.md": ("елка", "ёлка"),
    "single-line-24k.txt": ("zirconium",),
    "single-line-5k.txt": ("zirconium",),
    "thai-tone.md": ("ข่าว",),
    "turkish.md": ("istanbul", "ISTANBUL", "İstanbul"),
    "units.md": ("5 TB", "5TB", "7 TB", "7TB", "10 kg", "12kg"),
    "zwsp.md": ("new", "study"),
}
"""Words of the text cases and other ways to write them."""
ABSENT = (("chart-ticks.pdf", "468"), ("thai-tone.md", "ข้าว"))
"""Words that a file does not have, though parts of it look so."""


@dataclass(frozen=True, slots=True)
class Check:
    """A phrase that a file has, or has not."""

    file: str
    phrase: str
    present: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.phrase!r} {'found' if self.present else 'not found'}"


def checks() -> Iterator[Check]:
    """Yield the checks of all cases."""
    for name, facts in FACTS.items():
        for phrase in dict.fromkeys(phrase for phrase, *_ in facts):
            yield Check(name, phrase)
    for phrases in (
        LINES,
        {name: tuple(query.strip('"') for query in each) for name, each in FOUND.items()},
        WORDS,
    ):
        for name, found in phrases.items():
            for phrase in found:
                yield Check(name, phrase.removeprefix("[comment] "))
    for name, phrase in ABSENT:
        yield Check(name, phrase, present=False)


def passes_text(check: Check, text: str) -> bool:
    """Return whether one line of a text has the phrase, or no word of it is the phrase."""
    wanted = " ".join(check.phrase.split()).casefold()
    lines = [" ".join(line.split()).casefold() for line in text.splitlines()]
    if check.present:
        return any(wanted in line for line in lines)
    return not any(wanted in line.split() for line in lines)


async def our_texts(client: Client[Any], names: Iterable[str]) -> dict[str, str]:
    """Return the lines that read_document gives."""
    texts: dict[str, str] = {}
    for name in names:
        result = await client.call_tool("read_document", {"document_path": name}, raise_on_error=False)
        lines = [] if result.is_error else answer_of(result)["lines"]
        texts[name] = "\n".join(line["text"] for line in lines)
    return texts


async def ours_finds(client: Client[Any], check: Check) -> bool:
    """Return whether search_documents finds the phrase in the file."""
    phrase = check.phrase.replace('"', " ")
    arguments = {"query": f'"{phrase}"' if " " in phrase else phrase, "file_pattern": check.file}
    return bool(answer_of(await client.call_tool("search_documents", arguments))["matches"])


async def against_pdftotext(client: Client[Any], folder: Path) -> list[tuple[Check, bool, bool]]:
    """Return for each check of a PDF whether the judge passes, and whether this server does."""
    of_pdfs = [check for check in checks() if check.file.endswith(".pdf")]
    names = dict.fromkeys(check.file for check in of_pdfs)
    theirs = {name: said("pdftotext", str(folder / name), "-") for name in names}
    ours = await our_texts(client, names)
    return [
        (each, passes_text(each, theirs[each.file]), passes_text(each, ours[each.file])) for each in of_pdfs
    ]


async def against_recoll(client: Client[Any], folder: Path) -> list[tuple[Check, bool, bool]]:
    """Return for each check whether the judge passes, and whether this server does."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "recoll.conf").write_text(f"topdirs = {folder}\nloglevel = 1\n", encoding="utf-8")
        said("recollindex", "-c", directory, "-z")

        def finds(check: Check) -> bool:
            phrase = check.phrase.replace('"', " ")
            found = said("recollq", "-c", directory, "-b", "-n", "1000", f'"{phrase}"')
            return any(line.endswith(f"/{check.file}") for line in found.splitlines())

        return [
            (check, finds(check) == check.present, await ours_finds(client, check) == check.present)
            for check in checks()
        ]


def said(*command: str) -> str:
    """Return what a program writes. It may end with a status: that of recollindex counts files that it cannot read."""
    # The system's own path: the helpers of recoll are scripts for the system's Python and its packages.
    own = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, timeout=300, check=False, env=own)
    return done.stdout.decode("utf-8", "replace")


JUDGES: dict[str, Callable[[Client[Any], Path], Any]] = {
    "pdftotext": against_pdftotext,
    "recoll": against_recoll,
}


async def judge(name: str) -> int:
    """Print the comparison with a judge. Return the status of the program."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "research"
        shutil.copytree(DATA / "office", folder)
        shutil.copytree(DATA / "texts", folder, dirs_exist_ok=True)
        settings = Settings(
            roots=(Root("research", folder),), watch=False, search_deadline_s=60, index_wait_s=300
        )
        async with Client(build_documents_server(settings)) as client:
            verdicts = await JUDGES[name](client, folder)
    theirs, ours = sum(their for _, their, _ in verdicts), sum(our for *_, our in verdicts)
    print(f"{len(verdicts)} checks: {name} passes {theirs}, this server {ours}")
    for check, their, our in verdicts:
        if not our:
            print(f"{'WORSE' if their else 'both fail'}: {check}")
    if theirs < LEAST[name]:
        print(f"{name} passes fewer than {LEAST[name]} checks: it is not at work")
        return 1
    return int(any(their and not our for _, their, our in verdicts))


def main() -> None:
    """Run one judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("judge", choices=JUDGES)
    sys.exit(asyncio.run(judge(parser.parse_args().judge)))


if __name__ == "__main__":
    main()
