"""Run each example as its page says, in fresh environments, and compare what it prints with what it is for.

Usage: python tests/examples/run.py DIRECTORY

DIRECTORY holds two environments afterwards: one with this project, the host, the application and the notebook; one with the
agent alone, which starts the server of the first over stdio. Installations that fail are tried again; examples are not.
Ends with status 1 for the first example that says something else.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from fastmcp import Client

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.environments import install

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SAMPLES = ROOT / "gateway" / "research_gateway" / "samples"
RUNNING_S = 300

QUOTE = "The mean burnout score fell from 2.9 to 2.1 in Bristol and from 2.8 to 2.4 in Leeds"
OLDER = "results-report (draft).pdf is an older version of results-report.pdf"


def requirements(example: str) -> tuple[str, str]:
    return "-r", str(EXAMPLES / example / "requirements.txt")


def environment_of(directory: Path, **settings: str) -> dict[str, str]:
    """The environment of an example: nothing of ours but `settings`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RESEARCH_", "AGENT_", "VIRTUAL_ENV"))
    }
    return {**kept, "HOME": str(directory), **settings}


def output_of(command: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environ, cwd=ROOT, timeout=RUNNING_S
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def expect(what: str, *, found: Any, wanted: Any) -> None:
    if found != wanted:
        sys.exit(f"{what}: found\n{found}\nwanted\n{wanted}")


def run_host(directory: Path) -> None:
    printed = output_of(
        [str(directory / "app/bin/python"), "examples/host/host.py"], environment_of(directory)
    )
    tools = re.search(r"^tools: (.*)$", printed, re.MULTILINE)
    named = set(tools[1].split(", ")) if tools else set()
    ours = {"list_research_documents", "read_document", "search_documents", "verify_quotes"}
    reasoning = {"summarize_document", "synthesize_research"}
    expect(
        "tools",
        found=named,
        wanted={"working_days"} | ours | {f"research_{each}" for each in ours | reasoning},
    )
    hit = "board-update.pptx, line 11: The burnout score fell in both pilot offices."
    expect(
        "host",
        found=printed.splitlines()[1:],
        wanted=[
            "ours: 104",
            f"search_documents: {hit}",
            f"research_search_documents: {hit}",
            "refused: document_not_found: no document has this path",
        ],
    )


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve the application on a port that the system chooses, which its log names; gives its address."""
    environ = environment_of(
        directory, RESEARCH_ROOTS=str(SAMPLES), RESEARCH_AUDIT_LOG=str(directory / "audit.jsonl")
    )
    command = [str(directory / "app/bin/uvicorn"), "--app-dir", "examples/fastapi", "app:app", "--port", "0"]
    with subprocess.Popen(command, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        try:
            for line in process.stderr:
                said += line
                if address := re.search(r"running on (http://\S+)", line):
                    yield address[1]
                    break
            else:
                sys.exit(f"the application did not start:\n{said}")
        finally:
            process.terminate()
            rest = process.stderr.read()
    expect("end of the application", found="Application shutdown complete" in rest, wanted=True)


def status_of(url: str, **headers: str) -> int:
    request = Request(url, method="POST", data=b"{}", headers=headers)
    try:
        with urlopen(request, timeout=RUNNING_S) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def run_fastapi(directory: Path) -> None:
    async def listing(url: str) -> tuple[int, int]:
        async with Client(url) as client:
            found = await client.call_tool("list_research_documents", {})
            return len(await client.list_tools()), (found.structured_content or {})["total"]

    with served(directory) as address:
        with urlopen(f"{address}/find?words=burnout+score&limit=2", timeout=RUNNING_S) as response:
            places = json.load(response)
        with urlopen(f"{address}/research/readyz", timeout=RUNNING_S) as response:
            ready = json.load(response)["status"]
        tools, documents = asyncio.run(listing(f"{address}/research/mcp"))
        foreign = status_of(f"{address}/research/mcp", Host="evil.example")
    expect(
        "own route",
        found=[place["document"] for place in places],
        wanted=["board-update.pptx", "results-report.pdf"],
    )
    expect("readiness", found=ready, wanted="ready")
    expect("tools and documents", found=(tools, documents), wanted=(6, len([*SAMPLES.iterdir()])))
    expect("a page that rebinds its name", found=foreign, wanted=421)
    records = [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]
    expect("last record of the trail", found=records[-1]["event"], wanted="closed")


def run_agent(directory: Path) -> None:
    command = [str(directory / "agent/bin/python"), "examples/agent/agent.py", "burnout score Bristol"]
    server = ["--root", str(SAMPLES), "--server", str(directory / "app/bin/research-assistant")]
    lines = output_of([*command, *server], environment_of(directory)).splitlines()
    refused = [line for line in lines if line.startswith("refused: ")]
    expect("refused quotes", found=len(refused), wanted=3)
    expect("wrong number", found=f"the document says {QUOTE!r}" in refused[0], wanted=True)
    expect("older version", found=refused[-1].endswith(OLDER), wanted=True)
    checked = [line.strip() for line in lines if "checked: " in line]
    expect(
        "checked quotes",
        found=checked,
        wanted=[
            f"checked: “{QUOTE}” (results-report.pdf)",
            "checked: “The burnout score fell in both pilot offices.” (board-update.pptx)",
        ],
    )


def outputs_of(notebook: Path) -> list[str]:
    """What each cell of code printed, without standard error: warnings there name files of this machine."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        "".join("".join(output["text"]) for output in cell["outputs"] if output.get("name") == "stdout")
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def run_notebook(directory: Path) -> None:
    stored, executed = EXAMPLES / "notebook" / "research.ipynb", directory / "research.ipynb"
    command = [str(directory / "app/bin/jupyter"), "execute", str(stored), f"--output={executed}"]
    environ = environment_of(directory)
    environ["PATH"] = f"{directory / 'app/bin'}:{environ['PATH']}"
    output_of(command, environ)
    expect("outputs of the notebook", found=outputs_of(executed), wanted=outputs_of(stored))
    expect("cells with an output", found=sum(map(bool, outputs_of(stored))), wanted=4)


RUNS: dict[str, Callable[[Path], None]] = {
    "host": run_host,
    "fastapi": run_fastapi,
    "agent": run_agent,
    "notebook": run_notebook,
}


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    together = [part for name in ("host", "fastapi", "notebook") for part in requirements(name)]
    install(directory / "app", ROOT, *together, cwd=ROOT)
    install(directory / "agent", *requirements("agent"), cwd=ROOT)
    for name, run in RUNS.items():
        started = monotonic()
        run(directory)
        print(f"examples/{name}: {monotonic() - started:.0f} s", flush=True)
    print(f"{len(RUNS)} passed, 0 failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
