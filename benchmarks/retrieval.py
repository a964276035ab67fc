"""Retrieval quality of keyword and hybrid search on a BEIR-format data set, as nDCG@10.

    python benchmarks/retrieval.py DIR [--depth 10] [--embedding-dir MODEL] [--vectors KEPT]
    python benchmarks/retrieval.py DIR [--depth 10] [--embedding-dir MODEL] --search-url URL

DIR holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels/test.tsv` (query, document,
grade). Every document becomes a Markdown file of a temporary folder, the search engine indexes that folder as it does
any other, and a document's rank is that of its best hit. With a local model (`model.onnx` and `tokenizer.json` in MODEL) the
same queries are asked in hybrid mode, too, once all passages are embedded: 0.1 s of a processor for each. KEPT is a
directory that keeps the vectors for the next time. With URL, the folder is pushed to the OpenSearch cluster there, into indices
whose names begin with `retrieval-`, and searched on it; with vectors if it has the k-NN plugin.
"""

import argparse
import asyncio
import json
import math
import tempfile
from collections import defaultdict
from pathlib import Path

from research_documents.opensearch.client import ClusterClient
from research_documents.opensearch.engine import OpenSearchEngine
from research_documents.opensearch.layout import IndexNames
from research_documents.opensearch.pushing import ClusterIndex, Indexer
from research_documents.opensearch.pushing.vectors import VectorMaker
from research_documents.search import DocumentSearch, SearchEngine
from research_documents.search.request import Mode
from research_documents.search.semantic import LocalModel, SemanticIndex
from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.library import Library


def records(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def judgements(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        found[query][document] = int(grade)
    return found


def ndcg(ranked: list[str], grades: dict[str, int], depth: int) -> float:
    """Normalized discounted cumulative gain (Järvelin and Kekäläinen 2002), linear gains as in trec_eval."""
    gain = sum(grades.get(document, 0) / math.log2(rank + 2) for rank, document in enumerate(ranked[:depth]))
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:depth]
    return gain / sum(grade / math.log2(rank + 2) for rank, grade in enumerate(best))


async def on_cluster(library: Library, url: str, model: Path | None) -> OpenSearchEngine:
    """Push a folder to a cluster, in place of the one before, and return an engine that searches it there."""
    names = IndexNames(prefix="retrieval")
    client = ClusterClient(url)
    index = ClusterIndex(client, names)
    index.prepare_state()
    async with library:
        vectors = None if model is None else VectorMaker(LocalModel(model))
        indexer = Indexer(library, index, vectors=vectors)
        await indexer.open(anew=True)
        report = await indexer.push_all()
        await indexer.close()
        assert not report.without_vectors, report.no_vectors
    client.close()
    embedder = None if model is None else LocalModel(model)
    return OpenSearchEngine(
        library, names, connect=lambda: ClusterClient(url), deadline_s=60, embedder=embedder
    )


async def measure(
    data: Path, depth: int, model: Path | None = None, kept: Path | None = None, search_url: str | None = None
) -> tuple[dict[Mode, float], int]:
    """The mean over all judged queries for each mode, and how many these are."""
    grades = judgements(data / "qrels" / "test.tsv")
    queries = [record for record in records(data / "queries.jsonl") if record["_id"] in grades]
    modes: tuple[Mode, ...] = ("keyword",) if model is None else ("keyword", "hybrid")
    means: dict[Mode, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for record in records(data / "corpus.jsonl"):
            page = f"# {record['title']}\n\n{record['text']}\n"
            (Path(folder) / f"{record['_id']}.md").write_text(page, encoding="utf-8")
        library = Library(RootsPolicy([Root("data", Path(folder))]))
        engine: DocumentSearch
        if search_url is not None:
            engine = await on_cluster(library, search_url, model)
        else:
            semantic = None if model is None else SemanticIndex(LocalModel(model), directory=kept)
            engine = SearchEngine(library, deadline_s=300, semantic=semantic)
        async with engine:
            while engine.indexing or not engine.stats.documents:  # noqa: ASYNC110  (progress is polled)
                await asyncio.sleep(0.05)
            while (state := engine.stats.embedded) is not None and state[0] < state[1]:  # noqa: ASYNC110
                await asyncio.sleep(1)
            for mode in modes:
                scores = []
                for record in queries:
                    outcome = await engine.search(record["text"], mode=mode, limit=4 * depth)
                    ranked = list(dict.fromkeys(Path(hit.document).stem for hit in outcome.hits))
                    scores.append(ndcg(ranked, grades[record["_id"]], depth))
                means[mode] = sum(scores) / len(scores)
    return means, len(queries)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--embedding-dir", type=Path, help="directory of a local model")
    parser.add_argument("--vectors", type=Path, help="directory that keeps the vectors")
    parser.add_argument("--search-url", help="OpenSearch cluster to push to and to search, instead of here")
    options = parser.parse_args()
    means, queries = asyncio.run(
        measure(options.data, options.depth, options.embedding_dir, options.vectors, options.search_url)
    )
    for mode, mean in means.items():
        print(f"{mode:<8} nDCG@{options.depth} {mean:.4f} over {queries} queries")


if __name__ == "__main__":
    main()
