"""The doctor asks the model, whatever else the settings say."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from research_gateway.cli.doctor.models import model_findings
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.providers import fake_provider
from support.scripted import ScriptedModel

POLICY = '[[rules]]\nprincipals = ["ann"]\nallow = ["public/**"]\n'


@pytest.mark.parametrize("policy", [POLICY, "this is no TOML"])
async def test_the_model_is_asked_whatever_the_policy_and_the_servers_are(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda _level, **_: None)
    (tmp_path / "research").mkdir()
    (tmp_path / "policy.toml").write_text(policy, encoding="utf-8")
    async with fake_provider(ScriptedModel()) as provider:
        given: dict[str, Any] = {
            "roots": (Root("research", tmp_path / "research"),),
            "policy": tmp_path / "policy.toml",
            "tasks_url": SecretStr("redis://127.0.0.1:1/0"),
            "reasoning_url": "http://127.0.0.1:1/mcp",
            "provider": "openai",
            "provider_url": provider.base_url("openai"),
            "provider_model": "m",
        }
        settings = Settings(**given)
        (finding,) = await anyio.to_thread.run_sync(lambda: list(model_findings(settings, ask=True)))
    assert (finding.status, finding.text) == ("ok", "m of openai answers")
