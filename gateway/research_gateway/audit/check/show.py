"""Renders audit records for people."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from research_gateway.audit.check.verify import MAX_LINE_BYTES
from research_gateway.audit.log.format import parse_record
from research_shared.text.visible import terminal_safe

BLOCK_BYTES = 65_536
_SHOWN_ID = 8
"""Characters of a call's id in a table: enough for `show` to find the call."""
_COLOURS = {"ok": "green", "input_required": "cyan", "cancelled": "yellow"}
_CHAIN_FIELDS = frozenset({"schema", "chain", "seq", "prev", "hash"})


def records_of(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield the fields of all valid records of the files. Invalid lines are skipped; `verify` reports them."""
    for path in paths:
        with path.open("rb") as file:
            for line in file:
                try:
                    yield dict(parse_record(line.rstrip(b"\n")).fields)
                except ValueError:
                    continue


def last_records(paths: Sequence[Path], count: int) -> list[dict[str, Any]]:
    """Return the fields of the last `count` valid records of the files. They are read from their ends."""
    last: list[dict[str, Any]] = []
    for path in reversed(paths):
        for line in _lines_backwards(path):
            if len(last) >= count:
                return last[::-1]
            with suppress(ValueError):  # `verify` reports invalid lines
                last.append(dict(parse_record(line).fields))
    return last[::-1]


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file without their breaks, the last one first."""
    with path.open("rb") as file:
        left = file.seek(0, os.SEEK_END)
        rest = b""
        while left > 0:
            step = min(left, BLOCK_BYTES)
            left -= step
            file.seek(left)
            first, *others = (file.read(step) + rest).split(b"\n")
            yield from reversed(others)
            if len(first) > MAX_LINE_BYTES:  # no record is that long
                first = b""
            rest = first
        yield rest


def _what(record: Mapping[str, Any]) -> str:
    names = (record.get(name) for name in ("tool", "prompt", "uri", "method"))
    return next((str(name) for name in names if name), "")


def _result(record: Mapping[str, Any]) -> Text:
    outcome = record.get("outcome")
    if outcome is None:
        return Text("")
    reason = record.get("reason")
    label = f"{outcome} ({reason})" if reason and reason != outcome else str(outcome)
    return Text(terminal_safe(label), style=_COLOURS.get(str(outcome), "red"))


def _documents(record: Mapping[str, Any]) -> str:
    documents = record.get("documents")
    if not isinstance(documents, list):
        return ""
    named = [str(document.get("path") or f"({document.get('rejected')})") for document in documents]
    return terminal_safe(", ".join(named[:3]) + (" …" if len(named) > 3 else ""))  # noqa: PLR2004  (a table has little room)


def table_of(records: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table with one row for each record. In 80 columns every word of it can be read: long ones go on below."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("seq", "time", "event", "call", "what", "documents", "result", "ms"):
        table.add_column(
            column,
            no_wrap=column in {"seq", "time", "event", "call", "ms"},
            overflow="fold",
            justify="right" if column == "ms" else "left",
        )
    for record in records:
        table.add_row(
            Text(terminal_safe(record.get("seq", ""))),
            Text(terminal_safe(str(record.get("time", ""))[:19])),
            Text(terminal_safe(record.get("event", ""))),
            Text(terminal_safe(str(record.get("call_id", ""))[:_SHOWN_ID])),
            Text(terminal_safe(_what(record))),
            Text(_documents(record)),
            _result(record),
            Text(f"{record['duration_ms']:.0f}" if "duration_ms" in record else ""),
        )
    return table


def print_call(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    """Print all fields of the records of one call."""
    for record in records:
        console.print(
            Text(
                f"{terminal_safe(record.get('event', ''))} · record {terminal_safe(record.get('seq', ''))}",
                style="bold",
            )
        )
        grid = Table.grid(padding=(0, 2))
        for name, value in record.items():
            if name not in _CHAIN_FIELDS and name != "event" and value is not None:
                grid.add_row(Text(terminal_safe(name), style="dim"), Text(terminal_safe(value)))
        console.print(grid)
        console.print()
