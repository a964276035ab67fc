"""Options of the audit trail."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from research_gateway.audit.log.files import MAX_PROCESSES
from research_shared.root import Root
from research_shared.settings import Settings

AuditLevel = Literal["metadata", "arguments"]
Fsync = Literal["always", "interval", "never"]
OnFailure = Literal["closed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """Destination, durability and limits of a trail. Without a `path`, records go to standard error.

    `key` (bytes) signs checkpoints and the head file. `head` moves the head file, best to another machine's storage.
    Times are in seconds; `checkpoint_every` counts records. No file of the trail may be inside one of the `roots`.
    `file_check_interval_s`: how often the open file is compared with the one at its path. `max_processes`: how many
    processes can have a log each beside one `path`.
    """

    path: Path | None = None
    head: Path | None = None
    key: bytes | None = None
    level: AuditLevel = "metadata"
    fsync: Fsync = "interval"
    fsync_interval_s: float = 1.0
    on_failure: OnFailure = "closed"
    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 7 * 86_400.0
    checkpoint_every: int = 256
    timeout_s: float = 10.0
    roots: tuple[Root, ...] = ()
    file_check_interval_s: float = 0.02
    max_processes: int = MAX_PROCESSES

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options given by settings."""
        return cls(
            path=settings.audit_log,
            head=settings.audit_head,
            key=settings.audit_key.get_secret_value().encode() if settings.audit_key else None,
            level=settings.audit_level,
            fsync=settings.audit_fsync,
            fsync_interval_s=settings.audit_fsync_interval_s,
            on_failure=settings.audit_on_failure,
            max_bytes=settings.audit_max_bytes,
            max_age_s=settings.audit_max_age_s,
            timeout_s=settings.audit_timeout_s,
            roots=settings.roots,
        )
