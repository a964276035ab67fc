"""What is kept on the cluster: the two indices, their fields, and the records of passages and documents.

Texts are analyzed here, by the analyzers of the embedded index, and sent as terms with spaces between them, which the
cluster takes as they are. So both have the same terms at the same positions.

A document's passages carry the `version` of the push that wrote them. A version counts once the document's own record names it.
Until then, and after it was replaced, the record has it among its `hidden` ones. A document that is gone leaves a record
that says so. Whatever changes a record gives it a higher `change`, so that readers can ask for what is new.

What waits to be pushed is said by the records as well: of each document on its own, because who may not see it is not to
learn of it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from pydantic import TypeAdapter

from research_documents.opensearch.meaning.field import PART_VECTORS, IndexedModel, parts_field
from research_documents.search.index.passage_fields import TAIL_BYTES, passage_fields
from research_documents.search.index.passage_index import SCHEMA_VERSION
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.formats import NO_METADATA, Metadata
from research_shared.reading.filters import day_range
from research_shared.text.analysis import EXACT, STEMMED, analyzer, exact_terms, folded
from research_shared.text.passages import spans

CLUSTER_SCHEMA: Final = f"1.{SCHEMA_VERSION}"
"""Is kept with the indices. Changes whenever fields, analyzers or passages change; the texts must then be pushed again."""
OLD_AFTER: Final = timedelta(hours=26)
"""An index is old if it last agreed with the folder so long ago: a push every night has two hours to be late."""
SILENT_AFTER: Final = timedelta(minutes=15)
"""An indexer that follows the folder says at least so often that they agree, or with ten listings if these are rarer."""
MAX_UNREAD: Final = 20_000
"""Files of types that are not read, which are kept to be counted: the first by path."""
MAX_SENT_TERM_BYTES: Final = 32_766
"""Longer terms are left out: Lucene cannot hold them. Only headings can have them: passages are shorter."""

_TERMS_FIELD: Final[dict[str, Any]] = {"type": "text", "analyzer": "sent_terms"}
_EXACTLY: Final[dict[str, Any]] = {"type": "keyword"}
_KEPT: Final[dict[str, Any]] = {"type": "object", "enabled": False}
"""Is returned and cannot be searched."""
_CHOICE_FIELDS: Final[dict[str, Any]] = {
    "path": _EXACTLY,
    "folders": _EXACTLY,
    "target_folders": _EXACTLY,
    "media_type": _EXACTLY,
    "modified": {"type": "date", "format": "yyyy-MM-dd"},
    "dated": {"type": "date_range", "format": "yyyy-MM-dd"},
    "authors": _EXACTLY,
    "tags": _EXACTLY,
}
"""What chooses documents: scope, file pattern and filters. Records of passages have it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexNames:
    """Names of what is kept for one set of folders: `passages` and `documents` are aliases, `state` is an index."""

    prefix: str

    @property
    def passages(self) -> str:
        """The alias of the passages."""
        return f"{self.prefix}-passages"

    @property
    def documents(self) -> str:
        """The alias of the records of the documents."""
        return f"{self.prefix}-documents"

    @property
    def state(self) -> str:
        """The index of what is known about pushing: who does it, and how the last push ended."""
        return f"{self.prefix}-state"


def _index_body(
    properties: Mapping[str, Any], *, model: IndexedModel | None = None, **settings: Any
) -> dict[str, Any]:
    return {
        "settings": {
            # one copy on another node where there is one, and a green state where there is none
            "index": {"auto_expand_replicas": "0-1", **settings},
        },
        "mappings": {
            "dynamic": "strict",
            "_meta": {"schema": CLUSTER_SCHEMA} | ({} if model is None else {"embedding": model.meta()}),
            **properties,
        },
    }


def passages_index(model: IndexedModel | None = None) -> dict[str, Any]:
    """Return the body that creates an index of passages, with their vectors by this model if there is one.

    The number of shards is the cluster's to choose.
    """
    return _index_body(
        {
            # Terms and vectors need not be returned; they would take more room than the texts.
            "_source": {"excludes": ["stem", "exact", "title", "words_of_path", PART_VECTORS]},
            "properties": {
                "stem": {**_TERMS_FIELD, "index_options": "freqs"},
                "exact": {**_TERMS_FIELD, "index_options": "positions"},
                "title": {**_TERMS_FIELD, "index_options": "freqs"},
                "words_of_path": {**_TERMS_FIELD, "index_options": "positions"},
                "document": _EXACTLY,
                "version": _EXACTLY,
                **_CHOICE_FIELDS,
                "begin": {"type": "long"},
                "end": {"type": "long"},
                "start_line": {"type": "integer"},
                "text": {"type": "text", "index": False},
                "tail": {"type": "text", "index": False},
                **({} if model is None else parts_field(model)),
            },
        },
        model=model,
        **({} if model is None else {"knn": True}),
        analysis={
            "tokenizer": {"by_spaces": {"type": "whitespace", "max_token_length": MAX_SENT_TERM_BYTES}},
            "analyzer": {"sent_terms": {"type": "custom", "tokenizer": "by_spaces"}},
        },
        # BM25 with the constants of the embedded index, which are Lucene's own
        similarity={"default": {"type": "BM25", "k1": 1.2, "b": 0.75}},
    )


def documents_index(model: IndexedModel | None = None) -> dict[str, Any]:
    """Return the body that creates an index of documents, beside passages with vectors by this model if there is one.

    It has one shard: readers that ask for higher changes than they know would miss one that another shard shows later.
    """
    return _index_body(
        {
            "properties": {
                **_CHOICE_FIELDS,
                "version": _EXACTLY,
                "hidden": _EXACTLY,
                "complete": {"type": "boolean"},
                "gone": {"type": "boolean"},
                "change": {"type": "long"},
                "pushed_at": {"type": "date", "format": "strict_date_time_no_millis||strict_date_time"},
                "readers": _EXACTLY,
                "size": {"type": "long"},
                "mtime_ns": {"type": "long"},
                "passages": {"type": "integer"},
                "text_bytes": {"type": "long"},
                "reason": _EXACTLY,
                "kept": _KEPT,
            }
        },
        model=model,
        number_of_shards=1,
    )


def state_index() -> dict[str, Any]:
    """Return the body that creates the index of the state of pushing."""
    return _index_body({"properties": {"lease": _KEPT, "push": _KEPT}}, number_of_shards=1)


def iso_now() -> str:
    """Return the time as it is kept: ISO 8601, UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def document_key(path: str) -> str:
    """Return the id of a document: a digest of its path.

    >>> document_key("notes.md")
    '754b6dc3f8728b1991298d8359218165'
    """
    return hashlib.sha256(path.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def with_folders(path: str) -> list[str]:
    """Return a path and every folder above it. The top is the empty text, as in the prefixes of a scope.

    >>> with_folders("papers/2024/a.pdf")
    ['papers/2024/a.pdf', 'papers/2024', 'papers', '']
    """
    found = [path]
    while path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


def sent_terms(name: str, text: str) -> str:
    """Return the terms of folded text, as the analyzer of this name gives them, as they are sent to the cluster."""
    terms = analyzer(name).analyze(text)
    return " ".join(term for term in terms if len(term) <= MAX_SENT_TERM_BYTES // 4 or _fits(term))


def _fits(term: str) -> bool:
    return len(term.encode()) <= MAX_SENT_TERM_BYTES


def _choosable(info: DocumentInfo, metadata: Metadata) -> dict[str, Any]:
    """Return what scopes, file patterns and filters choose a document by.

    A link is within a scope if both its path and its target are. `authors` are the words of all names: filters narrow by
    them, and compare whole names afterwards.
    """
    folders = with_folders(info.path)
    chosen: dict[str, Any] = {
        "path": info.path,
        "folders": folders,
        "target_folders": with_folders(info.target) if info.target else folders,
        "media_type": info.media_type,
        "modified": info.modified.date().isoformat(),
    }
    if metadata.date:
        first, last = day_range(metadata.date)
        chosen["dated"] = {"gte": first.isoformat(), "lte": last.isoformat()}
    if metadata.authors:
        chosen["authors"] = sorted({word for name in metadata.authors for word in exact_terms(name)})
    if metadata.tags:
        chosen["tags"] = sorted({tag_key(tag) for tag in metadata.tags})
    return chosen


def tag_key(tag: str) -> str:
    """Return the words of a tag as they are compared.

    >>> tag_key("Mix  Networks")
    'mix networks'
    """
    return " ".join(exact_terms(tag))


def tail_of(text: DocumentText, end: int) -> str:
    """Return what follows a passage, up to the end of a line, for phrases and prefixes that match across its end.

    Where a long line goes on under a new number, there is a line break.
    """
    data, least = text.data, end + TAIL_BYTES
    line_end = data.find(b"\n", least) if least < len(data) else -1
    stop = len(data) if line_end < 0 else line_end
    if (part := text.continues_after(least)) is not None:
        stop = min(stop, part)
    part = text.continues_after(end)
    if part is None or part >= stop:
        return data[end:stop].decode("utf-8")
    return data[end:part].decode("utf-8") + "\n" + data[part:stop].decode("utf-8")


def passage_records(
    text: DocumentText, info: DocumentInfo, version: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the id and the record of each passage of a document, in order."""
    key = document_key(info.path)
    shared = {
        "document": key,
        "version": version,
        **_choosable(info, text.metadata),
        "words_of_path": sent_terms(EXACT, folded(info.path)),
    }
    found = spans(text)
    for number, (span, searched) in enumerate(zip(found, passage_fields(text, found), strict=True)):
        yield (
            f"{key}:{version}:{number}",
            {
                **shared,
                "stem": sent_terms(STEMMED, searched.stem),
                "exact": sent_terms(EXACT, searched.exact),
                "title": sent_terms(STEMMED, searched.title),
                "begin": span.begin,
                "end": span.end,
                "start_line": span.start_line,
                "text": searched.content,
                "tail": tail_of(text, span.end),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """What the cluster knows of a document: the state of the file at `info`, and which passages count.

    `version` names the passages that count; empty while there are none. `hidden` names passages that do not count, or not yet.
    `reason` says why a document gives no text. `gone` documents do not exist any more. `readers` names what reads texts
    and how: other readers may make another text of the same file. `pushed_at` is ISO 8601, UTC. `waits` is the state of the
    file that is still to be pushed; None if there is no newer one. Of the `passages`, `embedded` have a vector for each of their
    parts; with some of the `unembeddable` ones the model fails.
    """

    info: DocumentInfo
    version: str = ""
    hidden: tuple[str, ...] = ()
    gone: bool = False
    change: int = 0
    pushed_at: str = ""
    readers: str = ""
    reason: str = ""
    gap: str = ""
    digest: str = ""
    metadata: Metadata = NO_METADATA
    page_starts: tuple[int, ...] = ()
    ocr_pages: tuple[int, ...] = ()
    text_bytes: int = 0
    passages: int = 0
    waits: DocumentInfo | None = None
    embedded: int = 0
    unembeddable: int = 0

    @classmethod
    def of(cls, info: DocumentInfo, text: DocumentText, *, version: str, passages: int, readers: str) -> Self:
        """Return the record of a document whose passages are all there."""
        return cls(
            info=replace(info, identity=text.identity),
            version=version,
            readers=readers,
            gap=text.gap,
            digest=text.digest,
            metadata=text.metadata,
            page_starts=text.page_starts,
            ocr_pages=text.ocr_pages,
            text_bytes=len(text.data),
            passages=passages,
        )

    @property
    def path(self) -> str:
        """The public path."""
        return self.info.path

    @property
    def complete(self) -> bool:
        """Whether all that can be searched of the document is there: its passages, or the reason why there are none."""
        return bool(self.version or self.reason) and not self.gone

    @property
    def lacks_vectors(self) -> bool:
        """Whether there are passages that could have a vector, and have none."""
        return self.complete and self.embedded + self.unembeddable < self.passages

    @property
    def pages(self) -> int | None:
        """How many pages the document has, or None for one without pages."""
        return len(self.page_starts) or None

    def source(self) -> dict[str, Any]:
        """Return the record as it is kept."""
        info, identity = self.info, self.info.identity
        return {
            **_choosable(info, self.metadata),
            "version": self.version,
            "hidden": list(self.hidden),
            "complete": self.complete,
            "gone": self.gone,
            "change": self.change,
            "pushed_at": self.pushed_at or None,
            "readers": self.readers,
            "size": identity.size,
            "mtime_ns": identity.mtime_ns,
            "passages": self.passages,
            "text_bytes": self.text_bytes,
            "reason": self.reason,
            "kept": {
                **_place(info),
                "gap": self.gap,
                "digest": self.digest,
                "metadata": self.metadata.packed(),
                "page_starts": list(self.page_starts),
                "ocr_pages": list(self.ocr_pages),
                **({} if self.waits is None else {"waits": _place(self.waits)}),
                "embedded": self.embedded,
                "unembeddable": self.unembeddable,
            },
        }

    @classmethod
    def from_source(cls, source: Mapping[str, Any]) -> Self:
        """Return the record that `source` wrote.

        Raises:
            KeyError, TypeError, ValueError: something else wrote it.
        """
        kept = source["kept"]
        path, media_type = source["path"], source["media_type"]
        return cls(
            info=_info_of(path, media_type, kept),
            version=source["version"],
            hidden=tuple(source["hidden"]),
            gone=source["gone"],
            change=source["change"],
            pushed_at=source["pushed_at"] or "",
            readers=source["readers"],
            reason=source["reason"],
            gap=kept["gap"],
            digest=kept["digest"],
            metadata=Metadata.unpacked(kept["metadata"]),
            page_starts=tuple(kept["page_starts"]),
            ocr_pages=tuple(kept["ocr_pages"]),
            text_bytes=source["text_bytes"],
            passages=source["passages"],
            waits=_info_of(path, media_type, kept["waits"]) if "waits" in kept else None,
            embedded=kept.get("embedded", 0),
            unembeddable=kept.get("unembeddable", 0),
        )


def _place(info: DocumentInfo) -> dict[str, Any]:
    """Return what is kept of a file besides its path and type, which its path tells."""
    return {"root": info.root, "target": info.target, "identity": list(info.identity)}


def _info_of(path: str, media_type: str, kept: Mapping[str, Any]) -> DocumentInfo:
    return DocumentInfo(
        path=path,
        root=kept["root"],
        media_type=media_type,
        identity=Identity(*kept["identity"]),
        target=kept["target"],
    )


def unread_key(paths: Sequence[str]) -> str:
    """Return a text that is the same for equal lists of files of types that are not read; empty if there is none."""
    return hashlib.sha256(json.dumps(paths).encode()).hexdigest()[:16] if paths else ""


def unread_source(paths: Sequence[str]) -> dict[str, Any]:
    """Return the list of the files of types that are not read, as it is kept under the id `unread` of the state's index."""
    return {"push": {"unread": paths}}


def _silent_after(rescan_s: float) -> timedelta:
    return max(SILENT_AFTER, 10 * timedelta(seconds=rescan_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class PushState:
    """How far pushing is. Times are ISO 8601, UTC, by the clock of the indexer.

    `begun_at` is when the last push began, `agreed_at` when the index last held all that a listing of the folder showed: it is
    empty until the first push has ended. `told_at` is the time of the last listing of which each document is in the index as it was
    then, or has a record that says that it waits; empty before the first one, and from a version that has no such records.
    `listed` documents were in the last listing, `waiting` of them are still to be pushed, `failed` could not be. `roots` are the
    names of the research folders, none if they are not known, `places` where they were, as `machine:directory`, in the same order.
    `folder_id` is the operator's name for what was pushed. `unread` is the key of the list of files of types that are not read.
    `embedding_problem` says why passages have no vector that should have one, as a clause. `worked_at` is when an indexer last wrote
    this; empty from a version that does not say so.
    """

    begun_at: str = ""
    agreed_at: str = ""
    told_at: str = ""
    listed: int = 0
    waiting: int = 0
    failed: int = 0
    watching: bool = False
    roots: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    folder_id: str = ""
    unread: str = ""
    embedding_problem: str = ""
    worked_at: str = ""

    def silent_since(self, now: datetime, *, rescan_s: float) -> datetime | None:
        """Return when an indexer last gave a sign of life, if that is so long ago that none is at work; else None."""
        if not self.worked_at:
            last = self.told_at or self.agreed_at
            return datetime.fromisoformat(last) if self.is_old(now, rescan_s=rescan_s) else None
        worked_at = datetime.fromisoformat(self.worked_at)
        return worked_at if now - worked_at > _silent_after(rescan_s) else None

    def is_old(self, now: datetime, *, rescan_s: float) -> bool:
        """Return whether the index is not known to have agreed with the folder for long: see `OLD_AFTER` and `SILENT_AFTER`.

        `rescan_s` is the time between listings of an indexer that follows the folder. While no push has ended, there is nothing
        to be old.
        """
        agreed_at = self.told_at or self.agreed_at
        after = _silent_after(rescan_s) if self.watching else OLD_AFTER
        return bool(agreed_at) and now - datetime.fromisoformat(agreed_at) > after

    def source(self) -> dict[str, Any]:
        """Return the state as it is kept, under the id `push` of the state's index."""
        return {"push": asdict(self)}

    @classmethod
    def from_source(cls, source: Mapping[str, Any]) -> Self:
        """Return the state that `source` wrote, perhaps that of another version: fields that are not known are left out.

        Raises:
            KeyError, ValueError: something else wrote it.
        """
        return TypeAdapter(cls).validate_python(source["push"])
