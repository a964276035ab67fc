"""The passages on the cluster as keyword and regex search use an index: for one search, within what it may see."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from typing import Any, Final

from research_documents.opensearch.client import ClusterFailed
from research_documents.opensearch.layout import IndexNames
from research_documents.opensearch.meaning.field import PARTS, cosine_of, nearest_query
from research_documents.opensearch.mirror import Cluster, DocumentMirror
from research_documents.opensearch.query import MATCH_NOTHING, TOO_LONG, ClusterJson, OpenSearchDialect
from research_documents.opensearch.window import window_of
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.keyword.query import Group
from research_shared.access.scope import Scope
from research_shared.documents import DocumentText

TIE_MARGIN: Final = 65
"""Passages fetched beyond those that are wanted. A larger tie is ordered by path and place alone, as the cluster sorts it."""
FETCHED_TOGETHER: Final = 2_000
"""Passages of one answer of the cluster."""
MOST_TERMS: Final = 65_536
"""Values of one list that a cluster takes by default."""
MOST_CANDIDATES: Final = 10_000
"""Documents that a regex search is narrowed to."""
_RETURNED: Final = ["document", "version", "begin", "end", "start_line", "text", "tail"]


@dataclass(slots=True, kw_only=True)
class ClusterPassages:
    """The passages of the documents of one selection. Used by one search, in one thread at a time.

    `excluded` are versions of passages that do not count. The search finds `unknown` ones, of which no record tells that they
    count; it leaves them out and has to be run again. `changed` says that it left out passages of a document that was pushed
    again since the selection was made: run it again. `partial` says that a part of the index did not answer.
    """

    cluster: Cluster
    names: IndexNames
    mirror: DocumentMirror
    selection: Selection
    filters: Sequence[ClusterJson]
    excluded: Collection[str]
    deadline: float
    preference: str
    """Equal for all parts and pages of one search: the same copy of the index answers them, with the same scores."""
    clock: Callable[[], float] = time.monotonic
    unknown: set[str] = field(default_factory=set)
    changed: bool = False
    partial: bool = False
    _has_asked: bool = False
    _dialects: list[OpenSearchDialect] = field(default_factory=list)
    _texts: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said about how the query was asked for."""
        return (TOO_LONG,) if any(dialect.cut for dialect in self._dialects) else ()

    def dialect(self, group: Group) -> OpenSearchDialect:
        """Return what makes the query of a group for the cluster."""
        self._dialects.append(OpenSearchDialect(group))
        return self._dialects[-1]

    def search(
        self,
        query: ClusterJson,
        limit: int,
        documents: Collection[int] | None = None,  # noqa: ARG002  (the selection says which)
    ) -> tuple[list[ScoredPassage], bool]:
        """Return (passages, True): the best `limit` passages by score, path and place, and a tie of them that is not large.

        The selection limits the search, so `documents` does nothing.
        """
        found: list[ScoredPassage] = []
        after: list[Any] | None = None
        left = limit + TIE_MARGIN if self.selection.readable else 0
        while left > 0:
            size = min(left, FETCHED_TOGETHER)
            body = self._body({"must": [query]}) | {
                "size": size,
                "sort": ["_score", {"path": "asc"}, {"begin": "asc"}],
                "track_scores": True,
                "track_total_hits": False,
                "_source": _RETURNED,
            }
            if after is not None:
                body["search_after"] = after
            hits = self._asked(body)["hits"]["hits"]
            found += [passage for hit in hits if (passage := self._passage(hit)) is not None]
            if len(hits) < size:
                break
            after, left = hits[-1]["sort"], left - size
        return found, True

    def nearest(self, codes: Sequence[int], limit: int) -> list[ScoredPassage]:
        """Return the `limit` passages whose nearest parts are nearest to a vector, by cosine, path and place."""
        asked = nearest_query(codes, filters=self.filters, excluded=self._not_counting)
        body = self._body({"must": [asked]}) | {
            "size": limit,
            "sort": ["_score", {"path": "asc"}, {"begin": "asc"}],
            "track_scores": True,
            "track_total_hits": False,
            "_source": _RETURNED,
        }
        found: list[ScoredPassage] = []
        for hit in self._asked(body, by_statistics=False)["hits"]["hits"]:
            if (passage := self._passage(hit)) is None:
                continue
            (part,) = hit["inner_hits"][PARTS]["hits"]["hits"]
            near = part["_source"]
            found.append(
                passage._replace(
                    score=cosine_of(passage.score), near_begin=near["begin"], near_end=near["end"]
                )
            )
        return found

    def around(self, passage: ScoredPassage) -> tuple[ScoredPassage, DocumentText] | None:
        """Return the text around a passage that was found, as the cluster keeps it."""
        record = self.mirror.record(passage.document)
        kept = self._texts.get((passage.document, passage.begin))
        if record is None or kept is None:
            return None
        return window_of(passage, text=kept[0], tail=kept[1], record=record)

    def documents_containing_any(self, literals: Collection[str]) -> set[int] | None:
        """Return a superset of the ids of documents with a word that contains one of `literals`; None if they are too many."""
        if not self.selection.readable:
            return set()
        expression = f".*({'|'.join(sorted(literals))}).*"
        body = self._body({"filter": [{"regexp": {"exact": {"value": expression, "flags": "NONE"}}}]}) | {
            "size": 0,
            "track_total_hits": False,
            "aggs": {"documents": {"terms": {"field": "document", "size": MOST_CANDIDATES}}},
        }
        found = self._asked(body)["aggregations"]["documents"]
        if found["sum_other_doc_count"] or self.partial:
            return None
        numbers = (self.mirror.number(bucket["key"]) for bucket in found["buckets"])
        return {number for number in numbers if number is not None and self._is_selected(number)}

    def _body(self, query: dict[str, list[ClusterJson]]) -> ClusterJson:
        """Return a search for passages that count, of the selection."""
        asked: dict[str, list[ClusterJson]] = {**query, "filter": [*query.get("filter", ()), *self.filters]}
        if excluded := self._not_counting:
            asked["must_not"] = excluded
        left_s = self.deadline - self.clock()
        if left_s <= 0 and not self._has_asked:
            raise ClusterFailed(
                "the search had to wait too long for its turn",
                hint="More searches run at once than this server has threads for: run more servers, or ask for less at once.",
                retryable=True,
            )
        self._has_asked = True
        left_ms = max(int(1000 * left_s), 1)
        return {"query": {"bool": asked}, "timeout": f"{left_ms}ms"}

    @property
    def _not_counting(self) -> list[ClusterJson]:
        return list(any_of("version", sorted(self.excluded)))

    def _asked(self, body: ClusterJson, *, by_statistics: bool = True) -> ClusterJson:
        """Ask for passages: with the statistics of words of all shards, which ask twice, unless no word is ranked."""
        how = "dfs_query_then_fetch" if by_statistics else "query_then_fetch"
        answer = self.cluster.request(
            "POST",
            f"/{self.names.passages}/_search?search_type={how}&preference={self.preference}",
            body,
        )
        self.partial = self.partial or answer["timed_out"] or answer["_shards"]["failed"] > 0
        return answer

    def _passage(self, hit: ClusterJson) -> ScoredPassage | None:
        """Return the passage of a hit; None if it does not count, or is of a document that was pushed again meanwhile."""
        source = hit["_source"]
        number = self.mirror.number_of(source["document"], source["version"])
        if number is None:
            self.unknown.add(source["version"])
            return None
        if not self._is_selected(number):
            return None
        passage = ScoredPassage(
            document=number,
            begin=source["begin"],
            end=source["end"],
            line=source["start_line"],
            score=hit["_score"],
        )
        self._texts[number, passage.begin] = source["text"], source["tail"]
        return passage

    def _is_selected(self, number: int) -> bool:
        """Return whether the entry of a passage is selected. The filters admit no others: if it is not, it is a new one."""
        selected = number in self.selection.ids
        self.changed = self.changed or not selected
        return selected


def any_of(field_name: str, values: Sequence[str]) -> Iterable[ClusterJson]:
    """Yield queries for one of these values; a list for a cluster is limited."""
    for at in range(0, len(values), MOST_TERMS):
        yield {"terms": {field_name: list(values[at : at + MOST_TERMS])}}


def filters_of(
    selection: Selection, *, known: Iterable[CatalogEntry], scope: Scope, key: Callable[[int], str]
) -> list[ClusterJson]:
    """Return filters that admit the passages of the selected documents alone, out of those of all `known` ones.

    The folders of the scope are always among them. What they, a common folder and the types do not tell is told by document:
    those that are meant, or those that are not, whichever are fewer. `key` gives the key of an entry's document.
    """
    found: list[ClusterJson] = []
    others = (
        []
        if selection.everything
        else [entry for entry in known if not entry.reason and entry.id not in selection.ids]
    )
    if scope.prefixes != ("",):
        folders = Scope(scope.prefixes)
        found += [{"terms": {name: list(scope.prefixes)}} for name in ("folders", "target_folders")]
        others = [entry for entry in others if folders.shows(entry.info)]
    meant = selection.readable
    if not meant:
        return [MATCH_NOTHING]
    if others and (folder := commonpath([f"/{entry.path}" for entry in meant])[1:]):
        found.append({"term": {"folders": folder}})
        others = [entry for entry in others if f"{entry.path}/".startswith(f"{folder}/")]
    types = {entry.info.media_type for entry in meant} if others else set()
    if any(entry.info.media_type not in types for entry in others):
        found.append({"terms": {"media_type": sorted(types)}})
        others = [entry for entry in others if entry.info.media_type in types]
    if others:
        fewer = meant if len(meant) <= len(others) else others
        keys = sorted(key(entry.id) for entry in fewer)
        occurs = "should" if fewer is meant else "must_not"
        found.append({"bool": {occurs: list(any_of("document", keys))}})
    return found
