"""What benchmarks read of processes, and how they print it: processor time, memory, tables in Markdown. Linux only."""

import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of a process in MiB: its own pages, those of files that it maps, and its share of both (PSS)."""

    anonymous: float
    file: float
    proportional: float


def processor_s(pids: Iterable[int]) -> dict[int, float]:
    """Return the seconds of processor time that processes have had, all their threads included."""
    stats = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids}
    return {pid: (int(fields[11]) + int(fields[12])) / TICKS for pid, fields in stats.items()}


@dataclass
class Busy:
    """Which share of its processors' time a machine was busy, whoever with, and how many there are."""

    busy: float = 0.0
    count: int = os.cpu_count() or 1


@asynccontextmanager
async def busy_share() -> AsyncIterator[Busy]:
    """Measure how busy the machine is while the block runs; the figure is there at its end."""
    found, (before_idle, before) = Busy(), _idle_and_all()
    yield found
    idle, total = _idle_and_all()
    found.busy = 1 - (idle - before_idle) / (total - before)


def _idle_and_all() -> tuple[int, int]:
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return fields[3] + fields[4], sum(fields)


def memory_of(pid: int) -> Memory:
    """Return the memory that a process holds now."""
    rollup = dict(
        re.findall(r"^(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    )
    anonymous, resident = int(rollup["Anonymous"]), int(rollup["Rss"])
    return Memory(
        anonymous=anonymous / 1024, file=(resident - anonymous) / 1024, proportional=int(rollup["Pss"]) / 1024
    )


def pss_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes together in MiB; pages that they share count once."""
    return sum(memory_of(pid).proportional for pid in pids)


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has held at once, in MiB."""
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kib) / 1024


def family_of(pid: int) -> list[int]:
    """Return a process and all that it and its descendants have started and that have not ended."""
    family = [pid]
    for member in family:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            family += map(int, children.read_text().split())
    return family


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values is."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def p50_p99_ms(seconds: Sequence[float]) -> str:
    """Return the median and the 99th percentile of times for a table, in milliseconds; `none` if there are none."""
    return (
        f"{1e3 * percentile(seconds, 0.5):.0f}, {1e3 * percentile(seconds, 0.99):.0f}" if seconds else "none"
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> str:
    """Return a table in Markdown. The first `texts` columns are aligned to the left, the others to the right."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def machine() -> str:
    """Return what a table says of the machine: its processors, and how busy it has been for a minute."""
    return f"{os.cpu_count()} processors, load average before {os.getloadavg()[0]:.1f}"
