"""The version of this distribution."""

from importlib.metadata import version
from typing import Final

DISTRIBUTION: Final = "research-assistant-mcp"
VERSION: Final = version(DISTRIBUTION)
"""Read at import: a process that has dropped its privileges may not be able to read its own installation."""
