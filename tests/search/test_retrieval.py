"""Retrieval quality on the small set that the project ships."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_the_right_documents_come_first() -> None:
    spec = importlib.util.spec_from_file_location("retrieval", ROOT / "benchmarks" / "retrieval.py")
    assert spec is not None
    assert spec.loader is not None
    retrieval = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(retrieval)
    means, queries = await retrieval.measure(ROOT / "tests" / "data" / "beir-small", 10)
    assert queries == 14
    assert list(means) == ["keyword"]
    assert means["keyword"] > 0.95
    assert retrieval.ndcg(["a", "b"], {"b": 1}, 10) < retrieval.ndcg(["b", "a"], {"b": 1}, 10) == 1.0
