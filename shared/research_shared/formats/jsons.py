"""JSON files and Jupyter notebooks."""

import json
from collections.abc import Iterator
from typing import Any

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.lines import decoded, encoding_notes
from research_shared.formats._parts.metadata import Metadata
from research_shared.formats._parts.web_page import html_lines

_CODE_FENCE = "```"


def _loaded(data: bytes) -> tuple[Any, str, list[str]]:
    """Return the value of a JSON file (None when it is none), its text, and notes.

    Raises:
        Refused: there is nothing in it.
    """
    text, encoding = decoded(data)
    if not text.strip():
        raise Refused(EMPTY)
    notes = encoding_notes(encoding)
    try:
        return json.loads(text), text, notes
    except (ValueError, RecursionError):
        return None, text, [*notes, "it is no valid JSON, and shown as it is"]


def open_json(data: bytes, _first: int, _last: int) -> Pages:
    """Open a JSON file: one value a line, with all escapes resolved."""
    value, text, notes = _loaded(data)
    if value is not None:
        # Halves of surrogate pairs are legal in JSON; the worker replaces them.
        text = json.dumps(value, ensure_ascii=False, indent=1)
    return Pages(total=1, texts=iter((text,)), notes=notes)


def _joined_source(source: Any) -> str:
    """Return a text of a notebook, which is stored as a string or as a list of lines."""
    return "".join(map(str, source)) if isinstance(source, list) else str(source or "")


def _output_lines(output: dict[str, Any]) -> Iterator[str]:
    """Yield the text of an output, of the richest form that is text."""
    data = output.get("data", output)
    if "text" in output:
        yield from _joined_source(output["text"]).splitlines()
    elif "text/plain" in data and "text/html" not in data:
        yield from _joined_source(data["text/plain"]).splitlines()
    elif "text/html" in data:
        yield from html_lines(_joined_source(data["text/html"]))
    elif "text/markdown" in data:
        yield from _joined_source(data["text/markdown"]).splitlines()
    elif "ename" in output:
        yield f"{output['ename']}: {output.get('evalue', '')}"


def _cell_lines(cell: dict[str, Any]) -> Iterator[str]:
    source = _joined_source(cell.get("source", cell.get("input"))).splitlines()
    if cell.get("cell_type") == "code":
        yield from (_CODE_FENCE, *source, _CODE_FENCE)
        for output in cell.get("outputs", ()):
            lines = list(_output_lines(output))
            if lines:
                yield from ("[output]", _CODE_FENCE, *lines, _CODE_FENCE)
    else:
        yield from source
    yield ""


def open_notebook(data: bytes, _first: int, _last: int) -> Pages:
    """Open a notebook: its cells in order, code and outputs between fences. Nothing is run."""
    value, _, notes = _loaded(data)
    try:
        sheets = value.get("worksheets", [value])
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        lines = [line for cell in cells for line in _cell_lines(cell)]
    except (AttributeError, KeyError, TypeError) as error:
        raise Refused(DAMAGED) from error
    if not any(lines):
        raise Refused(EMPTY)
    return Pages(total=1, texts=iter(("\n".join(lines),)), notes=notes, metadata=_notebook_metadata(value))


def _notebook_metadata(notebook: dict[str, Any]) -> Metadata:
    said = notebook.get("metadata")
    said = said if isinstance(said, dict) else {}
    authors: list[Any] = said["authors"] if isinstance(said.get("authors"), list) else []
    tags: list[Any] = said["tags"] if isinstance(said.get("tags"), list) else []
    return Metadata.of(
        title=str(said.get("title") or ""),
        authors=[str(author.get("name", "") if isinstance(author, dict) else author) for author in authors],
        date=str(said.get("date") or ""),
        tags=[str(tag) for tag in tags],
    )


FORMATS = (
    Format(
        title="a JSON file",
        media_types={".json": "application/json"},
        readers=(Reader(name="json", open=open_json),),
    ),
    Format(
        title="a JSON Lines file",
        media_types={".jsonl": "application/jsonl", ".ndjson": "application/x-ndjson"},
    ),
    Format(
        title="a Jupyter notebook",
        media_types={".ipynb": "application/x-ipynb+json"},
        readers=(Reader(name="ipynb", open=open_notebook),),
        markdown=True,
        recognises=lambda data: data.lstrip()[:1] == b"{",
    ),
)
