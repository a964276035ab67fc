"""The version of this distribution."""

from importlib.metadata import version
from typing import Final

DISTRIBUTION: Final = "research-assistant-mcp"
VERSION: Final = version(DISTRIBUTION)
"""Read when it is imported: a process that has given up its rights may not see its own installation any more."""
