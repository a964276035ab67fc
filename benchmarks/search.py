"""Compare the search engine with ripgrep, raw tantivy and SQLite FTS5 on one folder.

    python benchmarks/search.py CORPUS [--only build,keyword,regex,fresh,adversarial] [--rounds 5]

Prints, all from one run: build speed and memory, the first answer after start, keyword latency for 1, 2 and 4 terms
and phrases, regex against `rg`, how soon a changed file is found, and what hostile patterns do to others.
A folder to run it on is made by `make_corpus.py`.
"""
# ruff: noqa: ASYNC110, ASYNC221, SLF001  (what is timed is meant to be waited for, and to be at rest)

import argparse
import asyncio
import gc
import re
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from research_documents.search import SearchEngine
from research_documents.search.index.passage_index import HEAP_BYTES, PassageIndex
from research_documents.search.request import Mode
from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.library import Library, Limits
from research_shared.serving.memory import tune_gc_for_dedicated_process
from research_shared.text.analysis import STEMMED, STOP_WORDS, folded, register, stems
from research_shared.text.passages import spans

MAX_LIMIT = 1_000
"""The largest `limit` of the tool."""
FREQUENT = (0.01, 0.2)
"""The share of passages that a word asked for is in: words that say what a collection is about, not its stop words."""
REGEX = [
    ("rare literal", r"k1234\d*"),
    ("common literal", r"receptor"),
    ("very common literal", r"cells"),
    ("ignoring case", r"(?i)OWNERSHIP"),
    ("word", r"\bcells?\b"),
    ("alternation", r"mutex|ownership|carcinoma"),
    ("two inflections", r"\w+ing\s+\w+ed"),
    ("anchored", r"^#+ .*ing"),
    ("no literal", r"[0-9]{4}-[0-9]{2}"),
    ("three words", r"\w{5}\s+\w{5}\s+\w{5}"),
    ("line end", r"\.$"),
    ("no hit", r"zzzqqq"),
]
HOSTILE = [r"(a+)+$", r"(.*a){20}", r"((x*)*)*y", r"(\w+\s?)+:$"]
COSTLY = r"(.{0,200}e){4}zz[z]"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def p(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1e3


def timed(call: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


async def until_indexed(engine: SearchEngine) -> None:
    """Wait until the index is complete and watching has begun."""
    while engine._updater.working or not (engine.stats.watching and engine.stats.documents):
        await asyncio.sleep(0.02)


def raw_tantivy(texts: list[Any]) -> tuple[Any, Any, float, float]:
    """Indexes of the same passages by nothing but tantivy: with our fields, and with one stemmed field."""
    import tantivy

    fields = PassageIndex().schema
    rows = []
    for number, text in enumerate(texts):
        for span in spans(text):
            body = folded(text.data[span.begin : span.end].decode())
            rows.append({"stem": body, "exact": body, "title": span.heading, "path": text.path, "document": number,
                         "place": number << 32 | span.start_line, "range": span.begin << 32 | span.end - span.begin})  # fmt: skip
    took = []
    one = tantivy.SchemaBuilder().add_text_field("stem", tokenizer_name=STEMMED).build()
    index: Any = None
    for schema, keep in ((fields, None), (one, {"stem"})):
        index = tantivy.Index(schema)
        register(index)
        writer = index.writer(HEAP_BYTES, 1)
        started = time.perf_counter()
        for row in rows:
            kept = row if keep is None else {"stem": row["stem"]}
            writer.add_document(tantivy.Document.from_dict(kept, schema))
        writer.commit()
        took.append(time.perf_counter() - started)
    index.reload()
    return index, one, took[0], took[1]


def evenly(candidates: list[str], count: int) -> list[str]:
    return [candidates[len(candidates) * number // count] for number in range(count)]


def questions(texts: list[Any]) -> dict[str, list[str]]:
    """Queries in the words of the corpus itself, found by how often these stand in a tenth of its passages."""
    words: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    count = 0
    for text in texts[::10]:
        for span in spans(text):
            count += 1
            found = re.findall(r"[a-z]{3,}", text.data[span.begin : span.end].decode().lower())
            words.update(set(found))
            pairs.update(f"{one} {two}" for one, two in pairwise(found))
    low, high = (share * count for share in FREQUENT)
    known = [word for word, n in words.most_common() if low <= n <= high and word not in STOP_WORDS]
    chosen = set(known)
    phrases = [f'"{pair}"' for pair, _ in pairs.most_common(2_000) if chosen.issuperset(pair.split())]
    apart = evenly(known, 32)
    return {
        "1 term": apart[::4],
        "2 terms": [" ".join(apart[n::8][:2]) for n in range(8)],
        "4 terms": [" ".join(apart[n::8]) for n in range(8)],
        "phrase": evenly(phrases, 8),
    }


def fetched(tables: sqlite3.Connection, select: str, match: str) -> list[Any]:
    return tables.execute(select, (match,)).fetchall()


def fts5(texts: list[Any]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE passage USING fts5(body, tokenize='porter unicode61')")
    rows = ((text.data[span.begin : span.end].decode(),) for text in texts for span in spans(text))
    connection.executemany("INSERT INTO passage VALUES (?)", rows)
    return connection


async def build(corpus: Path) -> tuple[SearchEngine, list[Any]]:
    gc.collect()
    before = resident()
    tune_gc_for_dedicated_process()  # as `serve` does
    library = Library(RootsPolicy([Root("research", corpus)]), Limits())
    engine = SearchEngine(library, index_wait_s=1.0, max_response_bytes=1 << 40)
    started = time.perf_counter()
    await engine.__aenter__()
    outcome = await engine.search("the method of this study", limit=10)
    print(
        f"first answer: {time.perf_counter() - started:.2f} s after start, {len(outcome.hits)} hits, indexing {outcome.indexing}"
    )
    await until_indexed(engine)
    took = time.perf_counter() - started
    stats = engine.stats
    size = stats.text_bytes / 1e6
    memory = (resident() - before) / stats.text_bytes
    print(
        f"build: {stats.documents} documents, {size:.1f} MB, {stats.passages} passages in {took:.1f} s = {size / took:.1f} MB/s"
    )
    print(f"memory: {memory:.2f} x the text")
    texts = [await library.read(info.path) for info in await library.documents()]
    return engine, texts


async def keyword(
    engine: SearchEngine,
    index: Any,
    schema: Any,
    tables: sqlite3.Connection,
    asked: dict[str, list[str]],
    rounds: int,
) -> None:
    import tantivy

    print(
        f"\n{'keyword (ms)':14}{'ours p50':>10}{'p95':>8}{'tantivy p50':>13}{'p95':>8}{'FTS5 p50':>10}{'p95':>8}"
    )
    searcher = index.searcher()
    for kind, queries in asked.items():
        ours: list[float] = []
        raw: list[float] = []
        other: list[float] = []
        for query in queries:
            words = stems(query)
            if kind == "phrase":
                built = tantivy.Query.phrase_query(schema, "stem", list[Any](words))
                match = query
            else:
                terms = [tantivy.Query.term_query(schema, "stem", word) for word in words]
                built = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
                match = " OR ".join(query.split())
            await engine.search(query, limit=10)
            for _ in range(rounds * 4):
                started = time.perf_counter()
                await engine.search(query, limit=10)
                ours.append(time.perf_counter() - started)
                raw += timed(partial(searcher.search, built, 10), 1)
            select = "SELECT rowid FROM passage WHERE passage MATCH ? ORDER BY rank LIMIT 10"
            other += timed(partial(fetched, tables, select, match), rounds)
        numbers = [p(ours, 0.5), p(ours, 0.95), p(raw, 0.5), p(raw, 0.95), p(other, 0.5), p(other, 0.95)]
        print(f"{kind:14}{numbers[0]:10.2f}{numbers[1]:8.2f}{numbers[2]:13.2f}{numbers[3]:8.2f}{numbers[4]:10.1f}{numbers[5]:8.1f}"
              f"   p95/tantivy {numbers[1] / numbers[3]:.1f}, FTS5/p50 {numbers[4] / numbers[0]:.0f}")  # fmt: skip


async def regex(engine: SearchEngine, corpus: Path, rounds: int) -> None:
    rg = shutil.which("rg")
    if rg is None:
        print("\nregex: ripgrep (rg) is not installed, nothing to compare with")
        return
    print(
        f"\n{'regex (ms)':20}{'hits':>8}{'rg hits':>8}{'rg':>8}{'first 10':>10}{'1,000':>8}   first/rg  1,000/rg"
    )
    for name, pattern in REGEX:
        command = [rg, "-nS", "--no-heading", "--sort", "none", pattern, str(corpus)]
        counted = subprocess.run(command, capture_output=True, check=False).stdout.count(b"\n")
        reference = timed(partial(subprocess.run, command, stdout=subprocess.DEVNULL, check=False), rounds)
        first: list[float] = []
        full: list[float] = []
        hits = 0
        for _ in range(rounds):
            started = time.perf_counter()
            await engine.search(pattern, mode="regex", limit=10)
            first.append(time.perf_counter() - started)
            started = time.perf_counter()
            outcome = await engine.search(pattern, mode="regex", limit=MAX_LIMIT)
            full.append(time.perf_counter() - started)
            hits = len(outcome.hits)
            del outcome
        a, b, c = p(reference, 0.5), p(first, 0.5), p(full, 0.5)
        print(f"{name:20}{hits:8}{counted:8}{a:8.0f}{b:10.1f}{c:8.0f}   {b / a:8.2f}{c / a:8.2f}")


async def fresh(engine: SearchEngine, corpus: Path, rounds: int) -> None:
    path = corpus / "freshness-probe.md"
    seen = []
    for number in range(rounds):
        word = f"quokka{number}x{time.time_ns()}"
        started = time.perf_counter()
        path.write_text(f"one {word} here\n", encoding="utf-8")
        while not (await engine.search(word, limit=1)).hits:
            await asyncio.sleep(0.001)
        seen.append(time.perf_counter() - started)
    path.unlink()
    print(f"\na changed file is found after {p(seen, 0.5):.0f} ms (p50), {max(seen) * 1e3:.0f} ms (worst)")


async def adversarial(engine: SearchEngine, rounds: int) -> None:
    print()
    for pattern in HOSTILE:
        started = time.perf_counter()
        outcome = await engine.search(pattern, mode="regex", limit=10)
        print(
            f"hostile {pattern:14} {1e3 * (time.perf_counter() - started):7.1f} ms, {len(outcome.hits)} hits"
        )

    mixed: list[tuple[str, Mode]] = [("gene expression", "keyword"), ("receptor", "regex")]

    async def others() -> list[float]:
        found = []
        for _ in range(rounds * 10):
            for query, mode in mixed:
                started = time.perf_counter()
                await engine.search(query, mode=mode, limit=10)
                found.append(time.perf_counter() - started)
        return found

    alone = await others()
    started = time.perf_counter()
    costly = [asyncio.create_task(engine.search(COSTLY, mode="regex", limit=10)) for _ in range(4)]
    await asyncio.sleep(0.3)
    beside = await others()
    outcomes = await asyncio.gather(*costly)
    print(
        f"4 costly searches ended after {time.perf_counter() - started:.2f} s, truncated: {[o.truncated for o in outcomes]}"
    )
    print(
        f"other searches: p50 {p(alone, 0.5):.1f} ms alone, {p(beside, 0.5):.1f} ms beside them (p95 {p(beside, 0.95):.1f})"
    )


async def run(corpus: Path, only: set[str], rounds: int) -> None:
    engine, texts = await build(corpus)
    size = engine.stats.text_bytes / 1e6
    if only & {"build", "keyword"}:
        index, schema, ours, one = await asyncio.to_thread(raw_tantivy, texts)
        print(
            f"raw tantivy: {size / ours:.1f} MB/s with the same fields, {size / one:.1f} MB/s with one field"
        )
        if "keyword" in only:
            tables = fts5(texts)
            await keyword(engine, index, schema, tables, questions(texts), rounds)
        del index
    if "regex" in only:
        await regex(engine, corpus, rounds)
    if "fresh" in only:
        await fresh(engine, corpus, rounds)
    if "adversarial" in only:
        await adversarial(engine, rounds)
    await engine.__aexit__(None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--only", default="build,keyword,regex,fresh,adversarial")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(run(options.corpus.absolute(), set(options.only.split(",")), options.rounds))


if __name__ == "__main__":
    main()
