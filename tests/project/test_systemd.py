"""The unit for systemd starts what there is, where it may write what it keeps, and gives it the time to stop."""

import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from research_gateway.cli import app
from research_shared.serving.fleet.workers import KILL_AFTER_S
from research_shared.serving.transports.draining import FOLLOW_UP_S
from research_shared.serving.transports.http import STOP_TIMEOUT_S
from research_shared.settings import FILE_SUFFIX, PREFIX, Settings

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "research-assistant.service"


@pytest.fixture
def options() -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, given, value = line.partition("=")
        if given and not line.startswith("#"):
            found[name].append(value)
    return found


def test_the_settings_are_settings_with_values_that_are_taken(
    options: dict[str, list[str]], tmp_path: Path
) -> None:
    variables = dict(each.split("=", 1) for each in options["Environment"])
    for name in [each for each in variables if each.endswith(FILE_SUFFIX)]:
        file = tmp_path / Path(variables[name]).name
        file.write_text("ann=a-secret-of-more-than-thirty-two-bytes", encoding="utf-8")
        variables[name] = str(file)
    settings = Settings.load({**variables, f"{PREFIX}ROOTS": str(tmp_path)})
    assert settings.auth_tokens
    assert settings.audit_key


def test_it_starts_a_command_and_stops_within_its_time(options: dict[str, list[str]]) -> None:
    (start,), (within,) = options["ExecStart"], options["TimeoutStopSec"]
    program, *arguments = shlex.split(start)
    assert Path(program).name == "research-assistant"
    app.parse_args(arguments, print_error=False, exit_on_error=False)
    drain_s = float(Settings.model_fields["drain_s"].default)
    assert float(within) > drain_s + FOLLOW_UP_S + STOP_TIMEOUT_S + KILL_AFTER_S


def test_it_may_write_where_the_settings_say_and_nowhere_else(options: dict[str, list[str]]) -> None:
    variables = dict(each.split("=", 1) for each in options["Environment"])
    assert options["ProtectSystem"] == ["strict"]
    assert options["NoNewPrivileges"] == ["yes"]
    assert options["CapabilityBoundingSet"] == [""]
    assert not {"0", "root"} & set(options["User"])
    (state,), (logs,) = options["StateDirectory"], options["LogsDirectory"]
    assert Path(variables["RESEARCH_INDEX_DIR"]).parent == Path("/var/lib", state)
    assert Path(variables["RESEARCH_AUDIT_LOG"]).parent == Path("/var/log", logs)
