"""What is sent to the cluster: the terms of the embedded index, and records that come back as they were."""

from dataclasses import replace

import pytest

from research_documents.opensearch.layout import (
    MAX_SENT_TERM_BYTES,
    DocumentRecord,
    IndexNames,
    PushState,
    passage_records,
    passages_index,
    sent_terms,
    with_folders,
)
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.formats import Metadata
from research_shared.text.analysis import EXACT, STEMMED, exact_terms, folded, stems

IDENTITY = Identity(1, 2, 3, 1_700_000_000_123_456_789, 5)
INFO = DocumentInfo(path="papers/2024/mix.md", root="r", media_type="text/markdown", identity=IDENTITY)
METADATA = Metadata(title="Mix", authors=("Ana Ruiz", "Ben Ruiz"), date="2024-02", tags=("Mix Networks",))


def text_of(content: str, page_starts: tuple[int, ...] = ()) -> DocumentText:
    return DocumentText(
        path=INFO.path,
        media_type=INFO.media_type,
        identity=IDENTITY,
        digest="d",
        engine="e",
        data=content.encode(),
        page_starts=page_starts,
        metadata=METADATA,
    )


@pytest.mark.parametrize(
    "text",
    [
        "The routers' latencies: 5TB in C++, grew¹², naïve Straße, ﬁne.",
        "混合ネットワーク and ไทย",
        "we\u00adll-\nknown 1.5kg",
        "",
    ],
)
def test_terms_are_those_of_the_embedded_index_in_their_order(text: str) -> None:
    assert sent_terms(EXACT, folded(text)).split(" ") == (exact_terms(text) or [""])
    assert sent_terms(STEMMED, folded(text)).split(" ") == (stems(text) or [""])


def test_a_term_that_the_cluster_cannot_hold_is_left_out() -> None:
    longest = "x" * MAX_SENT_TERM_BYTES
    assert sent_terms(EXACT, f"a {longest} b") == f"a {longest} b"
    assert sent_terms(EXACT, f"a {longest}x b") == "a b"
    assert sent_terms(EXACT, f"a {'ж' * (MAX_SENT_TERM_BYTES // 2 + 1)} b") == "a b"


def test_passages_carry_what_scopes_and_filters_choose_by() -> None:
    records = dict(passage_records(text_of("# Mixing\n\nLatency grows.\n\n# Costs\n\nNone."), INFO, "v1"))
    (first_id, first), (second_id, second) = records.items()
    assert (first_id.rpartition(":")[2], second_id.rpartition(":")[2]) == ("0", "1")
    assert first_id.split(":")[:2] == [first["document"], first["version"]] == [second["document"], "v1"]
    assert first["folders"] == first["target_folders"] == ["papers/2024/mix.md", "papers/2024", "papers", ""]
    assert first["dated"] == {"gte": "2024-02-01", "lte": "2024-02-29"}
    assert first["modified"] == "2023-11-14"
    assert first["authors"] == ["ana", "ben", "ruiz"]
    assert first["tags"] == ["mix networks"]
    assert (first["title"], first["text"], first["start_line"]) == ("mix", "# Mixing\n\nLatency grows.", 1)
    # the first words of the next passage, for phrases across the border
    assert first["exact"] == "mixing latency grows costs none"
    assert second["stem"] == "cost none"
    assert first["words_of_path"] == "papers 2024 mix md"
    assert first.keys() <= passages_index()["mappings"]["properties"].keys()


def test_a_link_is_chosen_by_its_target_too() -> None:
    linked = replace(INFO, target="secret/mix.md")
    assert DocumentRecord(info=linked).source()["target_folders"] == ["secret/mix.md", "secret", ""]
    assert with_folders("") == [""]


def test_records_come_back_as_they_were() -> None:
    record = replace(
        DocumentRecord.of(INFO, text_of("a\nb\n", (1, 2)), version="v2", passages=1, readers="r"),
        hidden=("v1",),
        change=7,
        pushed_at="2026-11-27T00:00:00Z",
    )
    assert DocumentRecord.from_source(record.source()) == record
    waiting = replace(record, waits=replace(INFO, target="notes.md", identity=IDENTITY._replace(size=9)))
    assert DocumentRecord.from_source(waiting.source()) == waiting
    assert waiting.complete
    assert record.complete
    assert record.pages == 2
    assert not replace(record, gone=True).complete
    assert not DocumentRecord(info=INFO, hidden=("v1",)).complete
    assert not DocumentRecord(info=INFO, waits=INFO).complete
    assert DocumentRecord(info=INFO, reason="no text").complete
    state = PushState(
        begun_at="2026-11-27T00:00:00Z", listed=3, waiting=2, roots=("r",), places=("m:/srv/r",)
    )
    assert PushState.from_source(state.source()) == state
    assert IndexNames(prefix="r").passages == "r-passages"
