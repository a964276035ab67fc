"""How many words of PDFs are glued together or torn apart, beside `pdftotext` (poppler-utils).

    python benchmarks/pdf_words.py DIRECTORY

A word that pdftotext has more often than we do is glued when it stands within a longer word of ours, split when our text
has it with something else between its letters, and missing otherwise. pdftotext is no truth: it tears words on slanted
lines, and prints text beside the paper. So compare the rows with each other, not with zero.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pypdfium2

from research_shared.formats import Refused
from research_shared.formats.pdf import open_with_pypdfium2

MAX_PAGES = 400
_WORDS = re.compile(r"\w+")
_BETWEEN_WORDS = re.compile(r"\W+")


def ours(file: Path) -> str:
    try:
        pages = list(open_with_pypdfium2(file.read_bytes(), 1, MAX_PAGES).texts)
    except Refused:
        return ""
    return "\n".join(page for page in pages if isinstance(page, str))


def raw(file: Path) -> str:
    """pdfium's own text, with its line breaks."""
    try:
        with pypdfium2.PdfDocument(file) as document:
            pages = (document[number].get_textpage() for number in range(min(len(document), MAX_PAGES)))
            return "\n".join(page.get_text_range() for page in pages)
    except pypdfium2.PdfiumError:
        return ""


def pdftotext(file: Path) -> str:
    done = subprocess.run(["pdftotext", "-q", file, "-"], check=False, capture_output=True)
    return done.stdout.decode("utf-8", "replace")


def compare(text: str, reference: str) -> Counter[str]:
    """Count the words of a reference, and those of them that a text has not."""
    found, wanted = Counter(_WORDS.findall(text)), Counter(_WORDS.findall(reference))
    longer = list(found - wanted)
    joined = _BETWEEN_WORDS.sub("", text)
    counts = Counter(words=wanted.total())
    for word, times in (wanted - found).items():
        glued = any(word in other and word != other for other in longer)
        counts["glued" if glued else "split" if word in joined else "missing"] += times
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    files = sorted(directory.rglob("*.pdf"))
    if not files or shutil.which("pdftotext") is None:
        sys.exit(f"no PDF in {directory}" if not files else "pdftotext is not installed (poppler-utils)")
    contenders: dict[str, Callable[[Path], str]] = {"raw pypdfium2": raw, "ours": ours}
    totals = {name: Counter[str]() for name in contenders}
    for file in files:
        reference = pdftotext(file)
        for name, read in contenders.items():
            totals[name] += compare(read(file), reference)
    print(f"{len(files)} files, {totals['ours']['words']} words, of 10,000:\n")
    print("| reader | glued | split | missing |\n|---|---:|---:|---:|")
    for name, counts in totals.items():
        shares = (
            f"{10_000 * counts[kind] / max(counts['words'], 1):.1f}" for kind in ("glued", "split", "missing")
        )
        print(f"| {name} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
