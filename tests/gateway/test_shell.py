"""The tools as commands of a shell: output, exit statuses, and no traceback for anybody's mistake."""

import io
import itertools
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio.lowlevel
import pytest
from fastmcp import Client, Context, FastMCP

from research_gateway.cli import app
from research_gateway.cli.filters import FilterOptions
from research_gateway.cli.session import CallFailed, Session
from research_gateway.cli.show import linker, marker
from research_gateway.cli.wording import COMMAND_OF_TOOL, WORK_OF_TOOL, in_shell_words
from research_shared.errors import DocumentNotFound, InvalidCursor, NoReadableDocuments
from research_shared.settings import Settings
from research_shared.tools.filters import FILTER_ARGUMENTS
from research_shared.tools.names import OWN_TOOLS


class Ran(NamedTuple):
    status: int
    out: str
    err: str


Shell = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "papers").mkdir(parents=True)
    (folder / "papers" / "tides.md").write_text(
        "# Tides\n\nThe moon pulls the sea. Spring tides come at new moon and at full moon.\n",
        encoding="utf-8",
    )
    (folder / "notes.txt").write_text(
        "The harbour opened in 1911.\nWhy there are two high tides a day: the moon pulls the near water most.\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def shell(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    for name in [name for name in os.environ if name.startswith(("RESEARCH_", "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("RESEARCH_ROOTS", str(folder))
    # A command sets up the logging of its whole process, which is that of other tests here.
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda _level, **_: None)

    def run(*arguments: str, **environment: str) -> Ran:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            app(list(arguments))
        printed = capsys.readouterr()
        status = end.value.code
        assert isinstance(status, int | None)
        assert "Traceback" not in printed.err
        return Ran(status or 0, printed.out, printed.err)

    return run


def test_list_shows_the_documents_and_json_is_the_tools_result(shell: Shell) -> None:
    plain = shell("list")
    assert plain.status == 0
    assert [line.split()[0] for line in plain.out.splitlines()[1:3]] == ["notes.txt", "papers/tides.md"]
    assert plain.out.splitlines()[-1] == "2 documents"
    listed = json.loads(shell("list", "papers", "--json").out)
    assert [document["path"] for document in listed["documents"]] == ["papers/tides.md"]


def test_a_page_of_the_listing_says_how_to_go_on(shell: Shell) -> None:
    first = shell("list", "--limit", "1")
    (cursor,) = [line.split()[-1] for line in first.out.splitlines() if line.startswith("more with --cursor")]
    assert "1 of 2 documents" in first.out
    assert "papers/tides.md" in shell("list", "--limit", "1", "--cursor", cursor).out


def test_a_search_shows_the_lines_of_its_hits(shell: Shell) -> None:
    found = shell("search", "harbour")
    assert found.status == 0
    assert "notes.txt" in found.out
    assert "     1 The harbour opened in 1911." in found.out
    assert found.out.rstrip().endswith("1 match in 2 documents")


def test_a_pattern_keeps_a_search_to_its_documents(shell: Shell) -> None:
    assert (
        shell("search", "--regex", r"m.{2}n", "--in", "papers").out.rstrip().endswith("1 match in 1 document")
    )


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        ((), {}, "pip install 'research-assistant-mcp[semantic]', then RESEARCH_EMBEDDING_DIR"),
        (
            (),
            {"RESEARCH_EMBEDDING_DIR": "/models/minilm"},
            "no_such_package is not installed here (pip install",
        ),
        (("--regex",), {}, "not with --regex"),
    ],
)
def test_a_search_by_meaning_that_cannot_be_says_what_adds_it(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    environment: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setattr("research_documents.search.semantic.build.PACKAGES", ("no_such_package",))
    refused = shell("search", "moon", "--hybrid", *options, **environment)
    assert (refused.status, refused.out) == (2, "")
    assert said in " ".join(refused.err.split())


def test_a_search_by_meaning_goes_on_by_words_when_the_model_does_not_answer(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_gateway.cli.session.EMBEDDING_STALLED_S", 3600.0)
    found = shell(
        "search", "moon", "--hybrid",
        RESEARCH_EMBEDDING_URL="http://127.0.0.1:9", RESEARCH_EMBEDDING_MODEL="minilm", RESEARCH_RETRY_ATTEMPTS="1",
    )  # fmt: skip
    assert found.status == 0
    assert "papers/tides.md" in found.out
    assert "ranked by words alone" in found.out


@pytest.mark.parametrize(
    ("states", "looks"),
    [
        ([(0, 3), (1, 3), (3, 3)], 3),
        ([None], 1),
        ([(1, 3), *[(2, 3)] * 9], 2 + 3),
        ([(1, 3), (2, 3, True)], 2),
    ],
)
async def test_the_shell_waits_until_all_is_embedded_or_nothing_is_any_more(
    tmp_path: Path, states: list[tuple[int, ...] | None], looks: int
) -> None:
    server: FastMCP[Any] = FastMCP("documents")
    given = iter(states)
    asked: list[str] = []
    clock = itertools.count(step=15).__next__

    @server.tool
    def search_documents(query: str, mode: str, limit: int) -> dict[str, Any]:
        asked.append(f"{mode} {limit} {query}")
        state = next(given)
        return {"matches": []} | (
            {}
            if state is None
            else {"embedded": dict(zip(("done", "total", "stopped"), state, strict=False))}
        )

    async with Client(server) as client:
        session = Session(client, Settings.load({}, roots=str(tmp_path)))
        await session.until_embedded(stalled_s=60, clock=clock, sleep=lambda _: anyio.lowlevel.checkpoint())
    assert asked == ["hybrid 1 anything"] * looks


def test_the_commands_have_the_filters_of_the_tools_under_the_same_names() -> None:
    assert list(FilterOptions().arguments()) == list(FILTER_ARGUMENTS)


def test_filters_keep_a_command_to_the_documents_that_meet_all_of_them(shell: Shell, folder: Path) -> None:
    (folder / "cost.md").write_text(
        "---\nauthor: Ann Lee\ndate: 2019-05-02\ntags: [sea, cost]\n---\nThe moon costs nothing.\n",
        encoding="utf-8",
    )
    listed = shell(
        "list", "--type", "md", "--type", "txt", "--dated-before", "2020", "--tags", "sea", "--json"
    )
    assert [document["path"] for document in json.loads(listed.out)["documents"]] == ["cost.md"]
    found = json.loads(shell("search", "moon", "--author", "Smith", "--author", "Lee", "--json").out)
    assert [match["document"] for match in found["matches"]] == ["cost.md"]
    asked = json.loads(shell("ask", "What costs nothing?", "--type", "txt", "--json").out)
    assert {source["path"] for source in asked["sources"]} <= {"notes.txt"}
    assert asked["selection"]["documents_considered"] == 1
    assert shell("list", "--modified-after", "2100").status == 1
    wrong = shell("list", "--modified-after", "soon")
    assert wrong.status == 2
    assert wrong.err.startswith("invalid_arguments: --modified-after: 'soon' is no date")


def test_the_exit_status_says_whether_anything_was_found(shell: Shell) -> None:
    assert shell("search", "zebra").status == 1
    assert shell("list", "*.pdf").status == 1
    assert shell("search", "harbour", "--limit", "0").status != 0


def test_an_error_of_a_tool_is_told_with_its_hint_and_status_2(shell: Shell) -> None:
    missing = shell("read", "nix.md")
    assert missing.status == 2
    assert missing.out == ""
    assert missing.err.startswith("document_not_found: ")
    assert "\nHint: " in missing.err


NAMES_FOR_MODELS = re.compile(
    rf"\b({'|'.join(OWN_TOOLS)}|file_pattern|document_paths?|start_line|[Cc]all again)\b"
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["read", "*.md"], "This argument takes no pattern; `research-assistant list` does."),
        (["ask", "What?", "*.md", "--type", "pdf"], "`research-assistant list` takes the same filters."),
        (["list", "papers"], "the pattern is read as papers/**: everything in the folder papers"),
        (
            ["read", "notes.txt", "--lines", "9"],
            "--lines: the document has 2 lines\nHint: Use --lines from 1 to 2.",
        ),
    ],
)
def test_messages_name_commands_and_options_of_the_shell(
    arguments: list[str], said: str, shell: Shell
) -> None:
    ran = shell(*arguments)
    assert said in ran.out + ran.err
    assert not NAMES_FOR_MODELS.search(ran.out + ran.err)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            DocumentNotFound.default_hint,
            "Run `research-assistant list` to see the available paths, then use one",
        ),
        (NoReadableDocuments.default_hint, "the available paths, then try again with those."),
        (InvalidCursor.default_hint, "Try again without --cursor to start from the first page."),
        ("modified_after: 'x' is no date", "--modified-after: 'x' is no date"),
        ("context_lines is from 0 to 10", "--context is from 0 to 10"),
        ("Read it with start_line instead.", "Read it with --lines instead."),
        (
            "document_paths names 21 documents (call verify_quotes)",
            "(run `research-assistant verify-quotes`)",
        ),
        ("leave document_paths out", "leave DOCUMENTS out"),
    ],
)
def test_what_is_written_for_a_model_is_said_in_words_of_the_shell(message: str, said: str) -> None:
    assert said in in_shell_words(message)
    assert not NAMES_FOR_MODELS.search(in_shell_words(message))


def test_a_model_behind_a_socks_proxy_without_its_package_is_refused_in_one_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    model = {"RESEARCH_PROVIDER": "openai", "RESEARCH_PROVIDER_MODEL": "m", "RESEARCH_PROVIDER_KEY": "k"}
    ran = shell("summarize", "notes.txt", **model, HTTPS_PROXY="socks5://ann:secretpart@127.0.0.1:1080")
    assert ran.status == 2
    (line,) = ran.err.splitlines()
    assert "SOCKS" in line
    assert "pip install socksio" in line
    assert "secretpart" not in line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_says_in_plain_words_what_is_at_work(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", bar := Terminal())
    assert shell("ask", "Why are there tides?", "--html", str(tmp_path / "answer.html")).status == 0
    assert "answering" in bar.getvalue()
    assert "reading" in bar.getvalue()
    assert not NAMES_FOR_MODELS.search(bar.getvalue())


async def test_the_bar_names_the_command_that_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", bar := Terminal())
    server = FastMCP("slow")

    @server.tool
    async def read_document(ctx: Context) -> dict[str, Any]:
        await ctx.report_progress(0, 1, "waiting for read_document (5 s)")
        return {}

    async with Client(server) as client:
        await Session(client, Settings.load({})).call("read_document")
    assert "waiting for `research-assistant read` (5 s)" in bar.getvalue()


def test_each_tool_has_a_command() -> None:
    assert tuple(COMMAND_OF_TOOL) == tuple(WORK_OF_TOOL) == OWN_TOOLS
    for command in COMMAND_OF_TOOL.values():
        assert app[command] is not None


@pytest.mark.parametrize(
    "message",
    [
        "the nearest paths are: search_documents.md, old/read_document, verify_quotes-2.md",
        "'document_paths' is left out: it cannot be read",
    ],
)
def test_names_of_documents_are_not_taken_for_tools_and_arguments(message: str) -> None:
    assert in_shell_words(message) == message


def test_a_program_gets_the_words_of_the_tools(shell: Shell) -> None:
    note = "file_pattern is read as papers/**: everything in the folder papers"
    assert note in json.loads(shell("list", "papers", "--json").out)["warnings"]


def test_a_missing_folder_is_told_in_one_line(shell: Shell, tmp_path: Path) -> None:
    missing = shell("search", "x", "--root", str(tmp_path / "nowhere"))
    assert missing.status == 2
    assert len(missing.err.strip().splitlines()) == 1


def test_read_shows_numbered_lines_and_where_to_go_on(shell: Shell) -> None:
    read = shell("read", "tides.md", "--lines", "3-3")
    assert read.out.splitlines()[0].endswith(
        "3 The moon pulls the sea. Spring tides come at new moon and at full moon."
    )
    whole = shell("read", "notes.txt", "--lines", "1-1")
    assert "go on with --lines 2" in whole.out


@pytest.mark.parametrize("lines", ["a", "5-2", "0x1", "3-"])
def test_lines_that_are_none_are_refused_in_one_line(shell: Shell, lines: str) -> None:
    refused = shell("read", "notes.txt", "--lines", lines)
    assert refused.status == 2
    assert refused.err.strip().endswith(f"--lines {lines}: allowed: a line number, or a range such as 40-80")


def test_ask_answers_with_quotes_and_where_they_stand(shell: Shell) -> None:
    asked = shell("ask", "Why are there two high tides a day?", "notes.txt", "papers/*.md")
    assert asked.status == 0
    assert "No model was used." in asked.out
    assert "notes.txt, line" in asked.out
    assert "[1] notes.txt  2 of 2 lines read" in asked.out
    assert "2 sources used, 0 skipped · route extractive" in asked.out


def test_ask_names_a_source_that_is_missing(shell: Shell) -> None:
    asked = shell("ask", "Why are there two high tides a day?", "notes.txt", "lost.md")
    assert "[2] lost.md  skipped: " in asked.out


def test_ask_writes_the_answer_and_its_sources_to_files(shell: Shell, tmp_path: Path) -> None:
    question = "Why are there two high tides a day?"
    files = [tmp_path / name for name in ("answer.md", "sources.BIB", "sources.json")]
    for file in files:
        asked = shell("ask", question, "notes.txt", "--export", str(file))
        assert asked.status == 0
        assert f"written: {file}" in asked.err.replace("\n", "")
    markdown, bibtex, csl = (file.read_text("utf-8") for file in files)
    assert markdown.startswith(f"# {question}\n")
    assert "[^1]: *notes.txt*" in markdown
    assert bibtex.startswith("@misc{notes,\n")
    assert [item["id"] for item in json.loads(csl)] == ["notes"]
    refused = shell("ask", question, "--export", str(tmp_path / "answer.docx"))
    assert refused.status != 0
    assert "allowed: a file that ends in .md, .bib, .json" in refused.err.replace("\n", " ")


def test_an_export_is_written_though_the_page_cannot_be(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(*_arguments: object) -> None:
        raise CallFailed("the document went away")

    monkeypatch.setattr("research_gateway.cli.page.context_of", unreadable)
    files = ("--html", str(tmp_path / "answer.html"), "--export", str(tmp_path / "answer.md"))
    asked = shell("ask", "Why are there two high tides a day?", "notes.txt", *files)
    assert asked.status == 2
    assert "the document went away" in asked.err
    assert [path.name for path in tmp_path.glob("answer.*")] == ["answer.md"]


def test_ask_compares_documents_in_a_table(shell: Shell, tmp_path: Path) -> None:
    page = tmp_path / "answer.html"
    aspects = ("--aspect", "moon", "--aspect", "cost")
    asked = shell("ask", "What is said on tides?", "notes.txt", "papers", *aspects, "--html", str(page))
    assert asked.status == 0
    assert "| Document | moon | cost |" in asked.out
    assert "not stated" in asked.out
    assert "<td>not stated</td>" in page.read_text("utf-8")


def test_ask_without_documents_looks_in_the_whole_folder(shell: Shell) -> None:
    asked = shell("ask", "Why are there two high tides a day?")
    assert asked.status == 0
    assert "notes.txt" in asked.out.partition("Sources")[2]


def test_quotes_are_verified_with_their_place_or_with_the_words_that_differ(shell: Shell) -> None:
    held = shell("verify-quotes", "The harbour opened in 1911.", "The moon pulls the sea")
    assert held.status == 0
    assert "✓ “The harbour opened in 1911.”" in held.out
    assert "notes.txt, line 1" in held.out
    wrong = shell("verify-quotes", "The harbour opened in 1912.", "--in", "notes.txt")
    assert wrong.status == 1
    assert "✗" in wrong.out
    assert "the document has" in wrong.out
    assert json.loads(shell("verify-quotes", "The moon pulls the sea", "--json").out)["verified"] == 1


def test_summarize_prints_the_summary_alone_before_its_figures(shell: Shell) -> None:
    printed = shell("summarize", "notes.txt", "--length", "brief")
    assert printed.status == 0
    assert printed.out.splitlines()[-1].endswith("route extractive · model extractive")
    assert json.loads(shell("summarize", "notes.txt", "--json").out)["document_path"] == "notes.txt"


def test_the_calls_of_a_shell_are_audited_in_the_users_state_directory(shell: Shell, tmp_path: Path) -> None:
    shell("list")
    log = tmp_path / "state" / "research-assistant-mcp" / "shell.jsonl"
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [record["event"] for record in records if record.get("tool") == "list_research_documents"] == [
        "start",
        "end",
    ]
    assert shell("audit", "verify", str(log)).status == 0


def test_text_of_a_document_cannot_control_the_terminal(shell: Shell, folder: Path) -> None:
    (folder / "evil.md").write_text("harbour \x1b]0;owned\x07 \x1b[2J [link=http://x]", encoding="utf-8")
    found = shell("search", "harbour", "--in", "evil.md")
    assert found.status == 0
    assert "\x1b" not in found.out
    assert "\x07" not in found.out
    assert "[link=http://x]" in found.out
    (folder / "evil.md").write_text("harbour \x9b2J \u202e", encoding="utf-8")
    printed = shell("read", "evil.md", "--json").out
    assert "\x9b" not in printed
    assert "\u202e" not in printed
    assert "harbour" in json.loads(printed)["lines"][0]["text"]


@pytest.mark.parametrize(
    ("query", "regex", "line", "marked"),
    [
        ("moon tides", False, "Spring tide at the full moon", ["tide", "moon"]),
        ("the moon", False, "the sea and the moon", ["moon"]),
        ("+moon -sea", False, "moon and sea", ["moon"]),
        ('-"full moon" sea', False, "full moon, sea", ["sea"]),
        ("har*", False, "The harbour is hard", ["harbour", "hard"]),
        ("m.{2}n", True, "moon mean", ["moon", "mean"]),
        ("x*", True, "axxb", ["xx"]),
        ("(", True, "(", []),
    ],
)
def test_what_a_query_found_in_a_line_is_marked(
    query: str, regex: bool, line: str, marked: list[str]
) -> None:
    assert [line[first:last] for first, last in marker(query, regex=regex)(line)] == marked


def test_documents_are_linked_to_their_file_or_to_the_operators_system(tmp_path: Path) -> None:
    one, two = tmp_path / "a b", tmp_path / "two"
    link = linker(Settings.load({}, roots=f"one={one}:two={two}"))
    assert link("one/x y.pdf", 3) == f"file://{tmp_path}/a%20b/x%20y.pdf#page=3"
    assert linker(Settings.load({}, roots=str(two)))("sub/z.md", None) == f"file://{two}/sub/z.md"
    outside = Settings.load({}, roots=str(two), document_url="https://dms.example/{path}#page={page}")
    assert linker(outside)("z.pdf", 2) == "https://dms.example/z.pdf#page=2"
    remote = Settings.load({}, roots=str(two), documents_url="https://documents.example/mcp")
    assert linker(remote)("z.pdf", 2) is None
