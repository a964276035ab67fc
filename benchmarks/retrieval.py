"""Retrieval quality of keyword search on a BEIR-format data set, as nDCG@10.

    python benchmarks/retrieval.py DIR [--depth 10]

DIR holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels/test.tsv` (query, document,
grade). Every document becomes a Markdown file of a temporary folder, the search engine indexes that folder as it does
any other, and a document's rank is that of its best hit.
"""

import argparse
import asyncio
import json
import math
import tempfile
from collections import defaultdict
from pathlib import Path

from research_documents.search import SearchEngine
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


async def measure(data: Path, depth: int) -> tuple[float, int]:
    """The mean over all judged queries, and how many these are."""
    grades = judgements(data / "qrels" / "test.tsv")
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for record in records(data / "corpus.jsonl"):
            page = f"# {record['title']}\n\n{record['text']}\n"
            (Path(folder) / f"{record['_id']}.md").write_text(page, encoding="utf-8")
        engine = SearchEngine(Library(RootsPolicy([Root("data", Path(folder))])), deadline_s=300)
        async with engine:
            while engine.indexing or not engine.stats.documents:  # noqa: ASYNC110  (progress is polled)
                await asyncio.sleep(0.05)
            for record in records(data / "queries.jsonl"):
                if record["_id"] in grades:
                    outcome = await engine.search(record["text"], limit=4 * depth)
                    ranked = list(dict.fromkeys(Path(hit.document).stem for hit in outcome.hits))
                    scores.append(ndcg(ranked, grades[record["_id"]], depth))
    return sum(scores) / len(scores), len(scores)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--depth", type=int, default=10)
    options = parser.parse_args()
    score, queries = asyncio.run(measure(options.data, options.depth))
    print(f"nDCG@{options.depth} {score:.4f} over {queries} queries")


if __name__ == "__main__":
    main()
