"""The pages of `docs/reference` are those that the code gives."""

import runpy
from types import SimpleNamespace
from typing import Any

import pytest

from research_gateway.audit import AuditRecord
from research_shared.errors import ResearchError
from support.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "make_reference.py"))


async def test_the_reference_is_what_its_script_writes(script: dict[str, Any]) -> None:
    pages = await script["documents"]()
    assert {file.name for file in REFERENCE.iterdir()} == set(pages)
    for name, text in pages.items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, f"run docs/make_reference.py: {name}"


def test_every_error_command_and_field_has_a_meaning(script: dict[str, Any]) -> None:
    errors = list(script["subclasses"](ResearchError))
    assert len(errors) > 20
    assert all(each.__doc__ and each.default_hint for each in errors)
    assert all(field.description for field in AuditRecord.model_fields.values())
    commands = [
        found
        for app in ("gateway_app", "documents_app")
        for found in script["commands_of"](script[app], (app, ""))
    ]
    assert len(commands) > 15
    assert all(command.help for _, command in commands)


def test_a_cell_of_a_table_stays_one_cell(script: dict[str, Any]) -> None:
    assert script["cell"]("a|b\n`c|*` *.pdf [x] <y>") == r"a\|b `c\|*` \*.pdf \[x\] \<y>"


def test_a_picture_of_mermaid_is_a_table_on_the_site() -> None:
    hooks = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a/b.md"))
    graph = '```mermaid\ngraph TD\n    a["A (1)"]\n    b["B (2)"]\n    a --> b\n```\n'
    links = "[here](../c.md) [there](../../compose.yaml)"
    shown = hooks["on_page_markdown"](
        graph + links, page=page, config=SimpleNamespace(extra={"repository": "https://x"})
    )
    assert "| A (1) | B |\n| B (2) |  |" in shown
    assert shown.endswith("[here](../c.md) [there](https://x/compose.yaml)")
