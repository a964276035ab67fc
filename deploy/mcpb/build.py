"""Make the bundle that Claude Desktop and other clients install with a click.

    python deploy/mcpb/build.py OUT.mcpb [--mcpb COMMAND]

COMMAND is the tool of the format, `npx --yes @anthropic-ai/mcpb@2.1.2` by default: it checks the manifest and packs the files.
The bundle holds the sources of this distribution; the client has uv install what they need at the first start.
"""

import argparse
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("LICENSE", "README.md", "pyproject.toml")
SOURCES = (
    "gateway/research_gateway",
    "servers/research_documents",
    "servers/research_reasoning",
    "shared/research_shared",
)
TOOL = "npx --yes @anthropic-ai/mcpb@2.1.2"


def stage(directory: Path) -> None:
    """Put what the bundle holds into an empty directory."""
    shutil.copy2(Path(__file__).with_name("manifest.json"), directory)
    for name in FILES:
        shutil.copy2(ROOT / name, directory)
    for name in SOURCES:
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))


def build(bundle: Path, tool: list[str]) -> None:
    """Write the bundle.

    Raises:
        CalledProcessError: the manifest or the files are not what the format wants.
    """
    with tempfile.TemporaryDirectory() as directory:
        stage(Path(directory))
        subprocess.run([*tool, "validate", str(Path(directory) / "manifest.json")], check=True)  # noqa: S603
        subprocess.run([*tool, "pack", directory, str(bundle)], check=True)  # noqa: S603


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the .mcpb bundle.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--mcpb", default=TOOL, help="the command of the format's tool")
    options = parser.parse_args()
    build(options.bundle.absolute(), shlex.split(options.mcpb))
