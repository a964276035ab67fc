"""The audit log: hash-chained records, written by one thread, with a head file that reveals truncation."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.audit.log.chain import Chain, Event
    from research_gateway.audit.log.file import FileLog
    from research_gateway.audit.log.format import ChainPosition, Record, parse_record
    from research_gateway.audit.log.writer import Writer

__all__ = ["Chain", "ChainPosition", "Event", "FileLog", "Record", "Writer", "parse_record"]

_HOMES = {
    "Chain": "chain",
    "Event": "chain",
    "FileLog": "file",
    "ChainPosition": "format",
    "Record": "format",
    "Writer": "writer",
    "parse_record": "format",
}
__getattr__ = lazy_exports(__name__, _HOMES)
