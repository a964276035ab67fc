"""Run the main job with the clients that people use, over stdio and HTTP, and print who gets what.

Usage: python tests/clients/run.py DIRECTORY [--only TEXT]

DIRECTORY is where `install.py` has put the clients. Ends with status 1 unless every step passes with every client on
both transports, and every error code that can be provoked from outside reaches the TypeScript SDK 1.x.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parents[1]))

from clients.catalog import CLIENTS, TRANSPORTS, Client
from clients.codes import all_codes
from clients.steps import IMPOSSIBLE, OK, STEPS, Run, judged
from clients.talk import talk
from clients.world import Gateway, Trail, make_folder, stand_in

AT_ONCE = 2
"""Clients at a time: each is at least two processes that are busy while they start."""
ROW_S = 240.0


@dataclass
class Row:
    """What one client got over one transport."""

    client: Client
    transport: str
    protocol: str = ""
    cells: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STEPS, "not reached"))
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """What is wrong, a line each."""
        where = f"{self.client.name} {self.client.version}, {self.transport}"
        return [f"{where}, {step}: {cell}" for step, cell in self.cells.items() if cell != OK]


async def fill(row: Row, installed: Path, work: Path) -> None:
    """Run all steps; one that fails does not keep the next ones from being tried."""
    client = row.client
    trail = Trail(work)
    async with stand_in() as provider:
        gateway = Gateway(folder=make_folder(work / "research"), provider=provider, trail=trail)
        async with (
            gateway.target(row.transport) as target,
            talk(client.command(installed), {**target, **client.options(installed)}) as talking,
        ):
            run = Run(client=client, transport=row.transport, talk=talking, provider=provider, trail=trail)
            for name, step in STEPS.items():
                row.cells[name] = await judged(step(run))
        row.protocol = ", ".join(sorted(trail.protocols()))


async def rows(installed: Path, only: str) -> list[Row]:
    """All rows that have a text in their names, a few at a time."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(client: Client, transport: str) -> Row:
        row = Row(client, transport)
        async with limit:
            started = monotonic()
            with tempfile.TemporaryDirectory(prefix="clients-") as work:
                try:
                    async with asyncio.timeout(ROW_S):
                        await fill(row, installed, Path(work))
                except Exception as error:  # noqa: BLE001  (one client's failure must not hide the others)
                    row.cells["connect"] = "".join(traceback.format_exception_only(error)).strip()
            row.seconds = monotonic() - started
            print(f"  {client.name} {client.version}, {transport}: {row.seconds:.0f} s", flush=True)
        return row

    wanted = [client for client in CLIENTS if only in f"{client.name} {client.version}"]
    return await asyncio.gather(*(one(client, transport) for client in wanted for transport in TRANSPORTS))


def table(found: Sequence[Row]) -> str:
    """A line for each client and transport, a column for each step."""
    lines = [["client", "version", "transport", "protocol", *STEPS, "server learns of cancel", "seconds"]]
    for row in found:
        marks = [OK if row.cells[step] == OK else "FAIL" for step in STEPS]
        name = row.client.name
        lines.append([name, row.client.version, row.transport, row.protocol, *marks])
        given_up = row.client.given_up.get(row.transport, "at once")
        lines[-1] += [given_up, f"{row.seconds:.0f}"]
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of one width, its head first."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rules = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rules, *lines[1:])
    )


async def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("directory", type=Path)
    options.add_argument("--only", default="", help="clients with this text in name and version; no codes")
    chosen = options.parse_args()
    # The server that refuses calls is cut off in the end, which uvicorn would report.
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
    directory = chosen.directory.absolute()
    started = monotonic()
    found = await rows(directory, chosen.only)
    print(table(found))
    print(f"{len(found)} rows in {monotonic() - started:.0f} s\n")
    failures = [failure for row in found for failure in row.failures]
    codes: dict[str, str] = {}
    if not chosen.only:
        started = monotonic()
        codes = await all_codes(directory, AT_ONCE)
        print(aligned([["error code", "with the TypeScript SDK 1.x"], *sorted(codes.items())]))
        print(f"{len(codes)} error codes in {monotonic() - started:.0f} s")
        failures += [
            f"{code}: {cell}"
            for code, cell in sorted(codes.items())
            if cell != OK and not cell.startswith(IMPOSSIBLE)
        ]
    for failure in failures:
        print(failure)
    judged_codes = sum(not cell.startswith(IMPOSSIBLE) for cell in codes.values())
    passed = len(found) * len(STEPS) + judged_codes - len(failures)
    print(f"{passed} passed, {len(failures)} failed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
