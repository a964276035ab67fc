"""A gateway under mixed load for a long time: does anything grow, and does anything fail that should not?

    python benchmarks/soak.py [--minutes 5] [--clients 8] [--rate 50] [--work DIR]

Clients of both protocol eras, half of them with a model of their own, send mixed calls, `--rate` a second in all, over
HTTP. Meanwhile files change, sessions are opened and abandoned, clients hang up in the middle of calls, and the provider's
model fails every fifth time. Every minute one line says: calls, the answers that are no results by code, p50 and p99,
resident memory, open descriptors, threads, child processes, bytes of the audit log.

At the end, a line is fitted to each of these figures by least squares over all but the first tenth of the time (at least one
minute). It is flat if it rises by no more than its bound. The audit log is verified. Ends with status 1 if a figure is
not flat, a call ended with `internal_error` or a broken connection, or the audit log has a fault. Linux only.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.load import (
    KEEPALIVE_S,
    Caller,
    Figures,
    Gateway,
    change_files,
    failing_provider,
    gateway,
    make_folder,
    mixed,
    ready,
)

EVERY_S = 5.0
IDLE_S = 30.0
BOUNDS = {"rss_mb": 15.0, "descriptors": 10.0, "threads": 3.0, "children": 1.0}
"""By how much each figure may rise over the measured time."""
FAULTS = ("internal_error", "error without a code", "no answer", "http 5")


@dataclass
class Soak:
    """What has happened so far."""

    served: Gateway
    calls: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    """Of the calls since the last line."""
    abandoned: int = 0
    hung_up: int = 0
    samples: list[tuple[float, Figures]] = field(default_factory=list)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line that fits points best by least squares.

    >>> slope([(0, 1), (1, 3), (2, 5)])
    2.0
    """
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def risen(samples: Sequence[tuple[float, Figures]], name: str) -> float:
    """By how much the fitted line of a figure rises over the time of the samples."""
    return slope([(at, float(getattr(figures, name))) for at, figures in samples]) * (
        samples[-1][0] - samples[0][0]
    )


async def client(soak: Soak, number: int, *, pause_s: float) -> None:
    """Send mixed calls for ever. Every other client is of the handshake era and begins a new session now and then."""
    seeded = random.Random(number)
    async with httpx.AsyncClient(timeout=180, limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S)) as http:
        caller = Caller(http, soak.served.url, sampling=number % 4 > 1, seeded=seeded)
        while True:
            if number % 2 and (caller.session is None or seeded.random() < 0.002):
                await caller.open()
            method, params = mixed(seeded)
            began = time.perf_counter()
            try:
                code = await caller.call(method, params)
            except httpx.HTTPError as error:
                code = f"no answer ({type(error).__name__})"
            soak.took_s.append(time.perf_counter() - began)
            soak.calls += 1
            soak.codes[code] += 1
            await asyncio.sleep(seeded.expovariate(1 / pause_s))


async def abandon(soak: Soak) -> None:
    """Open a session a second and leave it."""
    while True:
        async with httpx.AsyncClient(timeout=60) as http:
            await Caller(http, soak.served.url).open(initialized=soak.abandoned % 2 == 0)
        soak.abandoned += 1
        await asyncio.sleep(1)


async def hang_up(soak: Soak) -> None:
    """Begin a call and close the connection before it is answered, every other second."""
    seeded = random.Random(4)
    while True:
        async with httpx.AsyncClient(timeout=60) as http:
            with suppress(TimeoutError, httpx.HTTPError):
                async with asyncio.timeout(seeded.uniform(0.002, 0.05)):
                    await Caller(http, soak.served.url).call(*mixed(seeded))
        soak.hung_up += 1
        await asyncio.sleep(2)


async def sample(soak: Soak) -> None:
    """Read the figures of the process for ever."""
    while True:
        soak.samples.append((time.monotonic(), soak.served.figures()))
        await asyncio.sleep(EVERY_S)


def audit_bytes(served: Gateway) -> int:
    return sum(file.stat().st_size for file in served.work.glob("audit.jsonl*"))


def minute(soak: Soak, minutes: float) -> str:
    """One line on what has happened. Forgets the times of the calls."""
    took = sorted(soak.took_s)
    soak.took_s = []
    found = soak.served.figures()
    p50, p99 = (took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3) if took else (0.0, 0.0)
    others = ", ".join(f"{code} {count}" for code, count in soak.codes.most_common() if code != "ok")
    return (
        f"{minutes:5.1f} min  calls {soak.calls}  p50 {p50:.1f} ms  p99 {p99:.0f} ms  RSS {found.rss_mb:.1f} MB  "
        f"descriptors {found.descriptors}  threads {found.threads}  children {found.children}  "
        f"audit {audit_bytes(soak.served) / 1e6:.1f} MB  abandoned {soak.abandoned}  hung up {soak.hung_up}  [{others}]"
    )


async def run(soak: Soak, options: argparse.Namespace) -> None:
    """Keep the load up for the time that was asked for, and print a line a minute."""
    began = time.monotonic()
    tasks = [
        asyncio.create_task(client(soak, number, pause_s=options.clients / options.rate))
        for number in range(options.clients)
    ]
    others = (abandon(soak), hang_up(soak), sample(soak), change_files(soak.served.folder, every_s=0.5))
    tasks += [asyncio.create_task(other) for other in others]
    try:
        for number in range(1, options.minutes + 1):
            left = began + number * 60 - time.monotonic()
            done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            print(minute(soak, (time.monotonic() - began) / 60), flush=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def judged(soak: Soak) -> bool:
    """Say of each figure whether it is flat, and which answers are faults. Gives whether all is well."""
    first, last = soak.samples[0][0], soak.samples[-1][0]
    measured = [s for s in soak.samples if s[0] >= first + max(60.0, (last - first) / 10)]
    if len(measured) < 3:
        print("too short to tell whether anything grows")
        return False
    hours = (measured[-1][0] - measured[0][0]) / 3600
    well = True
    for name, bound in BOUNDS.items():
        rise = risen(measured, name)
        flat = rise <= bound
        well = well and flat
        print(
            f"{name:12} rises by {rise:+7.2f} in {hours * 60:.0f} min ({rise / hours:+.1f} an hour; at most {bound:.0f}): "
            f"{'flat' if flat else 'NOT FLAT'}"
        )
    faults = {code: count for code, count in soak.codes.items() if code.startswith(FAULTS)}
    print(f"faults: {faults or 'none'}")
    return well and not faults


def verified(served: Gateway) -> bool:
    """Whether the audit log has no fault. Its verdict is printed."""
    command = (
        shutil.which("research-assistant", path=str(Path(sys.executable).parent)) or "research-assistant"
    )
    found = subprocess.run(
        [command, "audit", "verify", str(served.audit_log)], capture_output=True, text=True, check=False
    )
    print(found.stdout.strip() or found.stderr.strip())
    return found.returncode == 0


async def soaked(options: argparse.Namespace, work: Path) -> bool:
    make_folder(work / "research")
    async with failing_provider(failures=0.2) as provider_url:
        with gateway(
            work, provider_url=provider_url, session_idle_s=str(IDLE_S), log_level="warning"
        ) as served:
            await ready(served.url)
            soak = Soak(served)
            await run(soak, options)
        well = judged(soak)
    return verified(served) and well


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--rate", type=float, default=50, help="calls a second of all clients together at most"
    )
    parser.add_argument("--work", type=Path, help="an empty directory to keep the log and the audit log in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as usual:
        well = asyncio.run(soaked(options, options.work or Path(usual)))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
