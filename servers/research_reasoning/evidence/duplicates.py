"""Documents that are no evidence of their own: the same content under another name, and versions that are superseded."""

from collections.abc import Mapping, Sequence

from research_reasoning.call import Call
from research_shared.documents import DocumentText
from research_shared.reading.versions import VersionedDocument, version_notes

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


async def version_notes_on(call: Call, paths: Sequence[str]) -> dict[str, str]:
    """Return which of these documents are older versions or changed copies of others in the folder, in words, by path.

    The folder is listed in the first round of a call only.
    """
    kept: dict[str, str] | None = call.ledger.get_result(_VERSIONS)
    if kept is None:
        listed = await call.library.documents()
        notes = version_notes(
            VersionedDocument(path=info.path, modified_ns=info.identity.mtime_ns) for info in listed
        )
        kept = {path: str(notes[path]) for path in paths if path in notes}
        call.ledger.set_result(_VERSIONS, kept, replaces=[])
    return kept
