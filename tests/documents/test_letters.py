"""A word is found however its letters are written: one row for each promise that `docs/search.md` makes about scripts."""
# ruff: noqa: RUF001  (other scripts are the point)

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.results import answer_of

CASES = Path(__file__).parents[1] / "data" / "texts"
WRITTEN = {
    "latin.md": "Die Straße zum Café in Łódź führt am Fluß entlang.\n",
    "decomposed.md": "Der Bericht von Zoe\u0308 Mu\u0308ller über Ha\u030angzhou.\n",
    "vietnamese.md": "Báo cáo thị trường của Nguyễn ở Đà Nẵng.\n",
    "polytonic.md": "Ἐν ἀρχῇ ἦν ὁ λόγος.\n",
    "stress.md": "Купи́ть за\u0301мок у реки Край.\n",
    "hebrew.md": "שָׁלוֹם לכולם\n",
    "persian.md": "گزارش سال ۱۴۰۳ می‌خواهم\n",
    "hindi.md": "वर्ष २०२४ की रिपोर्ट\n",
    "japanese.md": "ｶﾞﾗｽ工場の報告書\n",
    "wide.md": "Ｒｅｐｏｒｔ　２０２４年\n",
    "thin.md": "Der Umsatz:\u200948\u202f500\u2009Euro brutto.\n",
    "raised.md": "Profits grew¹² by 10⁶ over an area of 80 km² with CO₂.\n",
    "stack.md": "We moved the portal (.NET 8) away from Java.\n",
    "literal-a.md": "resume of the talk\n",
    "literal-b.md": "résumé of the talk\n",
    "literal-c.md": "Résumé of the talk\n",
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters") / "research"
    folder.mkdir()
    for case in CASES.glob("*.md"):
        shutil.copy(case, folder)
    for name, text in WRITTEN.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
async def client(folder: Path) -> AsyncIterator[Client[Any]]:
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=folder.parent / "audit.jsonl",
        watch=False,
        extract_workers=1,
    )
    async with Client(build_gateway(settings)) as connected:
        yield connected


async def found(client: Client[Any], query: str, **arguments: Any) -> list[tuple[str, int]]:
    answer = answer_of(await client.call_tool("search_documents", {"query": query, **arguments}))
    return [(match["document"], match["line_number"]) for match in answer["matches"]]


SCRIPTS = {
    "Latin": [("strasse cafe lodz fluss", "latin.md"), ("STRASSE", "latin.md"), ("fluß", "latin.md")],
    "Latin, decomposed": [("Zoë", "decomposed.md"), ("müller", "decomposed.md"), ("Hångzhou", "decomposed.md")],
    "Vietnamese": [("thi truong", "vietnamese.md"), ("NGUYEN", "vietnamese.md"), ("Da Nang", "vietnamese.md")],
    "Turkish": [("istanbul", "turkish.md"), ("ISTANBUL", "turkish.md"), ("İstanbul", "turkish.md"), ("ıstanbul", "turkish.md")],
    "Greek, capitals": [("οδος", "greek-upper.md"), ("οδός", "greek-upper.md"), ("ΟΔΟΣ", "greek-upper.md")],
    "Greek, accents": [("οδος", "greek-accent.md"), ("οδός", "greek-accent.md"), ("ΟΔΟΣ", "greek-accent.md")],
    "Greek, polytonic": [("αρχη", "polytonic.md"), ("ΛΟΓΟΣ", "polytonic.md")],
    "Cyrillic": [("елка", "russian-yo.md"), ("ёлка", "russian-yo.md"), ("ЁЛКА", "russian-yo.md")],
    "Cyrillic, stress": [("замок", "stress.md"), ("купить", "stress.md"), ("краи\u0306", "stress.md")],
    "Hebrew": [("שלום", "hebrew.md")],
    "Arabic, tatweel": [("العربية", "arabic-tatweel.md")],
    "Arabic, digits": [("2024", "arabic-digits.md"), ("٢٠٢٤", "arabic-digits.md")],
    "Persian": [("1403", "persian.md"), ("۱۴۰۳", "persian.md")],
    "Devanagari": [("2024", "hindi.md"), ("रिपोर्ट", "hindi.md")],
    "Thai": [("ข่าว", "thai-tone.md"), ('"ข่าว"', "thai-tone.md")],
    "Japanese": [("ガラス", "japanese.md"), ("ｶﾞﾗｽ", "japanese.md"), ("工場", "japanese.md")],
    "Full width": [("report", "wide.md"), ("2024", "wide.md")],
    "Spaces of no width": [("new", "zwsp.md"), ("study", "zwsp.md"), ('"new study"', "zwsp.md")],
    "Thin spaces": [("Umsatz", "thin.md"), ("Euro", "thin.md"), ('"500 euro"', "thin.md")],
    "Raised and lowered": [("grew", "raised.md"), ("km2", "raised.md"), ("co2", "raised.md"), ('"grew 12"', "raised.md")],
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_word_is_found_in_every_form_of_its_letters(client: Client[Any], script: str) -> None:
    hits = {query: await found(client, query) for query, _ in SCRIPTS[script]}
    assert {query: (document, 1) in hits[query] for query, document in SCRIPTS[script]} == dict.fromkeys(
        hits, True
    )


@pytest.mark.parametrize("query", ['"ข้าว"', "ข้าว", "мою", "краи"])
async def test_marks_and_letters_that_distinguish_words_are_kept(client: Client[Any], query: str) -> None:
    assert await found(client, query) == []


@pytest.mark.parametrize(
    ("query", "line"), [('"5 TB"', 1), ("5TB", 1), ('"7 TB"', 3), ("7TB", 3), ("10 kg", 1), ("12kg", 3), ("12 kg", 3)]
)  # fmt: skip
async def test_numbers_are_found_beside_their_units_or_apart_from_them(
    client: Client[Any], query: str, line: int
) -> None:
    assert (await found(client, query))[0] == ("units.md", line)


async def test_a_quantity_that_nobody_mentions_is_not_found(client: Client[Any]) -> None:
    assert await found(client, "6TB") == []


@pytest.mark.parametrize(
    ("query", "first", "only"),
    [
        ("C#", "csharp-s3.md", True),
        ('"C#"', "csharp-s3.md", True),
        ("C++", "csharp-s2.md", True),
        ("C# group", "csharp-s3.md", False),
        (".NET", "stack.md", True),
        ('".net 8"', "stack.md", True),
    ],
)
async def test_names_with_signs_are_words(client: Client[Any], query: str, first: str, *, only: bool) -> None:
    hits = await found(client, query)
    assert hits[0] == (first, 1)
    assert (len(hits) == 1) is only


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("résumé talk", ["literal-b.md", "literal-a.md", "literal-c.md"]),
        ("Résumé talk", ["literal-c.md", "literal-a.md", "literal-b.md"]),
        ("resume talk", ["literal-a.md", "literal-b.md", "literal-c.md"]),
        ("RESUME talk", ["literal-a.md", "literal-b.md", "literal-c.md"]),
    ],
)
async def test_of_equal_passages_the_one_that_holds_the_words_as_they_were_typed_comes_first(
    client: Client[Any], query: str, order: list[str]
) -> None:
    assert [document for document, _ in await found(client, query)] == order
    pages: list[str] = []
    cursor = ""
    for _ in order:
        answer = answer_of(
            await client.call_tool("search_documents", {"query": query, "limit": 1, "cursor": cursor})
        )
        pages += [match["document"] for match in answer["matches"]]
        cursor = answer.get("next_cursor", "")
    assert pages == order


@pytest.mark.parametrize(
    ("pattern", "document"),
    [
        ("Zoë", "decomposed.md"),
        ("Zoe\u0308", "decomposed.md"),
        ("M[üu]ller", "decomposed.md"),
        (r"\bMü+ller\b", "decomposed.md"),
        ("(?i)MÜLLER", "decomposed.md"),
        ("Hångzhou", "decomposed.md"),
        ("Cafe\u0301", "latin.md"),
        ("Nguyễn", "vietnamese.md"),
        ("Nguye\u0302\u0303n", "vietnamese.md"),
        ("Nguy\u00ea\u0303n", "vietnamese.md"),
        ("краи\u0306", "stress.md"),
    ],
)
async def test_patterns_find_names_composed_and_decomposed(
    client: Client[Any], pattern: str, document: str
) -> None:
    assert await found(client, pattern, mode="regex") == [(document, 1)]
