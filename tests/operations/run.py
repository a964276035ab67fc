"""Run every command of the operators' guide, in the order in which it stands.

Usage: python tests/operations/run.py [PAGE …]

Each page of `docs/operations` is one session of bash over an empty machine: a directory of its own stands for `/etc`, `/var`,
`/run` and `/srv`, free ports for 8000 and the others, a folder of notes for `/path/to/research`. A command has to end with 0, and what the page
shows below it has to be in its output, in this order (`…` is anything). Needs nginx, openssl, redis-server and curl.

Behind nginx with TLS a client of the handshake era lends its model as well, which works only if streams are passed on as they come.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from fleet.run import Caller
from support import pages
from support.load import HANDSHAKE
from support.pages import ROOT, Block
from support.serving import reserved_port

GUIDE = "docs/operations/"
MARK = "run by tests/operations/run.py"
PORTS = (443, 6379, 8000, 8001, 8002, 8003)
PROGRAMS = ("bash", "curl", "nginx", "openssl", "redis-cli", "redis-server")
PAGE_S = 900
AT_ONCE = 2
"""Pages at once: most of their time is the start of Python."""
CALLS = 12
PLACES = (
    "/etc/research",
    "/run/research",
    "/srv/archive",
    "/var/lib/research",
    "/var/log/research",
    "/path/to/research",
)
NOTES = {
    "notes/sea.md": "# Tides\n\nThe moon pulls the sea.\n",
    "papers/tor.md": "# Onion routing\n\nA relay sees one hop.\n",
}
DAYS_AGO = 100
"""How old a rotated file of the trail is made, so that it is deleted with those of more than ninety days."""


class Wrong(Exception):
    """What a page says is not what happens."""


class Machine:
    """An empty machine for one page: a directory, and ports."""

    def __init__(self, directory: Path, ports: Mapping[int, int]) -> None:
        self.directory = directory
        self.ports = ports
        for place in PLACES:
            self.path(place).parent.mkdir(parents=True, exist_ok=True)
        for name, text in NOTES.items():
            note = self.path("/path/to/research") / name
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(text, encoding="utf-8")
        for config in (ROOT / "deploy" / "nginx").glob("*.conf"):
            text = f"pid {directory}/nginx.pid;\nerror_log {directory}/nginx.log;\n{config.read_text(encoding='utf-8')}"
            (directory / config.name).write_text(self.meant(text), encoding="utf-8")

    def path(self, name: str) -> Path:
        """Return what stands for a path of the pages."""
        return self.directory / name.lstrip("/")

    def meant(self, text: str) -> str:
        """Return a text of the pages with the paths and ports of this machine."""
        text = text.replace("/path/to/checkout/deploy/nginx", str(self.directory))
        for place in PLACES:
            text = text.replace(place, str(self.path(place)))
        for port, real in self.ports.items():
            text = re.sub(rf"(?<![\w.-]){port}(?![\w.])", str(real), text)
        return text

    def run(self, script: str) -> "subprocess.Popen[bytes]":
        """Start bash with a script. Its output and errors are in files."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
        kept |= {
            "HOME": str(self.directory),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            return subprocess.Popen(
                ["bash", "-uc", script],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=kept,
                start_new_session=True,
            )

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """End what the page has left running."""
        for pid_file in (self.directory / "nginx.pid",):
            if pid_file.exists():
                os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGTERM)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            process.wait()


def script_of(blocks: list[Block], before: Mapping[str, str]) -> tuple[str, list[tuple[str, list[str]]]]:
    """Return the script of a page, and its commands with what is shown below each.

    `before` has commands that are run once, before the first command with such a beginning.
    """
    commands = [each for block in blocks for each in pages.typed(block.text)]
    lines = ["set -o pipefail"]
    left = dict(before)
    for number, (command, _) in enumerate(commands):
        lines += [f"echo; echo '@@{number}'"]
        for start in [start for start in left if command.startswith(start)]:
            lines += [f"{left.pop(start)} || {{ echo; echo '@@failed: what comes before it'; exit 1; }}"]
        lines += [command, 'status=$?; [ $status = 0 ] || { echo; echo "@@ended with $status"; exit 1; }']
    return "\n".join([*lines, "echo; echo '@@all'"]), commands


def compare(shown: list[str], output: str) -> None:
    """Check that an output has the lines that a page shows, in their order.

    Raises:
        Wrong: one is missing.
    """
    at = 0
    lines = [line.rstrip() for line in output.strip().splitlines()]
    for wanted in shown:
        if wanted.strip() == "…":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in wanted.rstrip().split("…")))
        found = next((n for n, line in enumerate(lines[at:], start=at) if pattern.fullmatch(line)), None)
        if found is None:
            raise Wrong(f"it does not print {wanted!r}, but:\n{output.strip()}")
        at = found + 1


def report_of(machine: Machine) -> str:
    """Return the end of what the commands of a page, and the servers that they started, have said."""
    files = [
        machine.directory / "err",
        machine.directory / "nginx.log",
        *machine.path("/var/log/research").glob("*.log"),
    ]
    texts = [
        (file.name, file.read_text(encoding="utf-8").splitlines()[-20:]) for file in files if file.exists()
    ]
    return "\n".join(f"{name}: {line}" for name, lines in texts for line in lines)


def run_page(name: str, machine: Machine) -> int:
    """Run a page. Return how many commands it has.

    Raises:
        Wrong: a command fails, or prints something else.
    """
    blocks = [block for block in pages.page(name).blocks if block.check == MARK]
    me = f"{sys.executable} {Path(__file__).resolve()}"
    script, commands = script_of(
        blocks,
        {
            "curl -fsS --resolve": f"{me} --lend https://localhost:443/mcp --ca /etc/research/tls.pem "
            "--tokens /etc/research/auth-tokens",
            "research-assistant audit copy": f"{me} --call http://127.0.0.1:8000/mcp",
            "find ": f"touch -d '{DAYS_AGO} days ago' /var/log/research/audit.000001.jsonl",
        },
    )
    process = machine.run(machine.meant(script))
    try:
        process.wait(timeout=PAGE_S)
    except subprocess.TimeoutExpired:
        raise Wrong(f"it has not ended after {PAGE_S} s: {report_of(machine)}") from None
    finally:
        machine.end(process)
    parts = re.split(
        r"^@@(.*)\n", (machine.directory / "out").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    for number, output in zip(parts[1::2], parts[2::2], strict=True):
        if number.isdigit():
            command, shown = commands[int(number)]
            try:
                compare([machine.meant(line) for line in shown], output)
            except Wrong as error:
                raise Wrong(f"$ {command}\n{error}\n{report_of(machine)}") from None
    if parts[-2] != "all":
        raise Wrong(f"$ {commands[int(parts[-4])][0]}\n{parts[-2]}\n{report_of(machine)}")
    return len(commands)


def try_page(name: str) -> bool:
    """Run a page on a machine of its own, and say how it went."""
    begun = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="operations-")))
        machine = Machine(directory, {port: stack.enter_context(reserved_port()) for port in PORTS})
        try:
            count = run_page(name, machine)
        except Wrong as error:
            print(f"FAILED {name}: {error}", flush=True)
            return False
    print(f"ok     {name}: {count} commands, {time.monotonic() - begun:.0f} s", flush=True)
    return True


async def call(url: str) -> None:
    """Make some calls, so that the trail has several files."""
    caller = Caller(url, HANDSHAKE, random.Random(0))
    for _ in range(CALLS):
        await caller.ask("search_documents", {"query": "tides"})
    await caller.http.aclose()


async def lend(url: str, ca: Path, tokens: Path) -> None:
    """Summarise a document with the client's own model, which is asked in the middle of the answer.

    Raises:
        Wrong: another model was used.
    """
    token = tokens.read_text(encoding="utf-8").strip().partition("=")[2]
    async with httpx.AsyncClient(
        verify=ssl.create_default_context(cafile=ca),
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=30,
    ) as http:
        caller = Caller(url, HANDSHAKE, random.Random(0), http)
        answer = await caller.ask("summarize_document", {"document_path": "notes/sea.md"})
    if '"route": "client"' not in answer:
        raise Wrong(answer)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("pages", nargs="*", metavar="PAGE")
    options.add_argument("--call", metavar="URL", help=argparse.SUPPRESS)
    options.add_argument("--lend", metavar="URL", help=argparse.SUPPRESS)
    options.add_argument("--ca", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.call:
        asyncio.run(call(given.call))
        return
    if given.lend:
        asyncio.run(lend(given.lend, given.ca, given.tokens))
        return
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        sys.exit(f"not on this machine: {', '.join(missing)}")
    guide = [
        name
        for name in pages.PAGES
        if name.startswith(GUIDE) and any(b.check == MARK for b in pages.page(name).blocks)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(try_page, given.pages or guide))
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
