"""Processor time of the part of a hybrid query that compares vectors, over random ones.

    python benchmarks/vectors.py [--passages 240000] [--parts 3] [--dimension 384] [--at-most 150]

The passages stand in documents of twenty, and have a vector for each of their parts (2.4 on average in papers and notes). A query is compared with all of them, with those of a tenth of the documents as a
scope leaves them, and fused with a ranking by words. The status is 1 if the median of all takes more than `--at-most`
milliseconds. The keyword part of a query is what `search.py` measures.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.semantic.fusion import FUSED, fused
from research_documents.search.semantic.passage_table import DocumentPassages, PassageTable
from research_documents.search.semantic.vector_file import KEY
from research_documents.search.semantic.vectors import VectorStore
from research_shared.documents import DocumentInfo, Identity

EACH = 20
QUERIES = 15


def table_of(passages: int, parts: int, dimension: int) -> tuple[PassageTable, dict[int, CatalogEntry]]:
    random = np.random.default_rng(1)
    store = VectorStore(None, "random")
    keys = random.integers(0, 2**63, size=(passages * parts, 2), dtype=np.uint64).view(KEY)[:, 0]
    for at in range(0, len(keys), 4096):
        part = keys[at : at + 4096]
        store.add(part, random.standard_normal((len(part), dimension)).astype(np.float32))
    store.save()
    documents, entries = {}, {}
    starts = np.arange(EACH, dtype=np.uint32) * 1200
    part_of = np.repeat(np.arange(EACH, dtype=np.uint32), parts)
    part_begins = np.arange(len(part_of), dtype=np.uint32) * 400
    for number in range(passages // EACH):
        some = keys[number * len(part_of) : (number + 1) * len(part_of)]
        documents[number] = DocumentPassages(
            document=number, begins=starts, ends=starts + 1000, lines=starts // 60 + 1, passages=part_of, keys=some,
            rows=store.rows_of(some), part_begins=part_begins, part_ends=part_begins + 400,
        )  # fmt: skip
        path = f"folder{number % 97}/document{number}.md"
        info = DocumentInfo(
            path=path, root="data", media_type="text/markdown", identity=Identity(1, number, 1, 1, 1), target=""
        )  # fmt: skip
        entries[number] = CatalogEntry(id=number, info=info, passages=EACH)
    return PassageTable(documents=documents, vectors=store.rows), entries


def milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(QUERIES):
        begin = time.process_time()
        work()
        times.append(1000 * (time.process_time() - begin))
    return median(times)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=240_000)
    parser.add_argument("--parts", type=int, default=3, help="vectors of each passage")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--at-most", type=float, default=150.0)
    options = parser.parse_args()
    table, by_id = table_of(options.passages, options.parts, options.dimension)
    query = np.random.default_rng(2).standard_normal(options.dimension).astype(np.float32)
    every = tuple(by_id.values())
    whole = Selection(readable=every, unreadable=(), everything=True)
    scope = Selection(readable=every[::10], unreadable=(), everything=False)

    def search(selection: Selection) -> object:
        found = table.nearest(query, selection, by_id=by_id, limit=FUSED)
        table.coverage(selection.readable)
        return fused(found, found)

    search(whole)
    print(
        f"{options.passages} passages with {options.parts} vectors of {options.dimension} components each, "
        "milliseconds of processor time, median"
    )
    slowest = 0.0
    for name, selection in (("all documents", whole), ("a tenth of them", scope)):
        taken = milliseconds(lambda selection=selection: search(selection))  # type: ignore[misc]
        slowest = max(slowest, taken)
        print(f"  {name:<18}{taken:8.1f}")
    return 0 if slowest <= options.at_most else 1


if __name__ == "__main__":
    raise SystemExit(main())
