"""The README says only what holds."""

import re
import runpy
from pathlib import Path

from research_shared.settings import Settings
from support import pages

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_guarantee_names_a_test_that_exists() -> None:
    table = README.partition("## Guarantees")[2].partition("\n## ")[0]
    named = re.findall(r"`(tests/[^`:]+\.py)::(\w+)`", table)
    assert len(named) >= 10
    for path, test in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), f"{path}::{test}"
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert all("`tests/" in row for row in rows)


def test_the_configuration_page_is_what_its_script_writes_and_every_setting_is_described() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))["document"]()
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == page
    assert all(field.description for field in Settings.model_fields.values())


def test_the_first_command_makes_an_environment_which_the_others_install_into() -> None:
    """The Python of a distribution takes no packages from pip."""
    make, enter, install, *_ = [
        command.words
        for block in pages.page("README.md").blocks
        if block.language == "console"
        for command in pages.commands(block.text)
    ]
    assert make[:3] == ["python3", "-m", "venv"]
    assert enter == [".", f"{make[3]}/bin/activate"]
    assert install[:2] == ["pip", "install"]


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
