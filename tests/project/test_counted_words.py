"""No text says "1 documents": what is counted agrees with its number."""

import ast
import re
from collections.abc import Iterator, Sequence

from research_shared.text.sizes import counted
from support.sources import MODULES, nodes_of

PLURALS = [
    "calls",
    "clients",
    "directories",
    "documents",
    "entries",
    "files",
    "findings",
    "folders",
    "hits",
    "insights",
    "lines",
    "matches",
    "notes",
    "pages",
    "passages",
    "problems",
    "queries",
    "questions",
    "quotes",
    "records",
    "roots",
    "rows",
    "servers",
    "sessions",
    "sheets",
    "slides",
    "sources",
    "tasks",
    "tools",
    "vectors",
    "warnings",
    "words",
    "workers",
]
_COUNTED = re.compile(rf"^ (?:[a-z]+ )?(?:{'|'.join(PLURALS)})\b")


def always_plural(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield each text that puts a plural after a number that may be 1. Names of constants are bounds, larger than 1."""
    for node in nodes:
        if not isinstance(node, ast.JoinedStr):
            continue
        for number, words in zip(node.values, node.values[1:], strict=False):
            if not isinstance(number, ast.FormattedValue) or not isinstance(words, ast.Constant):
                continue
            names = [each.id for each in ast.walk(number.value) if isinstance(each, ast.Name)]
            is_bound = names != [] and all(name.isupper() for name in names)
            is_text = isinstance(number.value, ast.Call) and ast.unparse(number.value.func) == "counted"
            if _COUNTED.match(str(words.value)) and not is_bound and not is_text:
                yield ast.unparse(node)


def test_a_plural_after_any_number_is_seen() -> None:
    code = """f"{count} documents"; f"{len(all):,} more lines"; f"at most {MAX - _ROOM} pages"; f"{len(all)} linesman"; f"{counted(1, 'x')} files" """
    found = list(always_plural(list(ast.walk(ast.parse(code.strip())))))
    assert found == ["f'{count} documents'", "f'{len(all):,} more lines'"]


def test_what_is_counted_agrees_with_its_number() -> None:
    found = {name: list(always_plural(nodes_of(file))) for name, file in MODULES.items()}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_a_number_is_written_with_what_it_counts() -> None:
    assert [counted(number, "page") for number in (0, 1, 2, 1_200)] == [
        "0 pages",
        "1 page",
        "2 pages",
        "1200 pages",
    ]
    assert counted(1, "match", "matches") == "1 match"
    assert counted(3, "query", "queries") == "3 queries"
