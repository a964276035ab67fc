"""Fixtures that every part of the suite uses."""

import asyncio
import functools
import gc
import inspect
import json
import logging
import os
import re
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

# Each process that a test starts would compile all modules again, and pytest those that it rewrites, Hypothesis among them.
# Set here, before xdist starts its processes.
if (
    os.environ.get("RESEARCH_TEST_BYTECODE") != "0"
):  # mutation.py changes sources faster than bytecode is told apart
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from support.spare_workers import SpareWorkers

# A machine may be slow, and what fails is to be the change: the same examples are tried every time.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

GC_GEN0_THRESHOLD = 50_000
"""New objects before a garbage collection, as in a process that only serves."""


# What is imported and collected stays: to look for garbage in it, again and again, takes a part of that time.
gc.disable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors: many tests wait for a process of their own to start or to end."""
    return min(os.cpu_count() or 1, 7) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that the long variants change, where tests are chosen by their marks."""
    if config.getoption("markexpr"):
        from support.variants import is_long

        for item in items:
            if isinstance(item, pytest.Function) and is_long(
                item.path, {item.function.__name__, *item.fixturenames}
            ):
                item.add_marker("long")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what is imported by now out of later garbage collections: looking at it again takes a fifth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_GEN0_THRESHOLD, *gc.get_threshold()[1:])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from here on, also in the process of xdist that collects no tests."""
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Collect garbage again after a command that serves, which turns the collector off while it starts."""
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _time_to_start() -> Iterator[None]:
    """Do not take a process that is slow to start for one that does not know 2026-07-28."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcp.client.session.DISCOVER_TIMEOUT_SECONDS", 120.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def _certificates_are_read_once() -> Iterator[None]:
    """Every HTTP client reads the authorities that the system trusts, which takes longer than most requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(autouse=True, scope="session")
def _schemas_are_checked_once() -> Iterator[None]:
    """Every client checks the schemas of the tools that it calls, which takes longer than most calls."""
    from jsonschema import Draft202012Validator

    check, checked = Draft202012Validator.check_schema, set[str]()

    def check_once(schema: Any, *options: Any, **named: Any) -> None:
        text = json.dumps([schema, options, named], default=repr)
        if text not in checked:
            check(schema, *options, **named)
            checked.add(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft202012Validator, "check_schema", check_once)
        yield


ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@pytest.fixture(autouse=True, scope="session")
def _tools_are_parsed_once() -> Iterator[None]:
    """Each server makes the schemas of the same tools again, which takes longer than most calls.

    The schema of a tool follows from its code, its description and its signature, in which validators count by name only;
    arguments are validated by the function's own signature, when it is called.
    """
    from fastmcp.server.dependencies import transform_context_annotations
    from fastmcp.tools.function_parsing import ParsedFunction

    parse, parsed = ParsedFunction.from_function, dict[Any, ParsedFunction]()

    def parse_once(function: Callable[..., Any], *options: Any) -> ParsedFunction:
        if not function.__module__.startswith("research_"):
            return parse(function, *options)
        signature = ADDRESS.sub("", str(inspect.signature(function)))
        key = (inspect.unwrap(function).__code__, function.__doc__, signature, options)
        if key not in parsed:
            found = parse(function, *options)
            # Without the function itself, which would keep its server.
            parsed[key] = replace(found, fn=parse_once)
            return found
        known = parsed[key]
        return replace(
            known,
            fn=transform_context_annotations(function),
            input_schema=deepcopy(known.input_schema),
            output_schema=deepcopy(known.output_schema),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ParsedFunction, "from_function", parse_once)
        yield


@pytest.fixture(autouse=True, scope="module")
def _ended_servers_are_let_go() -> Iterator[None]:
    """FastMCP remembers thousands of functions, each with the server that it belongs to, for garbage collections to look at."""
    from fastmcp.server.dependencies import without_injected_parameters
    from fastmcp.server.sessions import session_id_parameter_names
    from fastmcp.tools.function_tool import _wrap_body_errors
    from fastmcp.utilities.types import get_cached_typeadapter

    yield
    for remembered in (
        without_injected_parameters,
        session_id_parameter_names,
        _wrap_body_errors,
        get_cached_typeadapter,
    ):
        remembered.cache_clear()


class _ToStderr(logging.Handler):
    """Writes to what is `sys.stderr` at the time, as a test may capture it."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> Iterator[None]:
    """Errors are what many tests ask for, and to write each traceback in colours takes longer than the call."""
    import fastmcp  # noqa: F401  (it sets up its logger when it is imported, which is not to be overtaken)

    logger = logging.getLogger("fastmcp")
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    before, logger.handlers = logger.handlers, [handler]
    yield
    logger.handlers = before


@pytest.fixture(autouse=True, scope="session")
def _spare_workers() -> "Iterator[SpareWorkers]":
    """Servers of different tests may read their documents with the same processes, one after the other."""
    from support.spare_workers import (
        spare_workers,  # what is imported before the tests is not measured for coverage
    )

    with spare_workers() as spare:
        yield spare


@pytest.fixture
def own_workers(_spare_workers: "SpareWorkers") -> Iterator[None]:
    """For a test about worker processes: each server starts its own, and ends them."""
    _spare_workers.enabled = False
    yield
    _spare_workers.enabled = True


@pytest.fixture
def workers_stand_still(own_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop each process that reads documents as soon as it has started: no document takes it longer, on any machine."""
    from research_shared.reading.extraction.worker import Worker

    start = Worker.start

    async def stopped(*args: Any) -> Worker:
        worker = await start(*args)
        os.kill(worker.pid, signal.SIGSTOP)
        return worker

    monkeypatch.setattr(Worker, "start", stopped)


@pytest.fixture(autouse=True)
def _same_user() -> Iterator[None]:
    """Blame the test that leaves the process to another user, not those that come after it."""
    before = os.geteuid()
    yield
    if (left := os.geteuid()) != before:
        os.seteuid(before)
        pytest.fail(f"the process was left to user {left}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock of the event loop on by so many seconds: what waits for a time has waited for it at once.

    So a limit can be generous towards a busy machine, and still be seen to hold.
    """
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0

    def move(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + passed)
    return move
