"""Install the clients that `run.py` drives, each in an environment of its own.

Usage: python tests/clients/install.py DIRECTORY

Versions are exact. What fails is tried again, because a registry may be out of reach for a moment.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

ATTEMPTS = 3
AT_ONCE = 3
INSTALLING_S = 600

PYTHON: Mapping[str, Sequence[str]] = {
    "mcp-1": ("mcp==1.30.0",),
    "fastmcp-3": ("fastmcp==3.4.11", "mcp==1.30.0"),
    "langchain": ("langchain-mcp-adapters==0.3.2", "mcp==1.30.0"),
    "pydantic-ai": ("pydantic-ai-slim[mcp]==2.68.0", "fastmcp-slim==4.2.3", "mcp==2.3.0"),
    "openai-agents": ("openai-agents==0.24.0", "mcp==2.3.0"),
}
NODE: Mapping[str, Sequence[str]] = {
    "typescript-1": ("@modelcontextprotocol/sdk@1.32.2",),
    # What `inspector --cli` runs, without the web application around it.
    "inspector-0": ("@modelcontextprotocol/inspector-cli@0.17.5", "@modelcontextprotocol/sdk@1.32.2"),
    "typescript-2": ("@modelcontextprotocol/client@2.4.0",),
    # Needs a newer Node.js than distributions have.
    "inspector-2": ("@modelcontextprotocol/inspector@2.12.0", "node@22.23.3"),
}


def version_of(environment: str) -> str:
    """The version of the package for which an environment is made."""
    package = {**PYTHON, **NODE}[environment][0]
    return package.rpartition("==" if "==" in package else "@")[2]


def python(directory: Path, environment: str) -> Path:
    """The interpreter of a Python environment."""
    return directory / environment / "bin" / "python"


def install_python(directory: Path, environment: str) -> None:
    venv.create(directory / environment, clear=True)
    # Most of what is installed is never imported: compiling it would take longer than all the rest.
    there = str(python(directory, environment))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        there,
        "install",
        "--quiet",
        "--no-compile",
    ]
    subprocess.run([*pip, *PYTHON[environment]], check=True, timeout=INSTALLING_S)


def install_node(directory: Path, environment: str) -> None:
    shutil.rmtree(directory / environment, ignore_errors=True)
    quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    prefix = ["--prefix", str(directory / environment)]
    subprocess.run(["npm", "install", *prefix, *quiet, *NODE[environment]], check=True, timeout=INSTALLING_S)


def with_attempts(install: Callable[[Path, str], None], directory: Path, environment: str) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        started = monotonic()
        try:
            install(directory, environment)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{environment}: attempt {attempt} of {ATTEMPTS} failed: {error}", file=sys.stderr)
            if attempt == ATTEMPTS:
                raise
        else:
            print(f"{environment} {version_of(environment)}: {monotonic() - started:.0f} s", flush=True)
            return


def install_all(directory: Path) -> None:
    """Install every client below `directory`; raises what the last attempt at one of them raised."""
    jobs = [(install_node, name) for name in NODE] + [(install_python, name) for name in PYTHON]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [threads.submit(with_attempts, install, directory, name) for install, name in jobs]
    for job in running:
        job.result()


if __name__ == "__main__":
    install_all(Path(sys.argv[1]).absolute())
