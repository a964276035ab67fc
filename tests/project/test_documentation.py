"""What the pages of the documentation show is run, parsed or compared: a renamed flag, setting, tool or file fails here."""

import ast
import asyncio
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from doctest import ELLIPSIS, OutputChecker
from functools import cache
from io import BytesIO
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest
import yaml
from cyclopts import App, CycloptsError
from fastmcp import Client, FastMCP
from jsonschema import Draft202012Validator
from mcp_types import CallToolResult, TextContent
from pypdf import PdfWriter

from research_documents.cli import app as documents_app
from research_gateway.app import build_gateway
from research_gateway.cli import app as gateway_app
from research_gateway.cli.clients import CLIENTS
from research_shared.errors import ERROR_META_KEY, ResearchError
from research_shared.policy.file import load_policy
from research_shared.settings import FILE_SUFFIX, PREFIX, Settings, secret_settings
from support import pages
from support.clients import SAMPLES
from support.pages import ROOT, Block, Command
from support.pdfs import pdf
from support.sizes import FULL
from support.sources import MODULES

APPS: Mapping[str, App] = {"research-assistant": gateway_app, "research-documents": documents_app}
NEEDS = {"needs a program", "needs a service"}
"""Why a block is not run: it needs a program or a service that is not ours. Its words of ours are checked all the same."""
RUN_AS_IT_STANDS = "run by tests/operations/run.py"
"""A block that a shell runs, against real services, in CI. Here its words are checked."""
STATUSES = {"doctor": {0, 1}}
"""Exit statuses of commands that may find something on the machine they run on; all others give 0."""
BUILT_IN = {".", "cd", "command", "export"}
PYTHON_TOOLS = {"pip", "pytest", "ruff", "mypy", "mkdocs"}
REPLACED = {
    "/path/to/research": "research",
    "/path/to/firm": "firm",
    "/path/to/checkout": str(ROOT),
    "/path/to/bin/research-assistant": str(Path(sys.executable).parent / "research-assistant"),
    "/var/log/": "var/log/",
    "/srv/": "srv/",
    "/etc/": "etc/",
    "~/": "",
    "…": "x" * 40,
}
"""What pages write for things that each reader names differently, and what stands for them here."""
MAX_WORDS = 85
"""Words of the longest paragraph, or item of a list, that a person still reads."""
POLICY = next(block.text for block in pages.page("docs/policy.md").blocks if block.language == "toml")
_REMARKS = re.compile(r'"""[\s\S]*?"""|(?m:^ *#.*$)')
TABLE_OF_TOOLS = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


class Ran(NamedTuple):
    status: int
    out: str
    err: str


class Place(NamedTuple):
    """A directory in which commands of the pages run."""

    directory: Path
    run: Callable[[Command], Ran]


def replaced(text: str) -> str:
    for written, meant in REPLACED.items():
        text = text.replace(written, meant)
    return text


def write_documents(folder: Path) -> None:
    """Write the documents that the pages speak of."""
    circuit = "A circuit is built incrementally, one hop at a time."
    texts = {
        "papers/tor.md": f"# Onion routing\n\nAn onion router relays cells over a circuit. {circuit}\n",
        "notes/sea.md": "# Tides\n\nThe moon pulls the sea.\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "papers/tor-onion-routing.pdf").write_bytes(pdf([["Page one."], ["Page two."], [circuit]]))
    tides = PdfWriter(BytesIO(pdf([["High tides follow the moon."]])))
    tides.add_metadata({"/Author": "Ann Lee", "/CreationDate": "D:20210504120000Z"})
    tides.write(folder / "papers/tides.pdf")


def write_firm(folder: Path) -> None:
    """Write the documents of the page about walls."""
    for name in ("clients/a.md", "clients/acme/c.md", "public/b.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# A report\n", encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    """A directory with the documents of the pages, in which `serve` serves one listing and `demo` says what it was given."""
    for name in [name for name in os.environ if name.startswith((PREFIX, "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    for folder in ("research", "srv/papers", "srv/mail", "var/log/research", "var/log/host", "etc/research"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/research/auth-tokens").write_text(
        "ann=a-token-of-ann-and-nobody-else\n", encoding="utf-8"
    )
    write_documents(tmp_path / "research")
    write_firm(tmp_path / "firm")
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda *_, **__: None)
    # What `serve` does around a server is done: it is built, and checked against the settings and the address.
    for name, instead in {
        "configure_logging": lambda *_, **__: None,
        "check_address": lambda *_: None,
        "traces_exported": lambda *_: nullcontext(),
        "http_server": lambda server, *_, **__: server,
        "run_http": lambda server, *_: one_listing(server),
        "run_stdio": lambda server, **_: one_listing(server),
    }.items():
        monkeypatch.setattr(f"research_shared.serving.run.{name}", instead)
    monkeypatch.setattr("research_gateway.demo.run_demo", lambda settings, **_: print(settings.roots))

    def run(command: Command) -> Ran:
        words = [replaced(word) for word in command.words]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in command.variables.items():
                patch.setenv(name, replaced(value))
            patch.setattr("sys.argv", words)
            with pytest.raises(SystemExit) as end:
                APPS[Path(words[0]).name](with_call_id(words[1:]))
        status = end.value.code
        assert isinstance(status, int | None), status
        return Ran(status or 0, *capsys.readouterr())

    return Place(tmp_path, run)


async def one_listing(server: FastMCP[Any], *_: object) -> None:
    async with Client(server) as client:
        assert await client.list_tools()


def with_call_id(words: list[str]) -> list[str]:
    """Give `audit show` the id of a call that was recorded in the log that it names."""
    if words[:2] != ["audit", "show"]:
        return words
    records = [json.loads(line) for line in Path(words[3]).read_text(encoding="utf-8").splitlines()]
    return [*words[:2], next(record["call_id"] for record in records if "call_id" in record), *words[3:]]


@cache
def variables() -> frozenset[str]:
    """The environment variables of the project: settings, those of the tests, those of the container files, and `X` for any."""
    named = {PREFIX + name.upper() for name in Settings.model_fields} | {f"{PREFIX}CONFIG", f"{PREFIX}X"}
    named |= {PREFIX + name.upper() + FILE_SUFFIX for name in secret_settings(Settings.model_fields)}
    sources = [
        ROOT / "compose.yaml",
        ROOT / "Dockerfile",
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").glob("*.py"),
    ]
    in_tests = re.compile(rf"\b{PREFIX}(?:TEST|BENCHMARK)_[A-Z_]+\b")
    for file in sources:
        text = file.read_text(encoding="utf-8")
        named |= set(
            re.findall(rf"\$\{{({PREFIX}\w+)", text) if file.suffix != ".py" else in_tests.findall(text)
        )
    return frozenset(named)


@cache
def options() -> frozenset[str]:
    """The long options of our own commands, and of our own scripts."""
    names = {name for app in APPS.values() for each in commands_of(app) for name in options_of(each)}
    for file in [
        *(ROOT / "benchmarks").glob("*.py"),
        *(ROOT / "deploy").glob("*.py"),
        *(ROOT / "docs").glob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
    ]:
        names |= set(re.findall(r"add_argument\([^)]*?\"(--[\w-]+)\"", file.read_text(encoding="utf-8")))
    return frozenset(names)


def commands_of(app: App) -> Iterator[App]:
    yield app
    for name in app:
        if not name.startswith("-"):
            yield from commands_of(app[name])


def options_of(command: App) -> Iterator[str]:
    yield from (name for name in command if name.startswith("--"))
    if command.default_command is not None:
        for argument in command.assemble_argument_collection():
            yield from (name for name in argument.names if name.startswith("--"))


@cache
def words_of_the_code() -> frozenset[str]:
    """Every word of the code that is shipped, without docstrings and comments, which may speak of what is gone."""
    found = {part for module in MODULES for part in module.split(".")}
    for file in MODULES.values():
        found.update(re.findall(r"\w+", _REMARKS.sub("", file.read_text(encoding="utf-8"))))
    return frozenset(found)


@cache
def tools() -> dict[str, Any]:
    """The tools of a gateway that offers all of them."""

    async def listed() -> list[Any]:
        gateway = build_gateway(samples(connector_tools=True))
        return [tool.to_mcp_tool() for tool in await gateway.list_tools(run_middleware=False)]

    return {tool.name: tool for tool in asyncio.run(listed())}


def samples(**others: Any) -> Settings:
    """The settings of a server over the sample documents, whatever the environment says."""
    return Settings.load({}, roots=f"samples={SAMPLES}", index_dir=None, model_route="extractive", **others)


def check_ours(words: list[str]) -> None:
    """Check a command of ours with the parser of its command line, which takes placeholders for values of any kind."""
    app = APPS[Path(words[0]).name]
    given = [replaced(word) for word in words[1:]]
    chain, _, unused = app.parse_commands(given)
    assert chain or unused == given[:0], f"no such command: {' '.join(words)}"
    app.parse_args(given, print_error=False, exit_on_error=False)


def check_script(words: list[str]) -> None:
    """Check that a script of the project is there, and has the options that it is given."""
    file = ROOT / words[0]
    assert file.is_file(), words[0]
    source = file.read_text(encoding="utf-8")
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in source, f"{words[0]} has no option {word}"


def check_foreign(command: Command) -> None:
    """Check what of a command of somebody else's is ours: variables, extras, files, and a command of ours behind it."""
    words = [word.replace("$(command -v research-assistant)", "research-assistant") for word in command.words]
    for word in words:
        for name in re.findall(rf"\b{PREFIX}\w+", word):
            assert name in variables(), name
        if extras := re.fullmatch(r"(?:\.|research-assistant-mcp)\[(.+)\]", word):
            declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
                "optional-dependencies"
            ]
            assert set(extras[1].split(",")) <= set(declared), word
        if word.startswith("/path/to/checkout/"):
            assert Path(replaced(word)).exists(), word
    for position, word in enumerate(words):
        if Path(word).name in APPS and "/" not in word.removeprefix("/path/to/bin/"):
            check_ours(words[position:])
            return


def check_command(block: Block, command: Command, place: Place) -> None:
    for name in command.variables:
        assert not name.startswith(PREFIX) or name in variables(), name
    words = command.words
    program = Path(words[0]).name if words else ""
    if program in APPS:
        ran = place.run(command)
        assert ran.status in STATUSES.get(words[1], {0}), f"{block}: {ran}"
        assert OutputChecker().check_output(ran_like(command.output), ran_like(ran.out), ELLIPSIS), (
            f"{block}: {ran.out}"
        )
    elif program in {"python", "python3"} and not words[1].startswith("-"):
        check_script(words[1:])
    elif program == "run" or program in PYTHON_TOOLS or words[:2] in (["python", "-m"], ["python3", "-m"]):
        assert "/" not in words[0] or (ROOT / words[0]).is_file(), words[0]
        check_foreign(command)
    elif words[:1] == [] or words[0] in BUILT_IN:
        assert words[:1] != ["command"] or words[2] in APPS, words
    else:
        assert block.check in NEEDS, (
            f"{block}: {program} is a program of somebody else's: say `<!-- check: needs a program -->`"
        )
        check_foreign(command)


def check_typed(command: Command) -> None:
    assert not {name for name in command.variables if name.startswith(PREFIX)} - variables(), command
    if Path(command.words[0]).name in APPS if command.words else False:
        check_ours(command.words)
    else:
        check_foreign(command)


def ran_like(text: str) -> str:
    """What is compared of an output. A page that shows none says nothing about it."""
    return re.sub(r"^…$", "...", text, flags=re.MULTILINE) if text else "...\n"


def named(block: object) -> str:
    return str(block)


def test_the_blocks_of_all_pages_are_in_languages_that_are_checked() -> None:
    known = {"console", "python", "json", "toml", "yaml", "sh", "text", "nginx", "mermaid", ""}
    assert {block.language for name in pages.PAGES for block in pages.page(name).blocks} <= known
    assert len(pages.blocks(*known)) > 50


@pytest.mark.parametrize("block", pages.blocks("console"), ids=named)
def test_the_commands_of_a_page_do_what_it_says(block: Block, place: Place) -> None:
    assert (block.check == RUN_AS_IT_STANDS) == block.page.startswith("docs/operations/"), block
    if block.check == RUN_AS_IT_STANDS:
        for command in pages.typed_commands(block.text):
            check_typed(command)
        return
    (place.directory / "policy.toml").write_text(POLICY, encoding="utf-8")
    assert block.check is None or block.check in NEEDS, block.check
    found = pages.commands(block.text)
    assert found
    for number, command in enumerate(found):
        if (str(block), number) in repeated() and not FULL:
            check_ours(command.words)
        else:
            check_command(block, command, place)


@cache
def repeated() -> frozenset[tuple[str, int]]:
    """The commands, by block and number, that an earlier one has run already with the same options and variables.

    Where a block shows what its commands print, or looks at what they left, all of them are run.
    """
    ran: list[tuple[str, frozenset[str]]] = []
    again = set()
    for block in pages.blocks("console"):
        if block.check == RUN_AS_IT_STANDS:
            continue
        found = pages.commands(block.text)
        whole = any(command.output or command.words[1:2] == ["audit"] for command in found)
        for number, command in enumerate(found):
            if not command.words or Path(command.words[0]).name not in APPS:
                continue
            name = " ".join(command.words[:2])
            given = frozenset(
                {word for word in command.words if word.startswith("--")} | command.variables.keys()
            )
            if not whole and any(name == other and given <= options for other, options in ran):
                again.add((str(block), number))
            ran.append((name, given))
    return frozenset(again)


@pytest.mark.parametrize("block", pages.blocks("json"), ids=named)
def test_the_json_of_a_page_is_what_it_says(block: Block) -> None:
    decoder, at, values = json.JSONDecoder(), 0, []
    while block.text[at:].strip():
        at += len(block.text[at:]) - len(block.text[at:].lstrip())
        value, at = decoder.raw_decode(block.text, at)
        values.append(value)
    for value in values:
        if block.check is None:
            check_client_configuration(value)
        elif block.check == "an error result":
            result = CallToolResult.model_validate(value)
            codes = {each.code for each in subclasses(ResearchError)}
            assert result.is_error
            assert (result.meta or {})[ERROR_META_KEY]["code"] in codes
        else:
            what, of, name = block.check.partition(" of ")
            assert of, block.check
            assert what in {"arguments", "result"}, block.check
            tool = tools()[name]
            schema = tool.input_schema if what == "arguments" else tool.output_schema
            Draft202012Validator(schema).validate(value)
            if what == "arguments":
                assert set(value) <= set(schema["properties"])


def subclasses(kind: type[ResearchError]) -> set[type[ResearchError]]:
    return {kind, *(below for each in kind.__subclasses__() for below in subclasses(each))}


def check_client_configuration(content: dict[str, Any]) -> None:
    """Check that a client's configuration has the form that `install` writes for one of them."""
    (key,) = content
    assert key in {client.key for client in CLIENTS.values()}, key
    for entry in content[key].values():
        if "url" in entry:
            assert set(entry) <= {"url", "type", "headers"}
            continue
        assert any(
            set(entry) - {"env"} == {"command", "args", *client.extra}
            for client in CLIENTS.values()
            if client.key == key
        )
        assert set(entry.get("env", {})) <= variables()
        check_ours([entry["command"], *entry["args"]])


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("block", pages.blocks("toml"), ids=named)
def test_the_toml_of_a_page_is_read_as_the_server_reads_it(block: Block) -> None:
    file = Path("file.toml")
    file.write_text(replaced(block.text), encoding="utf-8")
    if "[[rules]]" in block.text:
        assert load_policy(file).rules
    else:
        assert Settings.load({f"{PREFIX}CONFIG": str(file)}).model_fields_set


def test_the_yaml_of_the_pages_is_yaml_with_variables_of_ours() -> None:
    for block in pages.blocks("yaml"):
        assert list(yaml.safe_load_all(block.text)), block
        assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", block.text)) <= variables(), block


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("block", pages.blocks("sh"), ids=named)
def test_the_variables_of_a_page_are_settings_with_values_that_are_taken(block: Block) -> None:
    given: dict[str, str] = {}
    for command in pages.commands(block.text):
        assert not command.words, command.words
        given |= {name: replaced(value) for name, value in command.variables.items()}
    assert Settings.load(given).model_fields_set == {name.removeprefix(PREFIX).lower() for name in given}


@pytest.mark.parametrize("block", pages.blocks("python"), ids=named)
async def test_the_python_of_a_page_runs(block: Block, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}ROOTS", str(place.directory / "research"))
    log = place.directory / "audit.jsonl"
    source = block.text.replace('"http://127.0.0.1:8000/mcp"', "build_gateway(Settings.load(audit_log=LOG))")
    for written, meant in REPLACED.items():
        source = source.replace(f'"{written}', f'"{meant}')
    code = compile(source, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    names = {"__name__": "page", "build_gateway": build_gateway, "Settings": Settings, "LOG": log}
    result = FunctionType(code, names)()
    if result is not None:
        await result


@pytest.mark.parametrize("block", pages.blocks("text"), ids=named)
async def test_an_output_that_a_page_shows_is_what_the_call_above_it_gives(block: Block) -> None:
    """Of a call over the sample documents each line that stands below it; else the marker names the test that reads the page."""
    if block.check is None or not block.check.startswith("reply"):
        assert block.check is not None, "say `<!-- check: reply -->`, or which test compares it"
        assert f'"{Path(block.page).name}"' in (ROOT / block.check).read_text(encoding="utf-8")
        return
    above = [each for each in pages.page(block.page).blocks if each.line < block.line][-1]
    tool = (above.check or "").removeprefix("arguments of ")
    async with Client(build_gateway(samples(connector_tools=True))) as client:
        result = await client.call_tool(tool, json.loads(above.text))
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    text = re.sub(
        r" \d{4}-\d\d-\d\d(?= )", "", text
    )  # files that a checkout wrote on several days show theirs
    for line in block.text.splitlines():
        assert line in text, text


@pytest.mark.parametrize("block", pages.blocks("nginx"), ids=named)
def test_the_configuration_of_another_program_is_named_as_such(block: Block) -> None:
    assert block.check in NEEDS
    assert block.text.count("{") == block.text.count("}") > 0


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    for link in pages.page(name).links():
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            other = target.resolve().relative_to(ROOT).as_posix()
            assert anchor in pages.page(other).anchors(), link


@pytest.mark.parametrize(
    "name", [name for name in pages.PAGES if "/decisions/" not in name and "/reference/" not in name]
)
def test_no_paragraph_of_a_page_is_a_wall(name: str) -> None:
    assert [each for each in pages.page(name).paragraphs() if len(each.split()) > MAX_WORDS] == []


def test_no_page_has_a_place_that_was_to_be_filled_in() -> None:
    texts = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    left = [
        f"{file.relative_to(ROOT)}: {found}"
        for file in texts
        for found in re.findall(r"@@\w+@@", file.read_text(encoding="utf-8"))
    ]
    assert left == []


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"- (?:[^:\n]+: )?(\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == [name.removeprefix("docs/") for name in pages.PAGES if name.startswith("docs/")]


@pytest.mark.parametrize("name", pages.PAGES)
def test_what_a_page_names_is_there(name: str) -> None:
    """Variables, options, commands, files, and words with an underscore: tools, arguments, fields, codes."""
    page = pages.page(name)
    everything = (ROOT / name).read_text(encoding="utf-8")
    wrong = [
        word
        for word in re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b(?![_*…])", everything)
        if word not in variables()
    ]
    for code in page.code():
        wrong.extend(strange_in(code))
    assert wrong == []


def strange_in(code: str) -> Iterator[str]:
    """Yield what a text between back quotes names that is not there."""
    words = code.split()
    if words[0] in APPS and len(words) > 1:
        yield from strange_command(words)
    for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
        if words[0] not in FOREIGN_PROGRAMS and word not in options():
            yield word
    word = code.removesuffix("_total").removesuffix("_info")  # which Prometheus adds to names
    # Prometheus's own begin with `process_`.
    if (
        re.fullmatch(r"(?!process_)[a-z]+(?:_[a-z0-9]+)+", code)
        and word not in words_of_the_code()
        and word not in FOREIGN_WORDS
    ):
        yield code
    if (
        re.fullmatch(r"(?:tests|benchmarks|docs|shared|servers|gateway|\.ci)/[\w./-]+\w/?", code)
        and not (ROOT / code).exists()
    ):
        yield code


FOREIGN_PROGRAMS = {"uv", "pip", "docker", "claude", "npx", "fastmcp", "cyclopts", "rg"}
FOREIGN_WORDS = {
    "a_b",
    "client_max_body_size",
    "proxy_buffering",
    "proxy_read_timeout",
    "proxy_set_header",
    "worker_connections",
    "name_search",
    "wiki_search",  # tools of servers that somebody might add
    "count_tokens",
    "keepalive_timeout",
    "max_position_embeddings",
    "preferred_username",  # of providers, proxies, models and tokens
}
"""Words with an underscore that are not ours."""


def strange_command(words: list[str]) -> Iterator[str]:
    """Yield a command of ours that is none, or has other options. What stands for any value is in capitals or dots."""
    app = APPS[words[0]]
    if words[1].startswith("-") or words[1].isupper():
        yield from (word for word in words[1:] if word.startswith("-") and word not in app)
        return
    chain, apps, unused = app.parse_commands([word for word in words[1:] if not word.isupper()])
    if not chain or (unused and apps[-1].default_command is None):
        yield " ".join(words)
        return
    known = set(options_of(apps[-1])) | {"--help"}
    yield from (f"{' '.join(words)}: {word}" for word in words if word.startswith("--") and word not in known)


def test_the_tables_of_tools_name_the_tools() -> None:
    ours = set(tools()) - {"search", "fetch"}
    assert set(TABLE_OF_TOOLS.findall((ROOT / "README.md").read_text(encoding="utf-8"))) == ours
    shell = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\| `(\w+)`", shell)) == ours


def test_what_is_renamed_in_a_page_is_noticed(place: Place) -> None:
    """The checks above, with a flag, a setting, a tool and a field that are none."""
    block = Block(page="x.md", line=1, language="console", text="", check="needs a program")
    (flag,) = pages.commands("research-assistant list --root /path/to/research --kind pdf")
    with pytest.raises(CycloptsError):
        check_ours(flag.words)
    assert place.run(flag).status != 0
    for foreign in (
        "claude mcp add research -- research-assistant serve --roots x",
        "npx x research-assistant srve",
    ):
        (command,) = pages.commands(foreign)
        with pytest.raises((CycloptsError, AssertionError)):
            check_command(block, command, place)
    assert list(strange_in("research-assistant audit verfy"))
    assert list(strange_in("--jsn")) == ["--jsn"]
    assert list(strange_in("serch_documents")) == ["serch_documents"]
    assert f"{PREFIX}ROOT" not in variables()
