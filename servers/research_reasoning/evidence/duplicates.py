"""Documents that are no evidence of their own: the same content under another name, and versions that are superseded."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from research_reasoning.call import Call
from research_reasoning.replies.untrusted import quoted
from research_shared.documents import DocumentText
from research_shared.reading.passage_search import FoundPassages, first_named
from research_shared.reading.versions import VersionedDocument, VersionKind, VersionNote, version_notes

_VERSIONS = "versions"
"""Key of the notes on versions, among the results of a call."""


def duplicates_in(texts: Mapping[str, object]) -> dict[str, str]:
    """Return which documents have the content of one that comes before them in the order of the mapping, each with that one.

    `texts` are the texts of documents by path; what is no text has no duplicate.
    """
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for path, text in texts.items():
        if isinstance(text, DocumentText) and (before := first.setdefault(text.digest, path)) != path:
            found[path] = before
    return found


async def version_notes_on(call: Call, paths: Sequence[str]) -> dict[str, VersionNote]:
    """Return which of these documents are older versions or changed copies of others in the folder, by path.

    The folder is listed in the first round of a call only, and for the paths of the first time.
    """
    kept: dict[str, list[str]] | None = call.ledger.get_result(_VERSIONS)
    if kept is None:
        listed = await call.library.documents()
        notes = version_notes(
            VersionedDocument(path=info.path, modified_ns=info.identity.mtime_ns) for info in listed
        )
        of_paths = {path: notes[path] for path in paths if path in notes}
        kept = {path: [note.version_of, note.kind or ""] for path, note in of_paths.items()}
        call.ledger.set_result(_VERSIONS, kept, replaces=[])
    return {
        path: VersionNote(version_of=version_of, kind=cast(VersionKind, kind))
        for path, (version_of, kind) in kept.items()
    }


def without_superseded(found: FoundPassages, notes: Mapping[str, VersionNote]) -> FoundPassages:
    """Return what was found without the passages of documents whose newer version was found as well.

    A version whose newer one says nothing on the question stays: what only it says may have been dropped for a reason, and
    its source is marked.
    """
    present = {passage.path for some in found.by_query for passage in some}
    left_out = {path: note for path, note in notes.items() if path in present and note.version_of in present}
    if not left_out:
        return found
    named = [f"{quoted(path)} ({note})" for path, note in sorted(left_out.items())]
    warning = f"left out, because the newer version is heard: {first_named(named)}; name a version in document_paths to hear it"
    kept = (tuple(passage for passage in some if passage.path not in left_out) for some in found.by_query)
    return replace(found, by_query=tuple(kept), warnings=(*found.warnings, warning))
