"""Environments of their own for the programs of other people."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

ATTEMPTS = 3
INSTALLING_S = 600


def fetch(what: str, *commands: Sequence[str | Path], cwd: Path | None = None) -> None:
    """Run commands that install something, one after the other, and print how long they took.

    All of them are run again if one fails, because a registry may be out of reach for a moment.

    Raises:
        CalledProcessError, TimeoutExpired: the last attempt failed.
    """
    started = monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            for command in commands:
                subprocess.run(command, check=True, cwd=cwd, timeout=INSTALLING_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{what}: attempt {attempt} of {ATTEMPTS} failed: {error}", file=sys.stderr)
            if attempt == ATTEMPTS:
                raise
        else:
            break
    print(f"{what} installed in {monotonic() - started:.0f} s", flush=True)


def install(environment: Path, *packages: str | Path, cwd: Path | None = None, what: str = "") -> None:
    """Make an environment and install packages there; they may be options of `uv pip install` as well.

    What another environment of the same run has is linked from uv's cache, and nothing is compiled before it is imported:
    most of what is installed never is.
    """
    uv = [sys.executable, "-m", "uv"]
    python = environment / "bin" / "python"
    fetch(
        what or environment.name,
        [*uv, "venv", "--quiet", "--clear", f"--python={sys.executable}", environment],
        [*uv, "pip", "install", "--quiet", f"--python={python}", *packages],
        cwd=cwd,
    )
