"""Recognition of the text in a picture (OCR) by a program of the machine, run as a child of a worker process."""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Sequence

_MARGIN_S = 5
_running: "list[subprocess.Popen[bytes]]" = []


def recognise(picture: bytes, command: Sequence[str], timeout_s: float) -> str | None:
    """Return the text that a program finds in a picture, or None when it fails or takes too long.

    The program gets the picture at its standard input and writes UTF-8. It inherits the limits of this process, and is
    killed with it.
    """
    try:
        process = subprocess.Popen(  # noqa: S603  (the operator's program, found at start)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread each: a page is what is done at once, and more threads make it no faster.
            env={"OMP_THREAD_LIMIT": "1"},
            cwd="/",
        )
    except OSError:
        return None
    _running.append(process)
    try:
        _limit_time(process.pid, timeout_s)
        found, _ = process.communicate(picture, timeout_s)
    except (subprocess.TimeoutExpired, OSError):
        return None
    finally:
        process.kill()
        process.wait()
        _running.remove(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    return found.decode("utf-8", "replace") if process.returncode == 0 else None


def end_running() -> None:
    """Kill the program that is running, before this process ends."""
    for process in _running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _limit_time(pid: int, timeout_s: float) -> None:
    """End the program even when this process is killed before it can do so, where the system has a way."""
    if hasattr(resource, "prlimit"):
        most = int(timeout_s) + _MARGIN_S
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_CPU, (most, most))
