"""Ask models behind LiteLLM's proxy, in both wire formats, and print what came of each call.

Usage: python tests/models/proxy.py DIRECTORY

DIRECTORY is where `install.py` has put the proxy. Its models answer or fail as its configuration says; one of them is
a server behind the proxy. Ends with status 1 unless every cell is a right answer, or an error whose hint names the setting
to change.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from fastmcp import Client
from fastmcp.client.logging import LogMessage

sys.path.insert(0, str(Path(__file__).parents[1]))

from clients.run import aligned
from models.checks import wrong_error, wrong_summary, wrong_synthesis
from research_gateway.app import build_gateway
from research_shared.settings import Settings
from support.clients import SAMPLES
from support.providers import FakeProvider, listening
from support.results import answer_of
from support.scripted import ScriptedModel
from support.serving import reserved_port

OK = "ok"
KEY = "sk-of-the-test"
STARTING_S = 150.0
CALL_S = 60.0
DOCUMENT = "client-impact.md"
QUOTE = "No client left during the pilot."
FINDING = {"claim": "No client left.", "quotes": [QUOTE]}
INSIGHT = {"claim": "No client left.", "evidence": ["1.1"]}
ANSWER = {
    "relevant": True,
    "findings": [FINDING],
    "answered": True,
    "synthesis": "No client left [1].",
    "insights": [INSIGHT],
}
"""An answer to both prompts of a synthesis: each takes the fields that it asked for."""

WIRE_FORMATS = ("openai", "anthropic")
SUMMARIZE, SYNTHESIZE = "summarize_document", "synthesize_research"
CALL_AGAIN = "Call again later"
ATTEMPTS = 3


@dataclass(frozen=True)
class Case:
    """A model of the proxy that is asked with one tool. `remedy` is what the error's hint has to name, if it has to fail."""

    model: str
    tool: str
    remedy: str | None = None
    key: str = KEY

    @property
    def passes_by(self) -> bool:
        """Whether the fault is one that another call may not meet."""
        return self.remedy == CALL_AGAIN


CASES = (
    Case("answers", SYNTHESIZE),
    Case("prose", SUMMARIZE),
    Case("behind-it", SYNTHESIZE),
    Case("behind-it", SUMMARIZE),
    Case("small-window", SUMMARIZE, "RESEARCH_MODEL_CALL_TOKENS"),
    Case("not-there", SUMMARIZE, "RESEARCH_PROVIDER_MODEL"),
    Case("prose", SUMMARIZE, "RESEARCH_PROVIDER_KEY", key="sk-of-nobody"),
    Case("busy", SUMMARIZE, CALL_AGAIN),
    Case("broken", SUMMARIZE, CALL_AGAIN),
)


def configuration(behind_it: str) -> dict[str, Any]:
    """Return what the proxy is told: models that answer a text or an error, and one of another server."""
    mocks = {
        "answers": json.dumps(ANSWER),
        "prose": "The pilot cost no client.\n\nFees grew.\n\nAvailability suffered on Fridays.",
        "small-window": "litellm.ContextWindowExceededError",
        "busy": "litellm.RateLimitError",
        "broken": "litellm.InternalServerError",
    }
    mocked = {"model": "openai/mocked", "api_key": "none"}
    passed_on = {"model": "hosted_vllm/a-model", "api_key": "none", "api_base": behind_it}
    models = {name: {**mocked, "mock_response": text} for name, text in mocks.items()}
    return {
        "model_list": [
            {"model_name": name, "litellm_params": params}
            for name, params in {**models, "behind-it": passed_on}.items()
        ],
        # What fails, fails: the retries that are tested are those of the server.
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": KEY},
    }


@asynccontextmanager
async def proxy(directory: Path, work: Path, behind_it: str) -> AsyncIterator[str]:
    """Run the proxy until the block ends; gives its address."""
    config = work / "config.yaml"
    config.write_text(json.dumps(configuration(behind_it)), encoding="utf-8")
    log = work / "proxy.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")},
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks for a newer one
        "HOME": str(work),
    }
    with reserved_port() as port, log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(directory / "bin" / "python"), str(directory / "bin" / "litellm")),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"),
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            await _alive(f"{url}/health/liveliness", process)
            yield url
        except BaseException:
            print(log.read_text(encoding="utf-8", errors="replace")[-5_000:], file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _alive(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(STARTING_S), httpx.AsyncClient() as http:
        while process.returncode is None:
            try:
                if (await http.get(url)).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)  # another program is starting; nothing tells when it listens
    raise RuntimeError(f"the proxy ended with status {process.returncode}")


def settings(url: str, wire_format: str, case: Case, work: Path) -> Settings:
    return Settings.load(
        {},
        roots=str(SAMPLES),
        audit_log=work / "audit.jsonl",
        model_route="provider",
        provider=wire_format,
        provider_url=url if wire_format == "anthropic" else f"{url}/v1",
        provider_model=case.model,
        provider_key=case.key,
        retry_attempts=ATTEMPTS,
        retry_base_s=0.01,
    )


def client_of(settings: Settings) -> Client[Any]:
    async def ignore(_message: LogMessage) -> None:
        """Only results are looked at."""

    return Client(build_gateway(settings), log_handler=ignore)


async def ask(url: str, wire_format: str, case: Case, work: Path) -> str:
    """Return the cell of one call: `ok`, or what is wrong."""
    arguments: dict[str, Any] = {"document_path": DOCUMENT}
    if case.tool == SYNTHESIZE:
        arguments = {"document_paths": [DOCUMENT], "research_question": "Did clients leave?"}
    try:
        async with (
            asyncio.timeout(CALL_S),
            client_of(settings(url, wire_format, case, work)) as client,
        ):
            answer = answer_of(await client.call_tool(case.tool, arguments, raise_on_error=False))
    except TimeoutError:
        return f"no answer in {CALL_S:.0f} s"
    return "; ".join(wrong(case, answer)) or OK


def wrong(case: Case, answer: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with an answer or an error."""
    if case.remedy is not None:
        return (
            wrong_fault(case, answer["error"]) if "error" in answer else ["an answer where none can be had"]
        )
    if "error" in answer:
        return [f"{answer['error']['code']}: {answer['error']['message']}"]
    if case.tool == SUMMARIZE:
        return wrong_summary(answer)
    found = wrong_synthesis(answer, {DOCUMENT: (SAMPLES / DOCUMENT).read_text(encoding="utf-8")})
    if not any(insight["verified"] for insight in answer["key_insights"]):
        found.append("no insight is verified")
    return found


def wrong_fault(case: Case, error: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a wanted error: its hint, whether it may be retried, and how often it was."""
    found = []
    if str(case.remedy) not in error["hint"]:
        found.append(f"the hint does not name {case.remedy}: {error['message']} Hint: {error['hint']}")
    if error["retryable"] != case.passes_by:
        found.append(f"retryable is {error['retryable']}: {error['message']}")
    if not case.passes_by:
        return found + wrong_error(error)
    if error["attempts"] != ATTEMPTS:
        found.append(f"tried {error['attempts']} times: {error['message']}")
    return found


async def main() -> int:
    directory = Path(sys.argv[1]).absolute()
    started = monotonic()
    cells: dict[tuple[Case, str], str] = {}
    with tempfile.TemporaryDirectory(prefix="proxy-") as work:
        async with (
            listening(FakeProvider(ScriptedModel())) as server,
            proxy(directory, Path(work), server.base_url("openai")) as url,
        ):
            print(f"the proxy answers after {monotonic() - started:.0f} s")
            for case in CASES:
                for wire_format in WIRE_FORMATS:
                    cells[case, wire_format] = await ask(url, wire_format, case, Path(work))
    lines = [["model behind LiteLLM", "tool", "wanted", *WIRE_FORMATS]]
    for case in CASES:
        wanted = "an answer" if case.remedy is None else f"hint: {case.remedy}"
        marks = ["ok" if cells[case, wire_format] == OK else "FAIL" for wire_format in WIRE_FORMATS]
        lines.append(
            [case.model if case.key == KEY else f"{case.model}, wrong key", case.tool, wanted, *marks]
        )
    print(aligned(lines))
    failures = {cell: text for cell, text in cells.items() if text != OK}
    for (case, wire_format), text in failures.items():
        print(f"{case.model}, {case.tool}, {wire_format}: {text}")
    print(f"{len(cells) - len(failures)} passed, {len(failures)} failed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
