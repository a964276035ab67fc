"""How long a command takes to start: processor time and wall time, next to an empty FastMCP server of the same run.

    python benchmarks/start.py [--rounds 7]

`ready` over stdio is the answer to `initialize`, over HTTP the first answer to `GET /healthz`. Processor time is user
and system time of the process until then. Figures are medians of the rounds, ratios medians of the ratios within the
rounds, in which the commands take turns so that a load on the machine meets all of them. The research folder is empty: what an index costs is measured by `search.py`.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

EMPTY = 'from fastmcp import FastMCP; FastMCP("empty").run()'
EMPTY_HTTP = (
    'import sys; from fastmcp import FastMCP; FastMCP("empty").run(transport="http", port=int(sys.argv[1]))'
)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "start", "version": "1"},
    },
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took to become ready, in seconds."""

    processor: float
    wall: float


def commands(log: str) -> dict[str, Sequence[str]]:
    """The commands that only print, by name; `log` is an audit log."""
    binaries = Path(sys.executable).parent
    assistant, documents = str(binaries / "research-assistant"), str(binaries / "research-documents")
    return {
        "research-assistant --version": [assistant, "--version"],
        "research-assistant --help": [assistant, "--help"],
        "research-assistant serve --help": [assistant, "serve", "--help"],
        "research-assistant audit --help": [assistant, "audit", "--help"],
        "research-assistant audit verify": [assistant, "audit", "verify", log],
        "research-documents --version": [documents, "--version"],
        "research-documents --help": [documents, "--help"],
    }


def environment(**settings: str) -> Mapping[str, str]:
    """The environment with these settings of ours and no others; modules are compiled once, as installed ones are."""
    left_out = ("RESEARCH_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | settings


def until_end(command: Sequence[str]) -> Cost:
    """Run a command to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: status {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - begun)


def used(pid: int) -> float:
    """The processor time of a living process, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def until_initialized(command: Sequence[str], **settings: str) -> Cost:
    """Start a server over stdio and have it answer `initialize`."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command,
        env=environment(**settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        cost = Cost(used(process.pid), time.perf_counter() - begun)
        process.stdin.close()
    assert "serverInfo" in answer["result"], answer
    return cost


def until_healthy(command: Sequence[str]) -> Cost:
    """Start a server over HTTP on a free port, the command's last argument, and have it answer `GET /healthz`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, str(port)], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while True:
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)}: status {process.returncode}")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with suppress(ConnectionRefusedError):
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            time.sleep(0.002)
        cost = Cost(used(process.pid), time.perf_counter() - begun)
        connection.close()
        process.terminate()
    return cost


def measured(
    measure: Callable[[Sequence[str]], Cost], candidates: Mapping[str, Sequence[str]], rounds: int
) -> dict[str, list[Cost]]:
    """The costs of each command, one a round; a round before them warms the caches."""
    costs: dict[str, list[Cost]] = {name: [] for name in candidates}
    for round_ in range(rounds + 1):
        for name, command in candidates.items():
            cost = measure(command)
            if round_:
                costs[name].append(cost)
    return costs


def row(name: str, costs: Sequence[Cost], baseline: Sequence[Cost] | None = None) -> list[str]:
    """Medians of the costs, and of their ratios to those of the baseline in the same rounds."""
    cells = [
        name,
        f"{statistics.median(cost.processor for cost in costs):.2f}",
        f"{statistics.median(cost.wall for cost in costs):.2f}",
    ]
    if baseline is not None:
        pairs = list(zip(costs, baseline, strict=True))
        cells.append(f"{statistics.median(ours.processor / empty.processor for ours, empty in pairs):.2f}")
        cells.append(f"{statistics.median(ours.wall / empty.wall for ours, empty in pairs):.2f}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    python = sys.executable
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as logs:
        log = str(Path(logs) / "audit.jsonl")
        serve = [python, "-m", "research_gateway", "serve", "--root", root]
        documents = [python, "-m", "research_documents", "serve", "--root", root]
        http_options = ["--transport", "http", "--port"]
        until_initialized(serve, RESEARCH_AUDIT_LOG=log)
        printing = measured(until_end, commands(log), rounds)
        stdio = measured(
            until_initialized,
            {
                "an empty server (stdio)": [python, "-c", EMPTY],
                "research-assistant serve": serve,
                "research-documents serve": documents,
            },
            rounds,
        )
        over_http = measured(
            until_healthy,
            {
                "an empty server (http)": [python, "-c", EMPTY_HTTP],
                "research-assistant serve": [*serve, *http_options],
                "research-documents serve": [*documents, *http_options],
            },
            rounds,
        )
    table = Table("command", "processor s", "wall s", "ratio processor", "ratio wall")
    for name, costs in printing.items():
        table.add_row(*row(name, costs))
    for group in (stdio, over_http):
        table.add_section()
        baseline = next(iter(group.values()))
        for name, costs in group.items():
            table.add_row(*row(name, costs, baseline))
    Console().print(table)


if __name__ == "__main__":
    main()
