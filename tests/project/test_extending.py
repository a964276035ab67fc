"""The recipes of `docs/extending.md` are run as they stand: each is one file. Formats: `tests/library/test_formats.py`."""

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client, FastMCP

from research_shared.formats import Format

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
CODE = {
    title: re.findall(r"^```python\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(source, "extending.md", "exec", dont_inherit=True), names)
    return names


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "research").mkdir()
    (tmp_path / "research" / "tides.md").write_text("# Tides\n\nThe moon pulls the sea.\n", encoding="utf-8")
    monkeypatch.setenv("RESEARCH_ROOTS", str(tmp_path / "research"))
    monkeypatch.setenv("RESEARCH_AUDIT_LOG", str(tmp_path / "audit.jsonl"))


def test_the_formats_of_the_page_are_formats() -> None:
    text, binary = (run(source)["FORMATS"] for source in CODE["Add a format"])
    assert all(isinstance(each, Format) for each in (*text, *binary))
    assert text[0].is_text
    assert binary[0].part == "slide"
    assert not binary[0].readers[0].installed


async def test_a_model_of_ones_own_answers_through_the_gateway() -> None:
    (source,) = CODE["Add a model route"]
    async with Client(run(source)["create_server"]()) as client:
        result = await client.call_tool("summarize_document", {"document_path": "tides.md"})
    assert result.structured_content is not None
    assert (result.structured_content["route"], result.structured_content["model"]) == (
        "provider",
        "my-model",
    )
    assert "An answer in at most" in result.structured_content["summary"]


async def test_a_middleware_of_ones_own_refuses_within_the_error_boundary() -> None:
    (source,) = CODE["Add a middleware"]
    gateway: FastMCP[Any] = run(source)["create_server"]()
    entered, leave = anyio.Event(), anyio.Event()

    @gateway.tool
    async def wait() -> str:
        entered.set()
        await leave.wait()
        return "waited"

    async with Client(gateway) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "wait")
        await entered.wait()
        refused = await client.call_tool("list_research_documents", raise_on_error=False)
        leave.set()
    assert refused.is_error
    assert refused.content[0].text.startswith("overloaded: another call is running")


POSIX_ONLY = re.compile(
    r"\b(?:fcntl\.\w|resource\.\w*rlimit|resource\.getrusage|os\.(?:pread|fchmod|geteuid|fdatasync)|O_NOFOLLOW|dir_fd"
    r"|send_fds|pass_fds|SIGKILL|setitimer|add_signal_handler|CDLL\(None)"
)


def test_the_page_names_each_module_that_a_port_to_windows_changes() -> None:
    (part,) = re.findall(r"^## A native Windows port\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([\w/]+\.py)`", part))
    modules = [
        f"/{file.relative_to(ROOT)}"
        for folder in ("shared", "servers", "gateway", "tests")
        for file in (ROOT / folder).rglob("*.py")
    ]
    assert [name for name in named if not any(module.endswith(f"/{name}") for module in modules)] == []
    changed = [
        module
        for module in modules
        if not module.startswith("/tests/")
        and POSIX_ONLY.search((ROOT / module[1:]).read_text(encoding="utf-8"))
    ]
    assert len(changed) > 10
    assert [module for module in changed if not any(module.endswith(f"/{name}") for name in named)] == []
