"""Regex search: what ripgrep finds, nothing else, in bounded time."""
# ruff: noqa: RUF001, ASYNC110  (other scripts are the point; progress is polled; ripgrep takes milliseconds)

import asyncio
import itertools
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from research_documents.search import Hit, SearchEngine, SearchOutcome
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.regex.dialect import ignores_case
from research_documents.search.regex.pattern import (
    MAX_REGEX_CHARS,
    Find,
    Pattern,
    PatternRefused,
    compiled,
)
from research_documents.search.regex.scan import Scan
from research_shared.access.roots import Root, RootsPolicy
from research_shared.documents import DocumentInfo, DocumentText, Identity, continued_at
from research_shared.reading.library import Library
from support.backends import Backend
from support.sizes import examples

IDENTITY = Identity(1, 1, 1, 1, 1)
ALL = 10**6
PROJECT = Path(__file__).parents[2]
WORDS = {
    "café.md": "# Café\n\nLe café était fermé, déjà vu à Montréal.\nAucun résultat.\n",
    "moscow.md": "Москва — столица России.\nВ городе живут люди, слово за слово.\n",
    "tokyo.txt": "東京は日本の首都です。\n研究の結果を報告する。\n",
    "jerusalem.md": "שלום עולם, ירושלים היא עיר.\nמחקר חדש פורסם.\n",
    "cairo.md": "القاهرة هي عاصمة مصر.\nنتائج البحث مهمة.\n",
    "notes/ascii.md": "Getting started and being tested\n\n## Testing 2024-05\nfoo_bar baz9 FOO\nThe end.\n",
    "notes/long.txt": "x" * 1900 + " needle " + "y" * 1900 + "\n" + "short\n" * 40,
    "notes/crlf.md": "first line\r\nsecond line ends\r\n\r\nlast without break",
}
PATTERNS = [
    r"needle", r"foo", r"FOO", r"\w+ing\s+\w+ed", r"^#+ .*", r"[0-9]{4}-[0-9]{2}", r"\bслово\b", r"\bdéjà\b", r"\w{5,}",
    r"café|Москва", r"(?i)RÉSULTAT", r"^$", r"\.$", r"^short$", r"\d", r"\S+ה\b", r"首都", r"البحث", r"[^\x00-\x7F]+", r"zzz",
    r"(s|S)hort", r"e{1,2}n", r"\p{Han}{2}", r"l[a-i]st|s[^x]o", r"x*", r"\W\d", r"\bfirst|ends\b", r"[\w-]+\s", r"ß|É",
    r"\bfoo_bar\b", r"\D$", r"\bс?лово", r"\bг?ороде", r"\bd?éjà", r"\bq*—", r"\bq*?x?é",
    r"(?P<year>\d{4})-(?P<month>\d+)", r"[[:alpha:]\d]9", r"[[:^alpha:]x]{4}",
]  # fmt: skip


def document(path: str, data: bytes) -> CatalogEntry:
    info = DocumentInfo(path=path, root="research", media_type="text/plain", identity=IDENTITY)
    return CatalogEntry.of(
        1,
        info,
        DocumentText(
            path=path, media_type="text/plain", identity=IDENTITY, digest="", engine="text", data=data
        ),
        0,
    )


def scanned(pattern: str, text: str, slice_bytes: int = 16) -> list[int]:
    scan = Scan([document("a.txt", text.encode())], compiled(pattern), ALL)
    scan._slice = slice_bytes
    while not scan.done:
        scan.advance(0)
    return [hit.line_number for hit in scan.hits]


def test_a_text_that_was_read_is_searched_as_no_other_document() -> None:
    texts = {path: document(path, data) for path, data in (("a.txt", b"needle\n"), ("b.txt", b"hay\n"))}
    entries = [replace(entry, id=number, text=None) for number, entry in enumerate(texts.values())]
    scan = Scan(entries, compiled("needle"), ALL)
    scan.advance(0)
    assert scan.missing is entries[0]
    scan.supply(texts["a.txt"].text)
    scan.only = {1}  # the index has answered meanwhile
    scan.advance(0)
    assert scan.missing is entries[1]
    scan.supply(texts["b.txt"].text)
    while not scan.done:
        scan.advance(0)
    assert scan.hits == []


def engine_of(
    folder: Path, *, deadline_s: float = 30.0, clock: Callable[[], float] = time.monotonic
) -> SearchEngine:
    library = Library(RootsPolicy([Root("research", folder)]))
    return SearchEngine(library, watch=False, max_response_bytes=1 << 30, deadline_s=deadline_s, clock=clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in WORDS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path


async def found(backend: Backend, folder: Path, pattern: str) -> SearchOutcome:
    engine = await backend.engine(folder, max_response_bytes=1 << 30, deadline_s=30.0)
    return await engine.search(pattern, mode="regex", limit=ALL)


async def compare_with_ripgrep(backend: Backend, folder: Path, patterns: Sequence[str]) -> None:
    engine = await backend.engine(folder, max_response_bytes=1 << 30, deadline_s=30.0)
    async with engine:
        for pattern in patterns:
            outcome = await engine.search(pattern, mode="regex", limit=ALL)
            lines = [(hit.document, hit.line_number) for hit in outcome.hits]
            assert (pattern, lines) == (pattern, lines_of_ripgrep(folder, pattern))
            assert (pattern, outcome.truncated) == (pattern, False)


async def test_the_same_lines_as_ripgrep_in_the_order_of_path_and_line(
    backend: Backend, folder: Path
) -> None:
    await compare_with_ripgrep(backend, folder, PATTERNS)


@pytest.fixture(scope="module")
def real_markdown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real Markdown: that of this project, and of the folder that RESEARCH_TEST_MARKDOWN names."""
    folder = tmp_path_factory.mktemp("markdown")
    sources = [PROJECT, *map(Path, filter(None, [os.environ.get("RESEARCH_TEST_MARKDOWN")]))]
    for number, source in enumerate(sources):
        for path in (
            [*source.glob("*.md"), *source.glob("docs/**/*.md")] if not number else source.rglob("*.md")
        ):
            target = folder / str(number) / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return folder


async def test_the_same_lines_as_ripgrep_in_real_markdown(backend: Backend, real_markdown: Path) -> None:
    patterns = [
        *PATTERNS, "research", r"\bwords?\b", "gateway|audit|limit", r"\w{5}\s+\w{5}\s+\w{5}", "Keep", r"`[^`]+`", r"^\s*[-*] ",
        r"\|$", r"[^\w\s]{3}", r"(?i)the\b.*\bof", r"\d+(?:\.\d+)?", "“|”|—|…",
    ]  # fmt: skip
    await compare_with_ripgrep(backend, real_markdown, patterns)


def lines_of_ripgrep(folder: Path, pattern: str) -> list[tuple[str, int]]:
    if (rg := shutil.which("rg")) is None:
        pytest.skip("the reference, ripgrep, is not installed; any package of it will do (CI installs it)")
    command = [rg, "-nS", "--crlf", "--no-heading", "--with-filename", "--null", pattern, "."]
    output = subprocess.run(command, cwd=folder, capture_output=True, check=False).stdout.decode()
    lines = (line.partition("\0") for line in output.split("\n") if line)
    return sorted((path.removeprefix("./"), int(rest.partition(":")[0])) for path, _, rest in lines)


ATOMS = st.sampled_from(["a", "b", "ab", ".", "[ab]", "[^a]", r"\w", r"\s", r"\d", "a|b", "(ab)", "é", "x"])
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "*?", "+?"])
PATTERN = st.lists(st.tuples(ATOMS, REPEATS), min_size=1, max_size=5).map(
    lambda parts: "".join(f"(?:{atom}){repeat}" for atom, repeat in parts)
)
ANCHORED = st.tuples(st.sampled_from(["", "^"]), PATTERN, st.sampled_from(["", "$"])).map("".join)
TEXT = st.text(st.sampled_from("ab xé1_\nabsK\u212a\u017f\n"), max_size=120)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(TEXT, max_size=8),
    st.one_of(
        ANCHORED, st.sampled_from(["^$", "$", "^", r"\Aab", r"b\z", r"(?-m:^ab)", r"(?i)K", "s", r"\bab\b"])
    ),
    st.sampled_from([1, 40, 10_000]),
    st.integers(0, 1),
)
def test_documents_searched_as_one_text_give_what_each_gives_by_itself(
    texts: list[str], pattern: str, slice_bytes: int, context_lines: int
) -> None:
    entries = [document(f"{number}.txt", text.encode()) for number, text in enumerate(texts)]
    expected: list[Hit] = []
    for entry in entries:
        alone = Scan([entry], compiled(pattern), ALL, context_lines)
        alone._slice = len(entry.text.data) if entry.text else 0
        alone.advance(float("inf"))
        expected += alone.hits
    together = Scan(entries, compiled(pattern), ALL, context_lines)
    together._slice = slice_bytes
    together.advance(float("inf"))
    assert together.hits == expected
    assert together.covered == len(entries)
    assert [entry.path for entry in together.sources] == list(dict.fromkeys(hit.document for hit in expected))


@settings(max_examples=examples(400), deadline=None)
@given(ANCHORED, TEXT, st.sampled_from([1, 5, 16, 1000]))
def test_the_same_lines_as_python_re_wherever_the_slices_are_cut(
    pattern: str, text: str, slice_bytes: int
) -> None:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    # Python takes a line at a time, so a match never crosses a line's end; smart case makes it ignore case.
    expected = [number for number, line in enumerate(lines, 1) if re.search(pattern, line, re.IGNORECASE)]
    assert scanned(pattern, text, slice_bytes) == expected


LETTERS = ["a", "k", "1", "é"]
LEAD = st.one_of(
    st.tuples(
        st.just("^"),
        st.sampled_from([*LETTERS, "#", r"\#", r"\x61", "[ab]", "(?:a|b)"]),
        st.one_of(REPEATS, st.sampled_from(["{0,2}", "{1,}", "{2,}?"])),
    ),
    st.tuples(
        st.just(r"\b"),
        st.sampled_from(LETTERS),
        st.sampled_from(["", "", "+", "+?", "{2}", "{1,}", "{1,2}?"]),
    ),
)
LED = st.tuples(LEAD.map("".join), st.sampled_from(["", "", "a", r"k\b", "1$", "[^k]|k+", "(?:a|#).?"]))
LINES = st.lists(st.text(st.sampled_from("aak1é—#_ -"), max_size=8), max_size=12)


@settings(max_examples=examples(800), deadline=None)
@example(r"\bk", ["—k"], "é")
@example(r"\bk", ["akk", "k"], "")
@example("^a", ["kaa", "a"], "")
@given(LED.map("".join), LINES, st.sampled_from(["", "é", "\u212a"]))
def test_an_expression_that_begins_with_an_assertion_matches_the_lines_that_python_re_matches(
    pattern: str, lines: list[str], more: str
) -> None:
    lines = [*(line if more else line.replace("é", "") for line in lines), more]
    expected = [number for number, line in enumerate(lines, 1) if re.search(pattern, line, re.IGNORECASE)]
    text = "\n".join(lines) + "\n"
    scan = Scan(
        [document("a.txt", text.encode())],
        Pattern(source=pattern, ignore_case=ignores_case(pattern), warnings=()),
        ALL,
    )
    scan.advance(float("inf"))
    assert [hit.line_number for hit in scan.hits] == expected


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        ("(a", "missing )"), ("a)(b", "unexpected )"), ("a**", "repetition"), ("[z-a]", "range"), (r"(a)\1", "back-reference"),
        ("a(?=b)", "look-around"), ("(?<!a)b", "look-around"), ("(?>a)", "atomic"), ("*a", "repetition"), ("x{5000}", "repetition"),
        (r"\y", "escape"), ("a" * (MAX_REGEX_CHARS + 1), "characters"), ("((a{100}){100}){100}", "rep"),
    ],
)  # fmt: skip
async def test_an_expression_that_cannot_be_used_warns_of_the_construct(
    backend: Backend, folder: Path, pattern: str, construct: str
) -> None:
    outcome = await found(backend, folder, pattern)
    assert outcome.hits == ()
    assert construct in outcome.warnings[0]
    assert "(?m)" not in outcome.warnings[0]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("foo", True), ("Foo", False), (r"\S+", False), (r"\Sfoo\W", True), ("[A-Z]x", False), (r"\x41", False), (r"\p{Lu}a", True),
     ("(?P<Name>a)", True), ("É", False), (r"\QAb\E", False), (r"\.", True), (r"\u00e9", True)],
)  # fmt: skip
def test_case_is_ignored_unless_the_pattern_has_an_upper_case_letter(pattern: str, expected: bool) -> None:
    assert ignores_case(pattern) is expected


def test_a_pattern_too_large_for_unicode_still_works_and_says_so() -> None:
    pattern = compiled(r"(?:\w{200}\s){5}z")
    assert any("ASCII" in warning for warning in pattern.warnings)


def test_a_rust_style_escape_means_its_character() -> None:
    assert scanned(r"caf\u00e9|\u{4eac}", "x\ncafé\n京\n") == [2, 3]


@pytest.mark.parametrize("group", ["(", "(?:", "(?P<end>", "(?<end>"])
def test_a_group_of_any_kind_only_groups(group: str) -> None:
    assert scanned(group + r"ab|xy){2}\d", "abxy1\nab1\nababab3\n") == [1, 3]


def test_a_newline_in_a_pattern_never_matches_and_is_warned_of() -> None:
    assert scanned(r"a\nb", "a\nb\n") == []
    assert "within one line" in compiled(r"a\nb").warnings[0]


async def test_a_long_line_is_cut_around_the_match_and_marked(backend: Backend, folder: Path) -> None:
    (hit,) = (await found(backend, folder, "needle")).hits
    assert hit.matched_text.startswith("…")
    assert hit.matched_text.endswith("…")
    assert "needle" in hit.matched_text
    assert len(hit.matched_text) < 600


async def test_context_lines_surround_the_hit_and_stop_at_the_document_s_ends(
    backend: Backend, folder: Path
) -> None:
    engine = await backend.engine(folder)
    outcome = await engine.search("Testing", mode="regex", limit=1, context_lines=9)
    assert outcome.hits[0].before == ("Getting started and being tested", "")
    assert outcome.hits[0].after == ("foo_bar baz9 FOO", "The end.")


@pytest.mark.parametrize("pattern", ["^z.*", r"\bz.*", r"^z[^q]*", r"\bz+[^q]*y"])
async def test_in_long_lines_the_letter_that_an_expression_begins_with_is_not_followed_to_the_end_each_time(
    tmp_path: Path, pattern: str
) -> None:
    text = "".join(("b" * 1_499 + "z") * (size // 1_500) + "\n" for size in (2_000_000, *[200_000] * 60))
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    engine = engine_of(tmp_path)
    await engine.search("warm", mode="regex", limit=1)
    assert min([await timed(engine, pattern) for _ in range(3)]) < 0.5  # seconds; each time, it would be many


def test_an_expression_of_the_largest_size_is_searched_as_it_is() -> None:
    pattern = compiled("^é+" + "b{1000}" * 19 + "c{991}")
    scan = Scan([document("a.txt", text.encode()) for text in ("eb\n", "éb\n")], pattern, 1)
    scan.advance(float("inf"))
    assert (scan.hits, scan.done) == ([], True)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(.*a){20}", "((x*)*)*y", "(a|aa)+b", r"(\w+\s?)+:$"])
async def test_nested_quantifiers_on_adversarial_text_end_quickly(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "evil.txt").write_text(("a" * 5000 + "!\n") * 20 + "x" * 20000 + "\n", encoding="utf-8")
    engine = engine_of(tmp_path)
    await engine.search("warm", mode="regex", limit=1)
    best = min([await timed(engine, pattern) for _ in range(3)])
    assert best < 0.5  # 100 ms is the aim; a backtracking engine would take years


async def timed(engine: SearchEngine, pattern: str) -> float:
    """What the search takes of the processor, in seconds: others may be using it as well."""
    started = time.process_time()
    await engine.search(pattern, mode="regex", limit=10)
    return time.process_time() - started


def ticking() -> Callable[[], float]:
    """A clock on which each look at it takes 5 ms: how far a search gets before its deadline is no matter of the machine.

    As a slice of a scan is a look, slices become neither larger nor smaller.
    """
    looks = itertools.count()
    return lambda: next(looks) * 0.005


async def test_a_line_too_long_for_a_costly_expression_is_left_out_and_named(tmp_path: Path) -> None:
    long = "".join(random.Random(5).choices("abcdefgh ", k=1_000_000))
    (tmp_path / "a.txt").write_text(f"one\ntwo\n{long}\nfree eels: eeeezzz\n")
    (tmp_path / "b.txt").write_text("eeeezzz\n")
    # By this clock, 1 MB in the first slices of a costly expression takes 10 s, in those of another one 0.3 s.
    async with engine_of(tmp_path, deadline_s=2.0, clock=ticking()) as engine:
        while engine.indexing or engine.stats.documents < 2:
            await asyncio.sleep(0.01)
        outcome = await engine.search(r"(.{0,200}e){4}zz[z]", mode="regex", limit=5)
        plain = await engine.search("cab", mode="regex", limit=5)
    after = 4 + len(continued_at(f"one\ntwo\n{long}".encode()))
    assert [(hit.document, hit.line_number) for hit in outcome.hits] == [("a.txt", after), ("b.txt", 1)]
    assert outcome.truncated
    (warning,) = outcome.warnings
    assert "line 3 of a.txt" in warning
    assert [hit.line_number for hit in plain.hits] == [3, 4, 5, 6, 7]


def test_a_long_line_is_not_left_out_because_the_machine_was_busy_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The estimate of how long the line takes comes from a part of it, during which others may be served."""
    now, busy_s = 0.0, 10.0

    def finder(scan: Scan, _entries: object) -> Find:
        def find(data: bytes, begin: int, end: int) -> tuple[int, int] | None:
            nonlocal now, busy_s
            now, busy_s = now + busy_s, 0.0
            return scan.pattern.find(data, begin, end)

        return find

    monkeypatch.setattr(Scan, "_finder", finder)
    entry = document("a.txt", b"x" * 1_000_000 + b" needle\n")
    scan = Scan([entry], compiled("needle"), ALL, deadline=20.0, clock=lambda: now)
    scan.advance(float("inf"))
    assert (scan.skipped, len(scan.hits)) == ([], 1)


async def test_a_costly_search_ends_at_the_deadline_with_what_it_covered_and_others_go_on(
    tmp_path: Path,
) -> None:
    chance = random.Random(5)
    for number in range(50):
        lines = ["".join(chance.choices("abcdefgh ", k=900)) for _ in range(15)]
        (tmp_path / f"{number:03}.txt").write_text("needle\n" + "\n".join(lines), encoding="utf-8")
    async with engine_of(tmp_path, deadline_s=0.6, clock=ticking()) as engine:
        while engine.indexing or engine.stats.documents < 50:
            await asyncio.sleep(0.01)
        costly = asyncio.create_task(engine.search("(.{0,200}e){4}zz[z]", mode="regex", limit=5))
        await asyncio.sleep(0)
        engine._deadline_s = 3600.0  # the others' looks at the clock are not counted
        while not costly.done():
            outcome = await engine.search("needle", mode="regex", limit=3)
            assert len(outcome.hits) == 3
        ended = await costly
    assert ended.truncated
    assert 0 < ended.total_documents < 50
    assert any(
        warning.startswith("INCOMPLETE: the search ended at its time limit of 0.6 s")
        for warning in ended.warnings
    )


@pytest.mark.parametrize(("query", "deadline_s"), [("(.{0,200}e){4}zz[z]", 0.1), ("needle", 0.005)])
async def test_a_search_that_ends_at_the_deadline_goes_on_with_its_cursor_until_everything_is_searched(
    query: str, deadline_s: float, tmp_path: Path
) -> None:
    chance = random.Random(5)
    for number in range(12):
        lines = ["".join(chance.choices("abcdefgh ", k=300)) for _ in range(6)]
        (tmp_path / f"{number:03}.txt").write_text("\n".join([*lines, "a needle"]), encoding="utf-8")
    async with engine_of(tmp_path, deadline_s=deadline_s, clock=ticking()) as engine:
        while engine.stats.documents < 12 or (await engine.search(query, mode="regex")).indexing:
            await asyncio.sleep(0.01)
        found: list[str] = []
        cursor, pages, cuts = None, 0, 0
        while cursor is not None or pages == 0:
            outcome = await engine.search(query, mode="regex", limit=20, cursor=cursor)
            found += [hit.document for hit in outcome.hits]
            cut = [
                w for w in outcome.warnings if w.startswith("INCOMPLETE: the search ended at its time limit")
            ]
            assert not cut or "go on with the cursor" in cut[0]
            cursor, pages, cuts = outcome.next_cursor, pages + 1, cuts + len(cut)
    assert (cuts, pages > 1) == (pages - 1, True)
    assert found == ([f"{number:03}.txt" for number in range(12)] if query == "needle" else [])


@pytest.mark.parametrize("documents", [1, 2])
def test_a_scan_whose_last_document_is_gone_when_the_time_is_over_has_searched_everything(
    documents: int,
) -> None:
    now = 0.0
    gone = [replace(document(f"{number}.txt", b"needle"), text=None) for number in range(documents)]
    scan = Scan(gone, compiled("needle"), wanted=ALL, deadline=5.0, clock=lambda: now)
    while not (scan.done or scan.expired):
        now += 6.0 / documents
        scan.advance(now)
        if scan.missing is not None:
            scan.supply(None)
    assert (scan.covered, scan.done, scan.expired, scan.ended_early) == (documents, True, False, False)


async def test_a_search_that_gets_nowhere_within_its_time_gives_no_cursor(tmp_path: Path) -> None:
    line = "abcdefgh " * 100
    query = "(.{0,200}e){4}zz[z]"
    (tmp_path / "long.txt").write_text("\n".join([line] * 5_000), encoding="utf-8")
    async with engine_of(tmp_path, deadline_s=0.01, clock=ticking()) as engine:
        while engine.stats.documents < 1 or (await engine.search(query, mode="regex")).indexing:
            await asyncio.sleep(0.01)
        outcome = await engine.search(query, mode="regex")
    assert (outcome.hits, outcome.next_cursor, outcome.truncated) == ((), None, True)
    assert outcome.warnings[-1] == (
        "INCOMPLETE: the search ended at its time limit of 0.01 s after 0 of 1 document; narrow file_pattern or the expression"
    )


async def test_progress_is_told_while_documents_are_searched(backend: Backend, folder: Path) -> None:
    told: list[tuple[int, int, str]] = []

    async def tell(done: int, total: int, text: str) -> None:
        told.append((done, total, text))

    engine = await backend.engine(folder)
    await engine.search(r"z\wz", mode="regex", limit=1, on_progress=tell)  # no word of it narrows the search
    count = len(WORDS)
    assert told[-1] == (count, count, f"searched {count} of {count} documents")


async def test_cursors_page_through_everything_once(backend: Backend, folder: Path) -> None:
    engine = await backend.engine(folder, max_response_bytes=1 << 30)
    whole = await engine.search("e", mode="regex", limit=ALL)
    paged: list[Hit] = []
    cursor = None
    for _ in range(len(whole.hits)):
        page = await engine.search("e", mode="regex", limit=3, cursor=cursor)
        paged += page.hits
        cursor = page.next_cursor
        if cursor is None:
            break
    assert paged == list(whole.hits)


def test_a_text_of_another_length_than_was_indexed_moves_no_hit_into_its_neighbour() -> None:
    entries = [replace(document(path, b"hay\n"), id=number, text=None) for number, path in enumerate("abc")]
    texts = {0: b"a longer text than was indexed\nend", 1: b"needle\n", 2: b"hay\n"}
    given = {number: document("abc"[number], data).text for number, data in texts.items()}
    scan = Scan(entries, compiled("needle"), ALL, stored=lambda _: given)  # type: ignore[arg-type,return-value]
    scan.advance(float("inf"))
    assert [(hit.document, hit.line_number) for hit in scan.hits] == [("b", 1)]


def test_a_document_that_went_away_meanwhile_is_passed_over() -> None:
    gone = CatalogEntry(
        id=1, info=DocumentInfo(path="a.txt", root="research", media_type="text/plain", identity=IDENTITY)
    )
    scan = Scan([gone, document("b.txt", b"hit\n")], compiled("hit"), ALL)
    scan.advance(float("inf"))
    assert scan.missing == gone
    scan.supply(None)
    scan.advance(float("inf"))
    assert [hit.document for hit in scan.hits] == ["b.txt"]


def test_an_expression_is_compiled_once_and_forgotten_after_many_others() -> None:
    first = compiled("first one")
    assert compiled("first one") is first
    for number in range(40):
        compiled(f"other {number}")
    assert compiled("first one") is not first
    with pytest.raises(PatternRefused):
        compiled("(")
