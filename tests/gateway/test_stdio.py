"""Standard input of a server that its client has started."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from research_shared.serving.transports.stdio import detachable_stdin


@pytest.fixture
def client() -> Iterator[int]:
    """Let a pipe be standard input, and return the end that its client writes to."""
    kept = os.dup(0)
    end, entry = os.pipe()
    os.dup2(end, 0)
    os.close(end)
    yield entry
    os.dup2(kept, 0)
    os.close(kept)


def test_what_a_client_writes_after_the_input_has_ended_reaches_no_other_file(
    client: int, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    hang_up = detachable_stdin()
    (copying,) = set(threading.enumerate()) - before
    os.write(client, b"one")
    assert os.read(0, 100) == b"one"
    hang_up()
    assert os.read(0, 100) == b""
    with ExitStack() as opened:
        # Each takes the lowest number that is free: so many that one would get that of the closed end.
        files = [opened.enter_context((tmp_path / str(number)).open("wb")) for number in range(64)]
        os.write(client, b"two")
        os.close(client)
        copying.join(60)
        assert not copying.is_alive()
        for file in files:
            assert os.fstat(file.fileno()).st_size == 0
