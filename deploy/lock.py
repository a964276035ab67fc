"""Lock what the container installs: every package with its version and the hashes of its files.

    python deploy/lock.py             write the locks anew, and keep the versions that still fit
    python deploy/lock.py --upgrade   write them with the newest versions that pyproject.toml allows
    python deploy/lock.py --check     end with status 1 if they are not in step with pyproject.toml, or if a package has no
                                      wheel for a platform of the image

It needs uv on the PATH. `requirements.lock` is for the program, `requirements-build.lock` for the stage of the Dockerfile
that builds it.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = "requirements.lock"
BUILD_LOCK: Final = "requirements-build.lock"
EXTRAS: Final = ("metrics", "otlp", "tasks")
"""What a fleet needs. `semantic` would add 115 MB, and a model."""
BILL_TOOL: Final = "cyclonedx-bom>=7.5,<8"
"""Writes the bill of materials of the image (deploy/README.md)."""
OLDEST: Final = "3.11"
PYTHON: Final = "3.13"
"""The version of the base image."""
PLATFORMS: Final = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}

Locked = dict[str, frozenset[str]]


def uv(*arguments: str | Path) -> None:
    """Run uv from the root of the repository.

    Raises:
        CalledProcessError: it failed, and has said why.
    """
    subprocess.run(["uv", *map(str, arguments)], check=True, cwd=ROOT)  # noqa: S603, S607


def compile_locks(directory: Path, *, upgrade: bool = False) -> None:
    """Write both locks into a directory. Versions of locks that are there already stay, if they fit."""
    options = ["--universal", "--generate-hashes", "--no-annotate", "--no-header", "--quiet"]
    options += ["--upgrade"] if upgrade else []
    extras = [f"--extra={extra}" for extra in EXTRAS]
    uv(
        "pip",
        "compile",
        "pyproject.toml",
        *extras,
        f"--python-version={OLDEST}",
        *options,
        "-o",
        directory / LOCK,
    )
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    with tempfile.NamedTemporaryFile("w", suffix=".in") as wanted:
        wanted.write("\n".join([*build, BILL_TOOL]))
        wanted.flush()
        uv(
            "pip",
            "compile",
            wanted.name,
            f"--python-version={PYTHON}",
            *options,
            "-o",
            directory / BUILD_LOCK,
        )


def read_lock(text: str) -> Locked:
    """Return the hashes of each requirement in a lock.

    Raises:
        InvalidRequirement: a line is none of a lock.
    """
    lines = re.sub(r"\\\n", " ", text).splitlines()
    fields = [line.split(" --hash=") for line in lines if line.strip() and not line.startswith("#")]
    return {
        str(Requirement(first.strip())): frozenset(each.strip() for each in rest) for first, *rest in fields
    }


def differences(kept: Locked, fresh: Locked) -> list[str]:
    """Return what is wrong with the lock that is kept. A version may have got more files since, but not fewer."""
    missing = [f"{each} is missing" for each in fresh.keys() - kept.keys()]
    useless = [f"{each} is not needed" for each in kept.keys() - fresh.keys()]
    changed = [
        f"{each} has hashes of files that are not there"
        for each in kept.keys() & fresh.keys()
        if not kept[each] <= fresh[each]
    ]
    return sorted(missing + useless + changed)


def check() -> list[str]:
    """Return what is wrong with both locks, after saying what can be installed where."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for lock in (LOCK, BUILD_LOCK):
            shutil.copy2(ROOT / "deploy" / lock, directory)
        compile_locks(directory)
        wrong = []
        for lock in (LOCK, BUILD_LOCK):
            kept, fresh = (
                read_lock((place / lock).read_text("utf-8")) for place in (ROOT / "deploy", directory)
            )
            wrong += [f"{lock}: {each}" for each in differences(kept, fresh)]
            for platform, target in PLATFORMS.items():
                options = (
                    "--dry-run",
                    "--quiet",
                    "--require-hashes",
                    "--only-binary=:all:",
                    "--target",
                    directory / "t",
                )
                uv("pip", "install", *options, f"--python-platform={target}", f"--python-version={PYTHON}", "-r", f"deploy/{lock}")  # fmt: skip
                sys.stdout.write(f"{lock}: {len(kept)} packages, each with a wheel for {platform}\n")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit status."""
    parser = argparse.ArgumentParser(description="Lock what the container installs.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    what.add_argument("--check", action="store_true", help="write nothing, and say what is wrong")
    given = parser.parse_args(arguments)
    if not given.check:
        compile_locks(ROOT / "deploy", upgrade=given.upgrade)
        return 0
    wrong = check()
    sys.stderr.writelines(f"{each}\n" for each in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
