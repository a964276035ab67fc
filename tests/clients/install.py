"""Install the clients that `run.py` drives, each in an environment of its own.

Usage: python tests/clients/install.py DIRECTORY

Versions are exact.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.environments import fetch, install

AT_ONCE = 3

PYTHON: Mapping[str, Sequence[str]] = {
    "mcp-1": ("mcp==1.30.0",),
    "fastmcp-3": ("fastmcp==3.4.11", "mcp==1.30.0"),
    "langchain": ("langchain-mcp-adapters==0.3.2", "mcp==1.30.0"),
    "pydantic-ai": ("pydantic-ai-slim[mcp]==2.68.0", "fastmcp-slim==4.2.3", "mcp==2.3.0"),
    "openai-agents": ("openai-agents==0.24.0", "mcp==2.3.0"),
}
NODE: Mapping[str, Sequence[str]] = {
    # Needs a newer Node.js than distributions have. The longest comes first, as a few are installed at a time.
    "inspector-2": ("@modelcontextprotocol/inspector@2.12.0", "node@22.23.3"),
    "typescript-1": ("@modelcontextprotocol/sdk@1.32.2",),
    # What `inspector --cli` runs, without the web application around it.
    "inspector-0": ("@modelcontextprotocol/inspector-cli@0.17.5", "@modelcontextprotocol/sdk@1.32.2"),
    "typescript-2": ("@modelcontextprotocol/client@2.4.0",),
}


def version_of(environment: str) -> str:
    """The version of the package for which an environment is made."""
    package = {**PYTHON, **NODE}[environment][0]
    return package.rpartition("==" if "==" in package else "@")[2]


def python(directory: Path, environment: str) -> Path:
    """The interpreter of a Python environment."""
    return directory / environment / "bin" / "python"


def install_python(directory: Path, environment: str) -> None:
    install(directory / environment, *PYTHON[environment], what=f"{environment} {version_of(environment)}")


def install_node(directory: Path, environment: str) -> None:
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    place = directory / environment
    shutil.rmtree(place, ignore_errors=True)
    fetch(
        f"{environment} {version_of(environment)}",
        ("npm", "install", "--prefix", place, *quiet, *NODE[environment]),
    )


def install_all(directory: Path) -> None:
    """Install every client below `directory`; raises what the last attempt at one of them raised."""
    jobs = [(install_node, name) for name in NODE] + [(install_python, name) for name in PYTHON]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [threads.submit(job, directory, name) for job, name in jobs]
    for each in running:
        each.result()


if __name__ == "__main__":
    install_all(Path(sys.argv[1]).absolute())
