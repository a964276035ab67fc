"""Compare the verdicts of the MCP conformance suite on the reference server, met in three ways.

Usage: python tests/conformance/run.py NODE_MODULES [--requirements REVISION …]

NODE_MODULES is where `npm i node@22 @modelcontextprotocol/conformance@0.2.0-alpha.12` has put the suite. Prints one
line for each check whose verdict differs and ends with status 1 when a difference has no reason in REASONS.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.compositions import WAYS, served

REVISIONS = ("2026-07-28", "2025-11-25")
REASONS: dict[tuple[str, str], str] = {
    (
        "behind",
        "server-sse-polling",
    ): "a server cannot close its client's event stream through another server: the gateway "
    "keeps the stream open and delivers the result on it",
}
"""(way, scenario or scenario/check) → why its verdict may differ from the direct one."""

Verdicts = dict[str, tuple[str, ...]]


async def verdicts(node_modules: Path, way: str, revision: str) -> Verdicts:
    """The verdicts of all checks of the scenarios that a revision requires."""
    with tempfile.TemporaryDirectory() as folder:
        async with served(way) as server:
            suite = await asyncio.create_subprocess_exec(
                node_modules / ".bin" / "node",
                node_modules / ".bin" / "conformance",
                *("server", "--url", server.url, "--requirements", revision, "--output-dir", folder),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            async with asyncio.timeout(600):
                await suite.wait()
        return read(Path(folder))


def read(folder: Path) -> Verdicts:
    """Scenario/check → its verdicts in order, from the suite's result files."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("checks.json")):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*$", "", file.parent.name).removeprefix("server-")
        for check in json.loads(file.read_text(encoding="utf-8")):
            # INFO only tells what crossed the wire
            if check["status"] != "INFO":
                found.setdefault(f"{scenario}/{check['id']}", []).append(check["status"])
    return {name: tuple(statuses) for name, statuses in found.items()}


async def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("node_modules", type=Path)
    arguments.add_argument("--requirements", nargs="*", default=REVISIONS)
    options = arguments.parse_args()
    unexplained = 0
    for revision in options.requirements:
        results = {way: await verdicts(options.node_modules, way, revision) for way in WAYS}
        direct = results["direct"]
        counts = {way: sum(map(len, found.values())) for way, found in results.items()}
        passed = {
            way: sum(status == "SUCCESS" for statuses in found.values() for status in statuses)
            for way, found in results.items()
        }
        print(f"{revision}: " + ", ".join(f"{way} {passed[way]} of {counts[way]}" for way in WAYS))
        for name, statuses in sorted(direct.items()):
            if set(statuses) & {"FAILURE"}:
                print(f"  direct   {name}: {' '.join(statuses)}")
        for way in WAYS[1:]:
            for name in sorted(set(direct) | set(results[way])):
                if direct.get(name) == results[way].get(name):
                    continue
                reason = REASONS.get((way, name)) or REASONS.get((way, name.partition("/")[0]))
                unexplained += reason is None
                print(
                    f"  {way:8} {name}: {direct.get(name)} → {results[way].get(name)}: {reason or 'UNEXPLAINED'}"
                )
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
