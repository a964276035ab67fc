"""The node takes the indices as they are described, and has the terms that it is sent at their positions."""

from typing import Any

import httpx
import pytest

from research_documents.opensearch.layout import (
    MAX_SENT_TERM_BYTES,
    IndexNames,
    documents_index,
    passages_index,
    sent_terms,
    state_index,
)
from research_shared.text.analysis import EXACT, exact_terms, folded


@pytest.fixture
def passages(cluster: str, prefix: str) -> str:
    """The address of an index of passages."""
    address = f"{cluster}/{IndexNames(prefix=prefix).passages}"
    httpx.put(address, json=passages_index(), timeout=60).raise_for_status()
    return address


def positions(address: str, text: str) -> list[tuple[str, int]]:
    body: dict[str, Any] = {"field": "exact", "text": text}
    tokens = httpx.post(f"{address}/_analyze", json=body, timeout=60).raise_for_status().json()["tokens"]
    return [(token["token"], token["position"]) for token in tokens]


def test_all_indices_can_be_created(cluster: str, prefix: str) -> None:
    names = IndexNames(prefix=prefix)
    for name, body in ((names.documents, documents_index()), (names.state, state_index())):
        assert httpx.put(f"{cluster}/{name}", json=body, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "text", ["The routers' 5TB in C++, naïve Straße.", "混合ネットワーク and ไทย", "𠀀 grew¹² İstanbul"]
)
def test_each_sent_term_has_the_position_of_the_embedded_index(text: str, passages: str) -> None:
    terms = exact_terms(text)
    assert positions(passages, sent_terms(EXACT, folded(text))) == list(
        zip(terms, range(len(terms)), strict=True)
    )


def test_a_term_is_never_split(passages: str) -> None:
    longest = "x" * MAX_SENT_TERM_BYTES
    assert positions(passages, f"a {longest} b") == [("a", 0), (longest, 1), ("b", 2)]
    record = {"exact": f"a {longest} b", "text": longest}
    added = httpx.post(f"{passages}/_doc?refresh=true", json=record, timeout=60)
    assert added.status_code == 201, added.text
