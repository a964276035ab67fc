"""Record `research-assistant demo` as a picture for the README: `python docs/make_demo_picture.py`.

The demo runs in a terminal of its own, so that what is shown is what a terminal shows, and only the last state of each
progress bar is kept. Lines about this machine (the port, the page's directory) are made the same on every run.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parent / "images" / "demo.svg"
COLUMNS, ROWS = 112, 400
COMMAND = "research-assistant demo"
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {terminal_width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>A terminal session of research-assistant demo</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""
"""The picture without the fonts that rich would have a reader fetch."""


def recorded(command: list[str]) -> str:
    """Return what a command writes to a terminal of `COLUMNS` columns.

    Raises:
        CalledProcessError: the command failed.
    """
    main, side = pty.openpty()
    with tempfile.TemporaryDirectory() as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
        environment = kept | {
            "HOME": home,
            "COLUMNS": str(COLUMNS),
            "LINES": str(ROWS),
            "TERM": "xterm-256color",
        }
        process = subprocess.Popen(command, stdout=side, stderr=side, stdin=side, env=environment)  # noqa: S603
        os.close(side)
        written = bytearray()
        try:
            while part := os.read(main, 65_536):
                written += part
        except OSError:  # a terminal whose last writer is gone
            pass
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command, written)
    return written.decode("utf-8")


def settled(written: str) -> list[str]:
    """Return the lines as they stand at the end: a bar that was drawn again shows its last state."""
    lines: list[str] = []
    for line in written.replace("\r\n", "\n").split("\n"):
        last = line.split("\r")[-1]
        # What rich writes before it draws a line again: to its beginning, erased, and up for each further line.
        last = re.sub(r"\x1b\[\?25[hl]|\x1b\[[0-9]*[AK]", "", last)
        lines.append(last)
    return lines


def main() -> None:
    """Write the picture."""
    program = Path(sys.executable).parent / "research-assistant"
    lines = settled(recorded([str(program), "demo"]))
    text = "\n".join(lines)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:40123", text)
    text = re.sub(r"research-assistant-\w{8}/", "research-assistant-2f7k0q1x/", text)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"\x1b[1m$ {COMMAND}\x1b[0m\n{text.strip()}"), soft_wrap=False)
    svg = console.export_svg(title=COMMAND, code_format=SVG, theme=DIMMED_MONOKAI, unique_id="demo")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
