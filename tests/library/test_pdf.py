"""PDFs, read in processes that can be lost."""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter

from research_shared.reading.extraction import Extracted, Unreadable, WorkerPool, _worker, read_binary
from research_shared.reading.extraction.binary import _Extraction, in_words
from research_shared.reading.extraction.worker import Worker, WorkerLost, WorkerTimings
from research_shared.reading.limits import Limits
from support.pdf_files import (
    CATALOG,
    FONT,
    TEXT,
    a_page_of_a_million_texts,
    page,
    pages,
    pdf,
    plain_pdf,
    show,
    stream,
)

pytestmark = pytest.mark.usefixtures("own_workers")

MIB = 1024 * 1024
MEMORY = 4096 * MIB  # enough that time, not memory, is what runs out


@pytest.fixture
def timings() -> WorkerTimings:
    """Those of the workers; a test that needs others gives them as a parameter."""
    return WorkerTimings()


@pytest.fixture
async def pool(timings: WorkerTimings) -> AsyncIterator[WorkerPool]:
    workers = WorkerPool(1, MEMORY, timings=timings)
    yield workers
    await workers.stop()


Read = Callable[..., Any]
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
"""For processes that are killed, or cannot write: they would leave broken coverage data behind."""


@pytest.fixture
def read(pool: WorkerPool, tmp_path: Path) -> Read:
    async def read_content(content: bytes, **limits: Any) -> Extracted:
        file = tmp_path / "a.pdf"
        file.write_bytes(content)
        fd = os.open(file, os.O_RDONLY)
        try:
            return await read_binary(pool, fd, "application/pdf", Limits(**limits))
        finally:
            os.close(fd)

    return read_content


async def reason(reading: Any) -> str:
    with pytest.raises(Unreadable) as refusal:
        await reading
    return refusal.value.reason


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (processes raise no event)
            await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:  # it went away just now, or there is no such file system
        return not Path("/proc/self").exists()
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_pages_become_lines_that_count_through_the_document(read: Read) -> None:
    extracted = await read(plain_pdf("one\ntwo", "", "three"))
    assert extracted.data == b"one\ntwo\nthree"
    assert extracted.page_starts == (1, 3, 3)
    assert extracted.engine.startswith("pypdfium2 5.")
    assert extracted.notes == ("page 2 has no text (blank)",)


async def test_two_documents_are_read_by_the_same_process(read: Read, pool: WorkerPool) -> None:
    await read(plain_pdf("one"))
    pids = pool.pids
    await read(plain_pdf("two"))
    assert pool.pids == pids
    assert len(pids) == 1


async def test_a_password_makes_a_document_encrypted(read: Read, tmp_path: Path) -> None:
    plain = tmp_path / "plain.pdf"
    plain.write_bytes(plain_pdf(TEXT))
    for user, owner in (("secret", "secret"), ("", "secret")):
        writer = PdfWriter(clone_from=PdfReader(plain))
        writer.encrypt(user, owner, algorithm="RC4-128")
        writer.write(tmp_path / "locked.pdf")
        reading = read((tmp_path / "locked.pdf").read_bytes())
        if user:
            assert await reason(reading) == "encrypted"
        else:  # anyone may open it
            assert (await reading).data == TEXT.encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a PDF"),
        (b"PK\x03\x04", "not a PDF"),
        (b"%PDF-1.7\n", "damaged"),
        (plain_pdf(TEXT)[:200], "damaged"),
        (plain_pdf(""), "no text (scanned?)"),
        (pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: pages([], 0)}), "damaged"),
    ],
)
async def test_a_document_without_text_says_why(read: Read, content: bytes, expected: str) -> None:
    assert await reason(read(content)) == expected


def slow_on(*slow: int) -> bytes:
    """A document of three pages, some of which take seconds."""
    single = a_page_of_a_million_texts()
    start = single.index(b"11 0 obj\n") + len(b"11 0 obj\n")
    heavy = single[start : single.index(b"\nendobj", start)]
    objects = {1: CATALOG, 2: pages([10, 12, 14], 3), 3: FONT}
    for number, text in enumerate(("first", "second", "third"), start=1):
        objects[8 + 2 * number] = page(9 + 2 * number)
        objects[9 + 2 * number] = heavy if number in slow else stream(show(text))
    return pdf(objects)


@pytest.fixture
def time_passes_after_a_page(monkeypatch: pytest.MonkeyPatch, pass_time: Callable[[float], None]) -> None:
    """A minute passes once the first page has come and the second one is waited for."""
    take = _Extraction._take
    pages = 0

    def taken(reading: _Extraction, kind: int, payload: bytes) -> None:
        nonlocal pages
        take(reading, kind, payload)
        pages += kind == _worker.PAGE
        if kind == _worker.PAGE and pages == 1:
            asyncio.get_running_loop().call_soon(pass_time, 60)

    monkeypatch.setattr(_Extraction, "_take", taken)


@pytest.mark.usefixtures("time_passes_after_a_page")
async def test_a_page_that_takes_too_long_is_left_out(read: Read) -> None:
    extracted = await read(slow_on(2), page_timeout_s=50, document_timeout_s=3600)
    assert extracted.data == b"first\nthird"
    assert extracted.page_starts == (1, 2, 2)
    assert extracted.missing_pages == (2,)
    assert extracted.notes == ("page 2 could not be read and is missing",)


@pytest.mark.usefixtures("time_passes_after_a_page")
async def test_a_document_that_takes_too_long_keeps_its_finished_pages(read: Read, pool: WorkerPool) -> None:
    extracted = await read(slow_on(2, 3), page_timeout_s=3600, document_timeout_s=50)
    assert extracted.data == b"first"
    assert extracted.missing_pages == (2, 3)
    assert extracted.notes == (
        "pages 2-3 could not be read and are missing",
        "reading took longer than is allowed and was stopped",
    )
    assert pool.pids == ()
    assert (await read(plain_pdf("next"))).data == b"next"


@pytest.mark.usefixtures("workers_stand_still")
async def test_a_document_of_which_no_page_is_read_in_time_says_so(read: Read) -> None:
    assert await reason(read(plain_pdf("one"), document_timeout_s=0.05)) == "timed out"


async def test_a_process_that_dies_is_replaced(read: Read, pool: WorkerPool) -> None:
    await read(plain_pdf("one"))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    assert (await read(plain_pdf("two"))).data == b"two"
    assert pid not in pool.pids


async def test_a_process_that_died_unnoticed_is_replaced(
    read: Read, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await read(plain_pdf("one"))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_alive(pid))
    monkeypatch.setattr(
        Worker, "alive", property(lambda worker: worker._finalizer.alive)
    )  # whatever the system says
    extracted = await read(plain_pdf("two"))
    assert extracted.data == b"two"
    assert extracted.engine.startswith("pypdfium2 ")


async def test_processes_that_never_live_to_be_given_a_job_are_reported(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_args: Any) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(socket, "send_fds", gone)
    assert await reason(read(plain_pdf("one"))) == "not available"


async def test_more_pages_or_text_than_allowed_are_cut_with_a_note(read: Read) -> None:
    content = plain_pdf("one", "two", "three")
    extracted = await read(content, max_pages=2)
    assert extracted.data == b"one\ntwo"
    assert extracted.page_starts == (1, 2)
    assert extracted.notes == ("only the first 2 of 3 pages were read",)
    extracted = await read(content, max_text_bytes=6)
    assert extracted.data == b"one\ntw"
    assert extracted.notes == ("the text was cut after 6 bytes, on page 2 of 3",)


async def test_a_waiting_reader_gets_its_turn_and_one_that_leaves_does_not_hold_it_up(
    pool: WorkerPool,
) -> None:
    order: list[str] = []
    release = asyncio.Event()

    async def hold(name: str) -> None:
        async with pool.slot():
            order.append(name)
            await release.wait()

    tasks = [asyncio.create_task(hold(name)) for name in ("first", "second", "third")]
    await until(lambda: order == ["first"])
    tasks[1].cancel()
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["first", "third"]
    async with pool.slot():
        pass


async def test_a_turn_that_comes_with_a_cancellation_is_passed_on(pool: WorkerPool) -> None:
    async def use() -> None:
        async with pool.slot():
            await asyncio.sleep(0)

    async with pool.slot():
        waiting = asyncio.create_task(use())
        await asyncio.sleep(0)
    waiting.cancel()  # it has been handed the slot, and has not run since
    with suppress(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(60), pool.slot():
        pass


async def test_stopping_ends_processes_at_work_too(pool: WorkerPool) -> None:
    async with pool.slot() as slot:
        pid = (await slot.worker()).pid
        await pool.stop()
        await until(lambda: not is_alive(pid))


async def test_a_forgotten_worker_ends_its_process() -> None:
    worker = await Worker.start(MEMORY)
    pid = worker.pid
    del worker
    gc.collect()
    await until(lambda: not is_alive(pid))


async def test_a_process_that_does_not_stop_is_killed() -> None:
    worker = await Worker.start(MEMORY, WorkerTimings(stop_timeout_s=0.05))
    os.kill(worker.pid, signal.SIGSTOP)
    await worker.stop()
    assert not is_alive(worker.pid)


async def test_processes_end_when_the_server_is_killed(tmp_path: Path) -> None:
    """Even in the middle of native code, and with nobody left to tell them."""
    slow = tmp_path / "slow.pdf"
    slow.write_bytes(a_page_of_a_million_texts())
    script = (
        "import asyncio, os, sys\n"
        "from research_shared.reading.extraction import WorkerPool, read_binary\n"
        "from research_shared.reading.limits import Limits\n"
        "async def main():\n"
        f"    pool = WorkerPool(1, {2048 * MIB})\n"
        "    async with pool.slot() as slot:\n"
        "        print((await slot.worker()).pid, flush=True)\n"
        "    fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "    await read_binary(pool, fd, 'application/pdf', Limits())\n"
        "asyncio.run(main())\n"
    )
    server = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", script, slow], stdout=subprocess.PIPE, text=True, env=UNMEASURED
    )
    assert server.stdout is not None
    pid = int(await asyncio.to_thread(server.stdout.readline))
    server.kill()
    server.wait()
    server.stdout.close()
    await until(lambda: not is_alive(pid))


@pytest.mark.parametrize("timings", [WorkerTimings(start_timeout_s=0.2)], ids=["impatient"])
@pytest.mark.parametrize(
    "program", ["raise SystemExit", "import signal; signal.pause()", "import os; os.write(3, b'')"]
)
async def test_a_process_that_does_not_come_up_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Read, program: str
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(program, encoding="utf-8")
    monkeypatch.setattr(_worker, "__file__", str(script))
    assert await reason(read(plain_pdf(TEXT))) == "no process"


async def test_no_process_at_all_is_reported(monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert await reason(read(plain_pdf(TEXT))) == "no process"


SPEAKS = """
import json, os, socket, struct, sys
channel = socket.socket(fileno=int(sys.argv[1]))
def send(kind, payload=b""):
    channel.sendall(struct.pack("!BI", kind, len(payload)) + payload)
READY, START, PAGE, MISSING, CUT, END = range(6)
HEADER = json.dumps({"reader": "pypdfium2", "pages": 1, "digest": "0"}).encode()
send(%(first)s)
channel.recv(100000)
%(then)s
channel.recv(100000)
"""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("PAGE", ""),
        ("READY", "send(PAGE, b'text')"),
        ("READY", "send(START, b'{}')"),
        ("READY", "send(START, b'no json')"),
        ("READY", "send(START, HEADER); send(PAGE, b'\\xff')"),
        ("READY", "channel.sendall(struct.pack('!BI', PAGE, 2**32 - 1))"),
        ("READY", "send(END, b'[]')"),
        ("READY", "send(END, json.dumps({'reason': None, 'retire': False, 'notes': [1]}).encode())"),
        ("READY", "send(END, json.dumps({'reason': 'x' * 100, 'retire': False, 'notes': []}).encode())"),
    ],
)
async def test_a_process_that_was_taken_over_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Read, first: str, then: str
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(SPEAKS % {"first": first, "then": then}, encoding="utf-8")
    monkeypatch.setattr(_worker, "__file__", str(script))
    expected = {"no process", "not available", "damaged", "no text (scanned?)"}
    assert await reason(read(plain_pdf(TEXT), max_pages=4)) in expected


async def test_pages_beyond_those_announced_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Read
) -> None:
    script = tmp_path / "worker.py"
    many = "send(START, HEADER); [send(PAGE, b'x') for _ in range(9)]"
    script.write_text(SPEAKS % {"first": "READY", "then": many}, encoding="utf-8")
    monkeypatch.setattr(_worker, "__file__", str(script))
    extracted = await read(plain_pdf(TEXT))
    assert (extracted.data, extracted.page_starts) == (b"x", (1,))


async def test_a_process_that_has_grown_is_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Read, pool: WorkerPool
) -> None:
    script = tmp_path / "worker.py"
    retires = (
        "send(START, HEADER); send(PAGE, b'x'); "
        "send(END, json.dumps({'reason': None, 'retire': True, 'notes': []}).encode())"
    )
    script.write_text(SPEAKS % {"first": "READY", "then": retires}, encoding="utf-8")
    monkeypatch.setattr(_worker, "__file__", str(script))
    assert (await read(plain_pdf(TEXT))).data == b"x"
    assert pool.pids == ()


async def test_a_job_for_a_process_that_has_gone_is_lost() -> None:
    worker = await Worker.start(MEMORY)
    worker.kill()
    job = _worker.Job("application/pdf", ["pypdf"], 1, 1, 100, 1.0)
    loop = asyncio.get_running_loop()
    with pytest.raises(WorkerLost):
        async for _ in worker.run(job, 0, deadline=loop.time() + 1, page_timeout_s=1):
            pass


# What the process itself does, seen from within.


def answers(content: bytes, retire_above: int = 2**60, **wanted: Any) -> list[tuple[int, Any]]:
    """The frames that one request is answered with, `READY` first."""
    job = {
        "media_type": "application/pdf",
        "readers": ["pypdfium2", "pypdf"],
        "first_page": 1,
        "max_pages": 99,
        "max_text_bytes": 9999,
        **wanted,
    }
    read_end, write_end = os.pipe()
    ours, theirs = socket.socketpair()
    file = os.memfd_create("a.pdf") if hasattr(os, "memfd_create") else write_end
    os.write(file, content)
    message = json.dumps({**job, "timeout_s": 30.0}).encode()
    # In two parts, as a stream may bring it.
    socket.send_fds(ours, [_worker.REQUEST.pack(len(message)) + message[:10]], [file])

    def send_the_rest() -> None:
        ours.sendall(message[10:])
        ours.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send_the_rest)
    thread.start()
    _worker.answer_requests(theirs, retire_above)
    thread.join()
    theirs.close()
    received = b"".join(iter(lambda: ours.recv(65_536), b""))
    ours.close()
    for fd in {read_end, write_end, file}:
        os.close(fd)
    frames: list[tuple[int, Any]] = []
    while received:
        kind, length = _worker.FRAME.unpack_from(received)
        payload = received[_worker.FRAME.size : _worker.FRAME.size + length]
        is_json = kind in {_worker.START, _worker.END}
        frames.append((kind, json.loads(payload) if is_json else payload))
        received = received[_worker.FRAME.size + length :]
    return frames


@pytest.mark.parametrize("engine", ["pypdfium2", "pypdf"])
def test_each_reader_sends_its_pages(engine: str) -> None:
    ready, start, *sent, end = answers(plain_pdf("one", "two", "three"), readers=[engine], first_page=2)
    assert ready == (_worker.READY, b"")
    assert start[1]["reader"] == engine
    assert start[1]["pages"] == 3
    assert [payload.split() for _, payload in sent] == [[b"two"], [b"three"]]
    assert end == (_worker.END, {"reason": None, "retire": False, "notes": []})


def test_a_process_says_when_it_has_grown_too_large() -> None:
    assert answers(plain_pdf(TEXT), retire_above=0)[-1] == (
        _worker.END,
        {"reason": None, "retire": True, "notes": []},
    )


def test_the_second_reader_is_asked_when_the_first_finds_nothing() -> None:
    frames = answers(plain_pdf("", ""))
    engines = [payload["reader"] for kind, payload in frames if kind == _worker.START]
    assert engines == ["pypdfium2", "pypdf"]
    assert frames[-1][1]["reason"] == "no text (scanned?)"


def test_the_second_reader_gives_up_early_when_it_finds_nothing_either() -> None:
    frames = answers(plain_pdf(*[""] * (_worker.PROBE + 10)))
    assert sum(kind == _worker.PAGE for kind, _ in frames) == 2 * _worker.PROBE + 10


@pytest.mark.parametrize("engine", ["pypdfium2", "pypdf"])
@pytest.mark.parametrize(
    ("content", "expected"), [(b"%PDF-1.7\n", "damaged"), (b"nothing like it", "not a PDF")]
)
def test_each_reader_refuses_what_it_cannot_open(engine: str, content: bytes, expected: str) -> None:
    assert answers(content, readers=[engine])[-1] == (
        _worker.END,
        {"reason": expected, "retire": False, "notes": []},
    )


@pytest.mark.parametrize("engine", ["pypdfium2", "pypdf"])
def test_each_reader_knows_a_password_is_missing(engine: str, tmp_path: Path) -> None:
    (tmp_path / "plain.pdf").write_bytes(plain_pdf(TEXT))
    writer = PdfWriter(clone_from=PdfReader(tmp_path / "plain.pdf"))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    frames = answers((tmp_path / "locked.pdf").read_bytes(), readers=[engine])
    assert frames[-1][1]["reason"] == "encrypted"


@pytest.mark.parametrize("engine", ["pypdfium2", "pypdf"])
def test_each_reader_goes_on_behind_a_bad_page(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pypdf
    import pypdfium2

    def fail(*_args: object, **_kwargs: object) -> str:
        raise (pypdfium2.PdfiumError if engine == "pypdfium2" else KeyError)("bad page")

    monkeypatch.setattr(pypdfium2.PdfPage, "get_textpage", fail)
    monkeypatch.setattr(pypdf.PageObject, "extract_text", fail)
    frames = answers(plain_pdf("one", "two"), readers=[engine])
    assert [kind for kind, _ in frames] == [
        _worker.READY, _worker.START, _worker.MISSING, _worker.MISSING, _worker.END,
    ]  # fmt: skip
    assert frames[-1][1]["reason"] == "damaged"


def test_running_out_of_memory_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import pypdf

    def fail(*_args: object, **_kwargs: object) -> str:
        raise MemoryError

    monkeypatch.setattr(pypdf.PageObject, "extract_text", fail)
    assert answers(plain_pdf(TEXT), readers=["pypdf"])[-1][1]["reason"] == "too large"
    monkeypatch.setattr(pypdf, "PdfReader", fail)
    assert answers(plain_pdf(TEXT), readers=["pypdf"])[-1][1]["reason"] == "too large"


def test_text_beyond_the_limit_is_cut_between_characters() -> None:
    frames = answers(plain_pdf("ééé", "more"), max_text_bytes=5)
    assert [payload for kind, payload in frames if kind == _worker.PAGE] == ["éé".encode()]
    assert (_worker.CUT, b"") in frames


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\r\ntwo\rthree\n", "one\ntwo\nthree"),
        ("univer\x02sally", "univer-\nsally"),
        ("univer\ufffesally", "univer-\nsally"),
        ("univer\x02\r\nsally", "univer-\nsally"),
        ("at the end of a page\x02", "at the end of a page-"),
        ("\x02alone \x10", "\ufffdalone \ufffd"),
        ("\x0cpage\x0cbreak", "\npage\nbreak"),
        (" \r\n\t ", ""),
        ("\x01\x02\x03", ""),
        ("\ud83e\udd4a and \ud83e", "🥊 and \ufffd"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_the_text_of_a_page_is_tidied(text: str, expected: str) -> None:
    assert _worker.tidy(text).decode() == expected


def test_a_process_gives_up_what_it_does_not_need() -> None:
    script = (
        "import resource, runpy, sys\n"
        f"worker = runpy.run_path({_worker.__file__!r})\n"
        f"worker['limit']({MEMORY})\n"
        "print([resource.getrlimit(kind)[0] for kind in"
        " (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)])\n"
        "try:\n"
        f"    bytearray({MEMORY})\n"
        "except MemoryError:\n"
        "    print('bounded')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, env=UNMEASURED
    )
    assert done.stdout.splitlines() == [f"[{MEMORY}, 0, 0, 32]", "bounded"]


def test_memory_is_known_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MIB < _worker.memory_held() < 8192 * MIB

    def missing(_path: Path) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", missing)
    on_linux = _worker.memory_held()
    monkeypatch.setattr("sys.platform", "darwin")
    assert on_linux == _worker.memory_held() * 1024


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((7,), "page 7"),
        ((2, 4, 5, 6), "pages 2, 4-6"),
        (tuple(range(1, 30, 2)), "pages 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 5 more"),
    ],
)
def test_page_numbers_are_put_in_words(numbers: tuple[int, ...], words: str) -> None:
    assert in_words(numbers) == words
