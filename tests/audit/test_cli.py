"""`research-assistant audit` answers with exit codes that scripts can use and with text that cannot harm a terminal."""

import json
from pathlib import Path

import pytest
from fastmcp import Client

from research_gateway.audit import AuditOptions, AuditTrail
from research_gateway.audit.check.cli import audit_app
from research_gateway.audit.log.format import ChainPosition, to_json
from research_shared.text.visible import terminal_safe
from support.audit import KEY, Hall, answer, records, write_log


def run(*tokens: object) -> int:
    status = audit_app([str(token) for token in tokens], result_action="return_value")
    assert isinstance(status, int)
    return status


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESEARCH_AUDIT_LOG", "RESEARCH_AUDIT_KEY", "RESEARCH_AUDIT_HEAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def test_an_intact_log_is_0(options: AuditOptions, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(options)
    assert run("verify", log) == 0
    assert "audit.jsonl: intact" in capsys.readouterr().out


def test_a_tampered_log_is_1_and_the_first_bad_record_is_named(
    options: AuditOptions, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(options)
    log.write_bytes(log.read_bytes().replace(b'"number":6', b'"number":9'))
    assert run("verify", log) == 1
    out = capsys.readouterr().out
    assert "NOT INTACT" in out
    assert "audit.jsonl:8: record 7:" in out
    assert "[changed]" in out


def test_one_bad_log_among_several_is_1(options: AuditOptions, log: Path, tmp_path: Path) -> None:
    write_log(options)
    second = tmp_path / "second.jsonl"
    write_log(AuditOptions(path=second))
    assert run("verify", log, second) == 0
    second.write_bytes(b"")
    assert run("verify", log, second) == 1


@pytest.mark.parametrize("command", ["verify", "tail", "show"])
def test_what_cannot_be_read_is_2(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["abc"] if command == "show" else []
    assert run(command, *call, tmp_path / "nothing.jsonl") == 2
    assert run(command, *call, tmp_path / "nowhere" / "audit.000001.jsonl") == 2
    assert run(command, *call) == 2
    assert "RESEARCH_AUDIT_LOG" in capsys.readouterr().err


def test_a_wrong_setting_or_option_is_2(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(options)
    with pytest.raises(SystemExit) as refused:
        audit_app(["verify", "--nonsense", str(log)])
    assert refused.value.code == 2
    monkeypatch.setenv("RESEARCH_AUDIT_KEY", "short")
    assert run("verify", log) == 2
    assert "short" not in capsys.readouterr().err


def test_the_settings_name_log_and_key(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(AuditOptions(path=log, key=KEY))
    monkeypatch.setenv("RESEARCH_AUDIT_LOG", str(log))
    assert run("verify") == 0
    assert "signatures were not checked" in capsys.readouterr().out
    monkeypatch.setenv("RESEARCH_AUDIT_KEY", KEY.decode())
    assert run("verify") == 0
    assert "signatures" not in capsys.readouterr().out
    monkeypatch.setenv("RESEARCH_AUDIT_KEY", "another key of more than thirty-two bytes")
    assert run("verify") == 1


def test_archived_files_and_restarted_chains_can_be_accepted(options: AuditOptions, log: Path) -> None:
    write_log(AuditOptions(path=log, max_bytes=1500), 30)
    log.with_name("audit.000001.jsonl").unlink()
    assert run("verify", log) == 1
    assert run("verify", log, "--partial") == 0
    log.unlink()
    write_log(options)
    assert run("verify", log, "--partial") == 1
    chain = json.loads(log.read_bytes().splitlines()[0])["chain"]
    assert run("verify", log, "--acknowledge", chain) == 0


async def test_people_can_read_the_trail(
    options: AuditOptions, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        async with Client(hall.server, elicitation_handler=answer) as client:
            await client.call_tool("ask_twice")
            await client.call_tool_mcp("nothing", {})
    capsys.readouterr()
    assert run("tail", log, "-n", "3") == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4
    assert "unknown_tool" in out
    first = next(call for call in records(log) if call.get("round") == 2)
    assert run("show", first["call_id"][:10], log) == 0
    out = capsys.readouterr().out
    assert out.count("start · record") == 3
    assert out.count("end · record") == 3
    assert out.count("input_required") == 2
    assert run("show", "nothing", log) == 2
    assert run("show", "", log) == 2


def test_what_a_record_holds_cannot_steer_the_terminal(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066[bold red]x[/]\n\x7f"
    fields = {
        "event": "end",
        "time": "t",
        "call_id": "abc",
        "tool": hostile,
        "outcome": "error",
        "reason": hostile,
        "documents": [{"path": hostile}, {"path": None, "rejected": "absolute"}],
        "duration_ms": 1.5,
    }
    line, at = ChainPosition.fresh().append(to_json(fields))
    assert line.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in line[:-1])
    log.write_bytes(line + b"damaged\n" + at.append(to_json({**fields, "call_id": "abcd"}))[0])
    assert run("tail", log) == 0
    assert run("show", "abc", log) == 0
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\x9b\u202e\u2066\x7f")
    assert "[bold red]" in out
    assert terminal_safe(hostile).isprintable()
