"""Helpers for tools: lenient arguments, cursors, result schemas, progress, and what a call waits for."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.tools.activity import waiting
    from research_shared.tools.arguments import READ_LIST, READ_TEXT, clamped, or_default, resolve_path
    from research_shared.tools.cursors import decode_cursor, encode_cursor
    from research_shared.tools.progress import ClientLog, Progress
    from research_shared.tools.schemas import output_schema

__all__ = [
    "READ_LIST",
    "READ_TEXT",
    "ClientLog",
    "Progress",
    "clamped",
    "decode_cursor",
    "encode_cursor",
    "or_default",
    "output_schema",
    "resolve_path",
    "waiting",
]

_HOMES = {
    "ClientLog": "progress",
    "Progress": "progress",
    "READ_LIST": "arguments",
    "READ_TEXT": "arguments",
    "clamped": "arguments",
    "decode_cursor": "cursors",
    "encode_cursor": "cursors",
    "or_default": "arguments",
    "output_schema": "schemas",
    "resolve_path": "arguments",
    "waiting": "activity",
}
__getattr__ = lazy_exports(__name__, _HOMES)
