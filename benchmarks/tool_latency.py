"""Time `search_documents` as a client gets it, for `limit` 10, 100 and 1,000.

    python benchmarks/tool_latency.py CORPUS [--rounds 15] [--index DIR] [--json FILE] [--baseline FILE]

Each row is one query through `Client(build_documents_server(...))` in one process: median and 95th percentile in
milliseconds and the number of matches. With `--index`, text and index are kept in a directory. With `--baseline`, a file that an earlier version wrote with `--json`, the ratio
of the medians stands behind each row. A folder to run it on is made by `make_corpus.py`.
"""

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

from fastmcp import Client

from research_documents.server import build_documents_server
from research_shared.settings import Settings

LIMITS = (10, 100, 1_000)
QUERIES = [
    ("keyword", "1 term", "receptor"),
    ("keyword", "2 terms", "gene expression"),
    ("keyword", "4 terms", "patients treatment risk mortality"),
    ("keyword", "phrase", '"gene expression"'),
    ("keyword", "prefix", "immun* response"),
    ("regex", "rare literal", r"k1234\d*"),
    ("regex", "common literal", "receptor"),
    ("regex", "very common literal", "cells"),
    ("regex", "ignoring case", "(?i)OWNERSHIP"),
    ("regex", "word", r"\bcells?\b"),
    ("regex", "alternation", "mutex|ownership|carcinoma"),
    ("regex", "two inflections", r"\w+ing\s+\w+ed"),
    ("regex", "anchored", "^#+ .*ing"),
    ("regex", "no literal", "[0-9]{4}-[0-9]{2}"),
    ("regex", "line end", r"\.$"),
    ("regex", "no hit", "zzzqqq"),
]


async def ready(client: Client[Any]) -> None:
    """Wait until the index is complete."""
    for _ in range(600):
        result = (await client.call_tool("search_documents", {"query": "the"})).structured_content or {}
        if "indexing" not in result:
            return
        await asyncio.sleep(0.5)
    raise SystemExit("the index was not complete within five minutes")


async def measure(corpus: Path, rounds: int, index: Path | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    settings = Settings.load(roots=f"research={corpus}", search_deadline_s=60, index_dir=index)
    async with Client(build_documents_server(settings)) as client:
        await ready(client)
        await asyncio.sleep(2)
        for limit in LIMITS:
            for mode, name, query in QUERIES:
                arguments = {"query": query, "mode": mode, "limit": limit}
                took: list[float] = []
                found: dict[str, Any] = {}
                for number in range(rounds + 2):
                    started = time.perf_counter()
                    result = await client.call_tool("search_documents", arguments)
                    if number >= 2:
                        took.append((time.perf_counter() - started) * 1e3)
                    found = result.structured_content or {}
                rows.append({
                    "mode": mode, "query": name, "limit": limit, "matches": len(found["matches"]),
                    "p50": statistics.median(took), "p95": sorted(took)[int(len(took) * 0.95)],
                })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--baseline", type=Path)
    options = parser.parse_args()
    rows = asyncio.run(measure(options.corpus.absolute(), options.rounds, options.index))
    before = {}
    if options.baseline:
        before = {
            (r["mode"], r["query"], r["limit"]): r["p50"]
            for r in json.loads(options.baseline.read_text(encoding="utf-8"))
        }
    for row in rows:
        line = f"{row['mode']:8} {row['query']:20} limit {row['limit']:5} {row['matches']:5} matches  p50 {row['p50']:8.2f}  p95 {row['p95']:8.2f} ms"
        known = before.get((row["mode"], row["query"], row["limit"]))
        print(line + (f"  x {row['p50'] / known:.2f}" if known else ""))
    if options.json:
        options.json.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
