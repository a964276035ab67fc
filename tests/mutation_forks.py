"""A pytest session that is collected once and forks a process for each mutant: the other end of `mutation.py`.

Started as `python mutation_forks.py DESCRIPTOR`, with a socket as the descriptor. Both ends send lines of JSON. The first
line received names the files that will be mutated and the tests. Each later line asks for one run, whose process has
everything imported already: the function that holds the mutant gets new code in place, so that all names that other modules
have imported mean the mutant.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest


class Channel:
    """Lines of JSON over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = b""

    def send(self, **message: Any) -> None:
        """Send one message."""
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, limit_s: float | None = None) -> dict[str, Any]:
        """The next message, an empty one when the other end is closed.

        Raises:
            TimeoutError: there is none for `limit_s` seconds.
        """
        self.connection.settimeout(limit_s)
        while b"\n" not in self._received:
            received = self.connection.recv(1 << 20)
            if not received:
                return {}
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def top_functions(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes, without those inside functions, in the order of the source."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            is_function = bool(constant.co_flags & 0x2)  # CO_NEWLOCALS: not the body of a class
            yield from (constant,) if is_function else top_functions(constant)


def lines_of(code: CodeType) -> set[int]:
    """The lines of a function, and of those inside it."""
    lines = {line for _, _, line in code.co_lines() if line is not None}
    return lines.union(*(lines_of(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def replace_function(
    loaded: Iterable[FunctionType], file: str, line: int, *, original: bytes, mutated: bytes
) -> bool:
    """Give the function of `file` that has this line its new code. False: it cannot be done in place."""
    pairs = [
        (old, new)
        for old, new in zip(
            top_functions(compile(original, file, "exec", dont_inherit=True)),
            top_functions(compile(mutated, file, "exec", dont_inherit=True)),
            strict=True,
        )
        if line in lines_of(old)
    ]
    if len(pairs) != 1:
        return False
    ((old, new),) = pairs
    functions = [it for it in loaded if it.__code__ == old]
    if not functions or old.co_freevars != new.co_freevars:
        return False
    for function in functions:
        function.__code__ = new
    return True


def tracer(files: list[str]) -> coverage.Coverage:
    """Records which lines of the files run."""
    return coverage.Coverage(data_file=None, include=files, config_file=False, messages=False)


class Forks:
    """The plugin: takes the place of the loop over the tests in the first process, and watches it in the others."""

    def __init__(self, channel: Channel, files: list[str], imports: coverage.Coverage) -> None:
        self._channel = channel
        self._files = files
        self._originals = {file: Path(file).read_bytes() for file in files}
        self._imports = imports
        self._loaded: list[FunctionType] = []
        self._trace: coverage.Coverage | None = None
        self._cpu_s: dict[str, float] = {}
        self._forked = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        """Find the functions that can be mutated, before the suite hides what is imported from the garbage collector."""
        found = (it for it in gc.get_objects() if isinstance(it, FunctionType))
        self._loaded = [it for it in found if it.__code__.co_filename in self._originals]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Fork for each request. In the new process: let pytest run the tests that were asked for."""
        self._imports.stop()
        data = self._imports.get_data()
        self._channel.send(
            collected=[item.nodeid for item in session.items],
            errors=session.testsfailed,
            imported={file: sorted(data.lines(file) or ()) for file in self._files},
        )
        while request := self._channel.receive():
            process = os.fork()
            if process == 0:
                return self._prepare(session, request)
            _, status = os.waitpid(process, 0)
            self._channel.send(ended=os.waitstatus_to_exitcode(status))
        return True

    def _prepare(self, session: pytest.Session, request: dict[str, Any]) -> bool | None:
        self._forked = True
        os.setsid()
        self._channel.send(process=os.getpid())
        items = {item.nodeid: item for item in session.items}
        session.items[:] = [items[name] for name in request["tests"]]
        self._cpu_s = request.get("cpu_s", {})
        if file := request.get("file"):
            mutated = Path(file).read_bytes()
            original = self._originals[file]
            if not replace_function(self._loaded, file, request["line"], original=original, mutated=mutated):
                self._channel.send(impossible=True)
                return True
        else:
            self._trace = tracer(self._files)
            self._trace.start()
        return None

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell which test runs, and let it end the process (`SIGPROF`) when it computes for too long."""
        if self._trace is not None:
            self._trace.switch_context(nodeid)
        signal.setitimer(signal.ITIMER_PROF, self._cpu_s.get(nodeid, 0.0))
        self._channel.send(started=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell which test fails."""
        if report.failed:
            self._channel.send(failed=report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Tell which test runs which line."""
        if not self._forked or self._trace is None:
            return
        self._trace.stop()
        data = self._trace.get_data()
        for file in self._files:
            lines = {
                line: [name for name in names if name]
                for line, names in data.contexts_by_lineno(file).items()
            }
            self._channel.send(file=file, lines=lines)


def main(descriptor: int) -> int:
    """Collect the tests and serve the requests."""
    channel = Channel(socket.socket(fileno=descriptor))
    asked = channel.receive()
    imports = tracer(asked["files"])
    imports.start()
    options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "--no-header"]
    return pytest.main([*options, *asked["tests"]], plugins=[Forks(channel, asked["files"], imports)])


if __name__ == "__main__":
    # without what runs at exit: a thread that a mutant has left behind would be waited for
    code = main(int(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)
