"""Use what is published as its users would: the wheel with uvx and pipx, the bundle with its own tool, the bill of materials.

Usage: python tests/distribution/run.py DIRECTORY WHEEL SDIST

DIRECTORY is for tools, environments and results. Installations that fail are tried again. Ends with status 1 for the first
thing that does not work.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport

sys.path.insert(0, str(Path(__file__).parents[1]))

from research_shared.serving.version import VERSION
from support.environments import install

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "gateway" / "research_gateway" / "samples"
MCPB = "@anthropic-ai/mcpb@2.1.2"
TOOLS = ("cyclonedx-bom>=7.5,<8", "pipx>=1.8,<2", "twine>=7,<8", "uv>=0.9,<1")
ATTEMPTS = 3
LIMIT_S = 600
SUBSTITUTE = """
const { getMcpConfigForManifest } = require("@anthropic-ai/mcpb");
const fs = require("node:fs");
const [directory, folder] = process.argv.slice(1);
getMcpConfigForManifest({
  manifest: JSON.parse(fs.readFileSync(directory + "/manifest.json")), extensionPath: directory,
  systemDirs: {}, userConfig: { folder, index: "none" }, pathSeparator: "/",
}).then((config) => console.log(JSON.stringify(config)));
"""
"""Has the format's own code fill in what a user would have chosen in the dialog: the folder, and no index that stays."""


class Workplace:
    """The tools, and where results are."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "tools" / "bin"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RESEARCH_", "VIRTUAL_ENV"))
        }
        self.environ = {
            **kept,
            "HOME": str(directory / "home"),
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PIPX_HOME": str(directory / "pipx"),
        }

    def run(self, *command: object, cwd: Path | None = None, fetches: bool = False) -> str:
        """Return what a command prints. One that `fetches` packages is tried again, as a registry may be away."""
        attempts = ATTEMPTS if fetches else 1
        for left in reversed(range(attempts)):
            done = subprocess.run(
                [str(each) for each in command],
                check=False,
                capture_output=True,
                text=True,
                env=self.environ,
                cwd=cwd or self.directory,
                timeout=LIMIT_S,
            )
            if done.returncode == 0:
                return done.stdout
            print(f"{command[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}", file=sys.stderr)
            if not left:
                break
        sys.exit(f"failed: {' '.join(map(str, command))}")

    def install(self) -> None:
        """Install the tools."""
        (self.directory / "home").mkdir(parents=True, exist_ok=True)
        install(self.directory / "tools", *TOOLS)
        npm = (
            "npm",
            "install",
            "--prefix",
            self.directory / "node",
            "--no-audit",
            "--no-fund",
            "--silent",
            MCPB,
        )
        self.run(*npm, fetches=True)


def expect(what: str, *, found: Any, wanted: Any) -> None:
    if found != wanted:
        sys.exit(f"{what}: found\n{found}\nwanted\n{wanted}")


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_metadata(work: Workplace, wheel: Path, sdist: Path) -> None:
    print(work.run("twine", "check", "--strict", wheel, sdist).strip())


def check_runners(work: Workplace, wheel: Path) -> None:
    """Start both commands of the wheel without installing it, in the two ways that people use."""
    demo = work.run("uvx", "--from", wheel, "research-assistant", "demo", fetches=True)
    expect("the demonstration", found="none was changed, added or removed" in demo, wanted=True)
    print("uvx: the demonstration ends with an intact trail")
    # The command that has the name of the distribution is the one that is started by that name.
    version = work.run("uvx", "--from", wheel, "research-assistant-mcp", "--version", fetches=True)
    expect("version", found=version.strip(), wanted=VERSION)
    version = work.run("pipx", "run", "--spec", wheel, "research-assistant", "--version", fetches=True)
    expect("version", found=version.strip(), wanted=VERSION)
    print(f"uvx and pipx: {VERSION}")


def check_bill(work: Workplace, wheel: Path) -> None:
    """Write the bill of materials of an environment with every extra. The tool checks it against the format's schema."""
    environment, bill = work.directory / "everything", work.directory / "research-assistant-mcp.cdx.json"
    work.run("uv", "venv", "-q", "--clear", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    work.run("uv", "pip", "install", "-q", "--python", python, f"{wheel}[all]", fetches=True)
    options = (
        "--pyproject",
        ROOT / "pyproject.toml",
        "--mc-type",
        "application",
        "--output-reproducible",
        "--validate",
    )
    work.run("cyclonedx-py", "environment", *options, "--of", "JSON", "-o", bill, python)
    written = json.loads(bill.read_text(encoding="utf-8"))
    expect("what the bill is of", found=written["metadata"]["component"]["version"], wanted=VERSION)
    listed = {normalized(each["name"]) for each in written["components"]}
    packages = json.loads(work.run("uv", "pip", "list", "--format=json", "--python", python))
    installed = {normalized(each["name"]) for each in packages}
    expect("left out of the bill", found=installed - listed - {"research-assistant-mcp"}, wanted=set())
    print(f"bill of materials: CycloneDX {written['specVersion']}, {len(listed)} components")


def check_bundle(work: Workplace) -> None:
    """Make the bundle, unpack it elsewhere, start it as a client would and list its tools."""
    mcpb = work.directory / "node" / "node_modules" / ".bin" / "mcpb"
    bundle, unpacked = work.directory / "research-assistant-mcp.mcpb", work.directory / "unpacked"
    work.run(sys.executable, ROOT / "deploy" / "mcpb" / "build.py", bundle, "--mcpb", mcpb)
    shutil.rmtree(unpacked, ignore_errors=True)
    work.run(mcpb, "unpack", bundle, unpacked)
    config = json.loads(work.run("node", "-e", SUBSTITUTE, unpacked, SAMPLES, cwd=work.directory / "node"))
    work.run("uv", "sync", "-q", "--project", unpacked, "--python", sys.executable, fetches=True)
    manifest = json.loads((unpacked / "manifest.json").read_text(encoding="utf-8"))

    async def names() -> tuple[list[str], int]:
        transport = StdioTransport(
            config["command"], config["args"], env={**work.environ, **config["env"]}, keep_alive=False
        )
        async with Client(transport, init_timeout=LIMIT_S) as client:
            found = await client.call_tool("list_research_documents", {})
            tools = await client.list_tools()
            return sorted(tool.name for tool in tools), (found.structured_content or {})["total"]

    tools, documents = asyncio.run(names())
    expect("tools", found=tools, wanted=sorted(tool["name"] for tool in manifest["tools"]))
    expect("documents", found=documents, wanted=len([*SAMPLES.iterdir()]))
    print(f"bundle: {bundle.stat().st_size / 1e6:.1f} MB, {len(tools)} tools, {documents} documents")


def main(directory: Path, wheel: Path, sdist: Path) -> None:
    work = Workplace(directory)
    work.install()
    check_metadata(work, wheel, sdist)
    check_runners(work, wheel)
    check_bill(work, wheel)
    check_bundle(work)
    print("4 passed, 0 failed")


if __name__ == "__main__":
    main(*(Path(each).absolute() for each in sys.argv[1:4]))
