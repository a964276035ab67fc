"""The trail, the logs, the replies and the metrics hold no local path and no secret."""

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from fastmcp import Client
from fastmcp.exceptions import McpError
from rich.console import Console

from research_gateway.app import build_gateway
from research_gateway.audit.check.cli import audit_app
from research_gateway.audit.check.show import last_records, table_of
from research_gateway.audit.options import AuditOptions
from research_gateway.audit.request.describe import shown_arguments
from research_gateway.audit.request.redaction import HIDDEN, is_absolute, without_credentials
from research_shared.access.roots import Root
from research_shared.logs import ExpectedFailures
from research_shared.settings import Settings
from support.asgi import send_request
from support.audit import check, records, text_of, write_log

MARKED = "MARKEDPATH7"
SECRET = "s3cr3tMARKED9"


def of_every_kind(folder: Path) -> list[tuple[str, Any]]:
    """A call of every kind with a path of the server in it, in every form that a client could give it."""
    absolute = str(folder / "a.md")
    forms = (
        absolute,
        f" {absolute}",
        f"./{absolute}",
        f"notes/{absolute}",
        f"file://{absolute}",
        f"FILE:{absolute}",
        absolute.replace("/", "%2F"),
        absolute.replace("/", "\\"),
        f"C:{absolute}",
        f"~{absolute}",
        f"research://documents/{absolute}",
        f"research://documents{absolute.replace('/', '%2F', 1)}",
        f"..{absolute}",
    )
    calls: list[tuple[str, Any]] = []
    for form in forms:
        calls += [
            ("read_document", {"document_path": form}),
            ("summarize_document", {"document_path": form}),
            ("synthesize_research", {"document_paths": [form], "research_question": f"what of {form}?"}),
            ("list_research_documents", {"file_pattern": form}),
            ("search_documents", {"query": "owls", "file_pattern": form}),
            ("fetch", {"id": form}),
        ]
    return calls


def uris(folder: Path) -> list[str]:
    path = str(folder / "a.md")
    return [
        f"research://documents/{path}",
        f"research://documents/{path.replace('/', '%2F')}",
        f"file://{path}",
        f"note:{path}",
        f"note://host/{path}",
        path,
        f"https://ann:{SECRET}@host/x?key={SECRET}#{SECRET}",
    ]


async def test_no_path_and_no_secret_is_in_a_log_line_a_record_a_reply_or_a_metric(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / MARKED / "research"
    folder.mkdir(parents=True)
    (folder / "a.md").write_text("Owls hunt.\n", encoding="utf-8")
    config = folder.parent / "mcp.json"
    server = {"url": f"http://ann:{SECRET}@127.0.0.1:9/mcp?key={SECRET}"}
    config.write_text(json.dumps({"mcpServers": {"wiki": server}}), encoding="utf-8")
    audit = tmp_path / "audit.jsonl"
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=audit,
        model_route="extractive",
        watch=False,
        extract_workers=1,
        connector_tools=True,
        mcp_config=config,
        metrics=True,
    )
    caplog.set_level(logging.DEBUG)
    logging.getLogger(ExpectedFailures.LOGGER).addFilter(quiet := ExpectedFailures())
    gateway = build_gateway(settings)
    said: list[str] = []
    async with Client(gateway) as client:
        for tool, arguments in of_every_kind(folder):
            result = await client.call_tool(tool, arguments, raise_on_error=False)
            said.append(without_own_words(repr(result), arguments))
        for uri in uris(folder):
            try:
                said.append(repr(await client.read_resource(uri)))
            except (McpError, ValueError) as error:
                said.append(str(error).replace(uri, "").replace(uri.lower(), ""))
            reference = mcp_types.ResourceTemplateReference(uri=uri)
            said.append(repr(await client.complete(reference, {"name": "path", "value": uri})))
        secret = {"text": SECRET, "api_key": SECRET}
        said.append(repr(await client.call_tool("wiki_look", secret, raise_on_error=False)))
        metrics = await send_request(gateway.http_app(), b"", {}, method="GET", path="/metrics")
    logging.getLogger(ExpectedFailures.LOGGER).removeFilter(quiet)
    assert metrics.status == 200
    assert len(records(audit, "end")) > 80
    lines = [record.getMessage() + repr(vars(record)) for record in caplog.records if is_ours(record)]
    assert any("listing an upstream failed" in line for line in lines)
    for kind, texts in {
        "record": text_of(audit).splitlines(),
        "reply": said,
        "log": lines,
        "metric": [metrics.body.decode()],
    }.items():
        assert [text for text in texts if MARKED in text or SECRET in text] == [], kind


def is_ours(record: logging.LogRecord) -> bool:
    """Whether an operator sees the line: ours, and those of FastMCP from INFO on."""
    return record.name.startswith("research") or (
        record.name.startswith("fastmcp.server") and record.levelno >= logging.INFO
    )


def without_own_words(reply: str, arguments: dict[str, Any]) -> str:
    """The reply without what the client itself sent, which may be cut."""
    for value in arguments.values():
        for text in value if isinstance(value, list) else [value]:
            quoted = json.dumps(text)[1:-1]
            for form in (repr(quoted)[1:-1], quoted, repr(text)[1:-1], text, text.strip()):
                for length in range(len(form), 20, -1):
                    reply = reply.replace(form[:length], "")
    return reply


@pytest.mark.parametrize(
    "credential",
    [
        "sk-proj-abcdefghij0123456789",
        "sk-ant-api03-abcdefghijklmnop",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0123456789abcdef",
        "glpat-abcdefghij0123456789",
        "xoxb-123456789012-abcdefghijkl",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl",
        "Bearer abcdefgh12345678",
        "OPENAI_API_KEY=abcd1234efgh",
        "client_secret=hunter2hunter2",
        "password: hunter22",
        '"api_key": "abcd1234"',
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\ncut",
        "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ",
        "0123456789abcdef0123456789abcdef01234567",
        "https://ann:hunter22@host/x",
        "https://host/x?token=abcd",
    ],
)
def test_the_level_arguments_hides_what_looks_like_a_credential(credential: str) -> None:
    shown = shown_arguments({"query": f"find {credential} now", "list": [credential], credential: 1})
    text = json.dumps(shown)
    assert text.count("***") + text.count(HIDDEN) >= 3
    for word in credential.replace('"', "").split():
        assert word not in text or word in {"Bearer", "password:", "api_key:"}


@pytest.mark.parametrize(
    "harmless",
    [
        "What do owls eat at night?",
        "Annual-Report-2024-Final-Version-Approved.docx",
        "reports/2024/q3/customer_retention_analysis_v12.pdf",
        "token bucket and secret sharing",
        "Donaudampfschifffahrtsgesellschaftskapitaen",
        "https://host/path/of/a/page",
        "the key finding: revenue",
    ],
)
def test_ordinary_words_are_recorded_as_they_are(harmless: str) -> None:
    assert without_credentials(harmless) == harmless
    assert not is_absolute(harmless) or "://" in harmless


def test_the_end_of_a_log_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    write_log(AuditOptions(path=path, max_bytes=8_192), events=100)
    files = [*sorted(tmp_path.glob("audit.0*.jsonl")), path]
    assert len(files) > 3
    everything = [record for file in files for record in records(file)]
    for block in (100, 1_000, 65_536):
        monkeypatch.setattr("research_gateway.audit.check.show.BLOCK_BYTES", block)
        for count in (0, 1, 7, 60, 1_000):
            assert last_records(files, count) == everything[len(everything) - min(count, len(everything)) :]
    with path.open("ab") as file:
        file.write(b"x" * 3_000_000 + b"\nno record\n")
    assert last_records(files, 1) == everything[-1:]


def test_the_end_of_a_large_log_is_shown_without_reading_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "audit.jsonl"
    write_log(AuditOptions(path=path), events=5)
    end = path.read_bytes()
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that is not there: reading it would take hours
        file.seek(0, 2)
        file.write(b"\n" + end)
    assert audit_app(["tail", "-n", "3", str(path)], result_action="return_value") == 0
    assert "closed" in capsys.readouterr().out


def test_a_table_of_records_cuts_no_word_in_80_columns() -> None:
    record = {
        "seq": 12,
        "time": "2026-11-27T04:05:36.746819Z",
        "event": "end",
        "call_id": "8d0543fd1c2a",
        "method": "tools/call",
        "tool": "search_documents",
        "documents": [{"path": "papers/results-report (draft).pdf"}],
        "outcome": "error",
        "reason": "response_too_large",
        "duration_ms": 2055.254,
    }
    shown = StringIO()
    Console(width=80, file=shown).print(table_of([record]))
    header, *lines = shown.getvalue().splitlines()
    starts = [header.index(name) for name in ("what", "documents", "result")]
    cells = [
        "".join(line[start:end].replace(" ", "") for line in lines)
        for start, end in zip(starts, [*starts[1:], 80], strict=True)
    ]
    assert lines[0].startswith("12   2026-11-27T04:05:36  end    8d0543fd  ")
    assert cells == [
        "search_documents",
        "papers/results-report(draft).pdf",
        "error2055(response_too_large)",  # the duration ends the first line
    ]


def test_verification_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research_gateway.audit.check.verify.REPORT_BYTES", 1_000)
    path = tmp_path / "audit.jsonl"
    write_log(AuditOptions(path=path, max_bytes=8_192), events=100)
    told: list[tuple[int, int]] = []
    assert check(path, on_progress=lambda done, total: told.append((done, total))).intact
    size = sum(file.stat().st_size for file in tmp_path.glob("*.jsonl"))
    assert len(told) > 10
    assert told == sorted(told)
    assert {total for _, total in told} == {size}
    assert size - 1_500 < told[-1][0] <= size
