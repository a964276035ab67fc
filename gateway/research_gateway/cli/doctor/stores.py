"""Where the server writes: the index and the audit trail."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from research_gateway.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from research_shared.settings import Settings


def index_finding(settings: "Settings") -> Finding:
    """Return where the index is kept, or why it cannot be."""
    directory = settings.index_dir
    if directory is None:
        return Finding(
            about="index",
            status="warning",
            text="in memory: each start reads the whole folder again",
            remedy="Keep it: RESEARCH_INDEX_DIR=auto, or --index auto.",
        )
    for each in settings.roots:
        if directory == each.directory or each.directory in directory.parents:
            return Finding(
                about="index",
                status="problem",
                text=f"{directory} is inside the research folder {each.directory}",
                remedy="Name a directory elsewhere, or RESEARCH_INDEX_DIR=auto.",
            )
    problem = unwritable(directory)
    if problem is not None:
        return Finding(
            about="index",
            status="problem",
            text=f"{directory} cannot be written: {problem}",
            remedy="Make it writable for the server's user, or set RESEARCH_INDEX_DIR=auto.",
        )
    return Finding(about="index", status="ok", text=f"{directory}")


def trail_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield where the audit trail is kept, or why it cannot be."""
    if settings.audit_log is None:
        yield Finding(
            about="audit",
            status="warning",
            text="the trail goes to standard error",
            remedy="Keep it: RESEARCH_AUDIT_LOG=/var/log/research-assistant/audit.jsonl.",
        )
        return
    for each in settings.roots:
        if each.directory in settings.audit_log.parents:
            yield Finding(
                about="audit",
                status="problem",
                text=f"{settings.audit_log} is inside the research folder {each.directory}",
                remedy="Name a file elsewhere with RESEARCH_AUDIT_LOG.",
            )
            return
    problem = unwritable(settings.audit_log.parent)
    if problem is not None or not settings.audit_log.parent.is_dir():
        yield Finding(
            about="audit",
            status="problem",
            text=f"{settings.audit_log} cannot be written: {problem or 'its directory is missing'}",
            remedy="Make the directory, writable for the server's user: without the trail no call is served.",
        )
        return
    yield Finding(about="audit", status="ok", text=f"{settings.audit_log}")
    if settings.audit_key is None:
        yield Finding(
            about="audit",
            status="warning",
            text="the trail is not signed: who can write the file can make it anew",
            remedy="Set RESEARCH_AUDIT_KEY to at least 32 random bytes.",
        )


def unwritable(directory: Path) -> str | None:
    """Return why no file can be made in a directory, or in the first one above it that exists; None if one can."""
    existing = next(each for each in (directory, *directory.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return None
    except OSError as error:
        return error.strerror or str(error)
