"""What the layout promises."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

from support.sources import ROOT, nodes_of
from support.starts import start_of_servers

PACKAGES = {
    "research_shared": ROOT / "shared" / "research_shared",
    "research_documents": ROOT / "servers" / "research_documents",
    "research_reasoning": ROOT / "servers" / "research_reasoning",
    "research_gateway": ROOT / "gateway" / "research_gateway",
}
MAY_IMPORT = {
    "research_shared": set[str](),
    "research_documents": {"research_shared"},
    "research_reasoning": {"research_shared"},
    "research_gateway": {"research_shared", "research_documents", "research_reasoning"},
}


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    sources = sorted(PACKAGES[package].rglob("*.py"))
    assert sources
    for source in sources:
        ours = imports_of(source) & (PACKAGES.keys() - {package})
        assert ours <= MAY_IMPORT[package], f"{source.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_are_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()


def test_importing_reads_no_settings_sets_up_no_logging_and_loads_no_parser() -> None:
    imported, nothing = (start_of_servers()[step] for step in ("imports", "nothing"))
    assert {"research_gateway.cli", "research_reasoning.server"} <= imported.modules - nothing.modules
    assert imported.root_handlers == nothing.root_handlers
    assert not imported.modules & {"tantivy", "re2", "pypdfium2", "pypdf"}


def test_the_sample_pdfs_are_what_their_script_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_pdfs.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "docs" / "samples" / "make_pdfs.py"), run_name="__main__")
    written = sorted(tmp_path.glob("*.pdf"))
    assert len(written) >= 2
    for path in written:
        assert path.read_bytes() == (PACKAGES["research_gateway"] / "samples" / path.name).read_bytes()
