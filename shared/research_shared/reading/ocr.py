"""Reading pages without text by optical character recognition: which program does it, and how long it may take."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from research_shared.settings import Settings

REVISION = 1
"""Raised when the same picture gives another text, so that stored texts are made again."""
_ASK_TIMEOUT_S = 20
_ORIENTATION = "osd"
_TESSERACT_VERSION = re.compile(r"tesseract\s+v?(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ocr:
    """A program that reads pictures, Tesseract, or the `problem` that keeps it from doing so. Times are seconds.

    `command` takes a picture at its standard input and writes its text.
    """

    command: tuple[str, ...] = ()
    version: str = ""
    languages: str = "eng"
    page_timeout_s: float = 120.0
    document_timeout_s: float = 1800.0
    problem: str = ""

    @property
    def identity(self) -> str:
        """What decides the text of a picture. Stored texts are kept under it."""
        return "ocr none" if self.problem else f"tesseract {self.version} {self.languages} {REVISION}"


def tesseract(
    languages: str,
    *,
    page_timeout_s: float,
    document_timeout_s: float,
    find: Callable[[str], str | None] = shutil.which,
) -> Ocr:
    """Return Tesseract as it is on this machine, for languages as it names them, such as `eng+deu`.

    `find` returns the path of a program by its name, or None.
    """

    def without(problem: str) -> Ocr:
        return Ocr(
            languages=languages,
            page_timeout_s=page_timeout_s,
            document_timeout_s=document_timeout_s,
            problem=problem,
        )

    program = find("tesseract")
    if program is None:
        return without("tesseract is not installed on the server's machine")
    try:
        version = _TESSERACT_VERSION.search(_output_of(program, "--version"))
        known = set(_output_of(program, "--list-langs").split())
    except (OSError, subprocess.SubprocessError):
        return without("tesseract does not start")
    if unknown := [each for each in languages.split("+") if each not in known]:
        return without(f"tesseract has no data for {', '.join(unknown)} (RESEARCH_OCR_LANGUAGES={languages})")
    # With the data for it, Tesseract finds out first which way up a page is.
    layout = "1" if _ORIENTATION in known else "3"
    return Ocr(
        command=(program, "stdin", "stdout", "-l", languages, "--psm", layout, "--dpi", "300"),
        version=f"{version[1] if version else 'unknown'}{'' if layout == '1' else ' upright'}",
        languages=languages,
        page_timeout_s=page_timeout_s,
        document_timeout_s=document_timeout_s,
    )


def ocr_of(settings: "Settings") -> Ocr | None:
    """Return what reads pictures as the settings say, or None when nothing should."""
    if settings.ocr == "off":
        return None
    return tesseract(
        settings.ocr_languages,
        page_timeout_s=settings.ocr_page_timeout_s,
        document_timeout_s=settings.ocr_timeout_s,
    )


def _output_of(program: str, argument: str) -> str:
    """Return what a program says about itself. Old versions say it on standard error."""
    done = subprocess.run(  # noqa: S603  (the operator's program)
        [program, argument], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True
    )
    return done.stdout + done.stderr
