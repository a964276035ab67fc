"""The program of a worker process: reads documents that it receives as open files, and sends back their pages.

It is started as a script, by its path, with an empty environment. It imports only the standard library,
`research_shared.formats` and what their readers need, so it starts quickly and holds no secrets. It cannot write files, the
system limits its memory and time, and it ends when its parent process ends.

The package is imported inside functions: the script learns where it is from its arguments.

A request is a length and a JSON object, with the file as an ancillary descriptor. The answer is a series of frames:
a kind (one byte), a length (four bytes, network order) and that many bytes. `START` opens the pages of one reader,
each page is a `PAGE` (its text, UTF-8), a `PICTURE` (a page without text that can be looked at) or a `MISSING`, the latter
two empty or with the reason, and `END` tells how it went. A request with `pictures` gets only these pages, recognised.
"""

import contextlib
import gc
import hashlib
import importlib
import json
import logging
import os
import re
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from research_shared.formats import PageContent

READY, START, PAGE, MISSING, CUT, END, PICTURE = range(7)
FRAME = struct.Struct("!BI")
REQUEST = struct.Struct("!I")
READ_BYTES = 4 * 1024 * 1024
PROBE = 32
"""Pages that the second reader tries before the first reader's result, no text, is accepted."""
GRACE_S = 5

# pdfium replaces a hyphen at a line's end, with the line break, by one of these characters.
_HYPHEN = re.compile("(?<=\\w)[\x02\ufffe](?:\r\n|\r|\n|(?=\\w)|$)")
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


class Job(NamedTuple):
    """A request: the format, the readers to try, the first page (1-based), and the limits.

    With `pictures` (numbers of pages in their order) only these are sent, as the program `recogniser` reads them.
    """

    media_type: str
    readers: list[str]
    first_page: int
    max_pages: int
    max_text_bytes: int
    timeout_s: float
    pictures: Sequence[int] = ()
    recogniser: Sequence[str] = ()
    picture_timeout_s: float = 0.0


Send = Callable[[int, bytes], None]


def tidy(text: str) -> bytes:
    r"""Return the lines of a page as UTF-8: `\n` between lines, hyphenated line ends restored, no other control character."""
    if "\x02" in text or "\ufffe" in text:
        text = _HYPHEN.sub("-\n", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    text = _CONTROL_CHARACTERS.sub("\ufffd", text)
    if not text.replace("\ufffd", "").strip():
        return b""
    text = text.rstrip("\n")
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Halves of a surrogate pair may be separate: join pairs, and replace other halves by U+FFFD.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def extract(job: Job, data: bytes, send: Send) -> tuple[str | None, list[str]]:
    """Send the pages of a document. Return the reason when there is no text, and the notes of the reader."""
    from research_shared.formats import DAMAGED, ENCRYPTED, NO_TEXT, UNDECODABLE, Refused, format_of

    document_format = format_of(job.media_type)
    digest = hashlib.sha256(data).hexdigest()
    reason, notes = DAMAGED, list[str]()
    for position, name in enumerate(job.readers):
        try:
            pages = document_format.reader(name).open(data, job.first_page, job.max_pages)
        except Refused as refusal:
            if reason != NO_TEXT:
                reason = refusal.reason
            if reason == ENCRYPTED:
                break
            continue
        header = {
            "reader": name,
            "pages": pages.total,
            "digest": digest,
            "metadata": pages.metadata.packed(),
        }
        send(START, json.dumps(header).encode())
        if job.pictures:
            send_recognised(pages.texts, job, send)
            return None, []
        found, looked_at, undecodable = send_pages(pages.texts, job, send, probe=PROBE if position else None)
        notes = pages.notes
        if found:
            return None, notes
        if undecodable:  # no other reader knows more about a font than it says itself
            return UNDECODABLE.value, notes
        if reason != NO_TEXT:
            reason = NO_TEXT if looked_at else DAMAGED
    if reason == DAMAGED and not document_format.recognises(data):
        reason = document_format.mismatch
    return reason, notes


def send_pages(
    texts: "Iterator[PageContent]", job: Job, send: Send, probe: int | None
) -> tuple[bool, bool, bool]:
    """Send the pages up to the text limit.

    Return whether there was text, whether any page could be read, and whether any is undecodable. Gives up after `probe`
    pages without text.
    """
    from research_shared.formats import UNDECODABLE, Picture

    room = job.max_text_bytes
    found = looked_at = undecodable = False
    for number, text in enumerate(texts, start=1):
        if text is None:
            send(MISSING, b"")
        elif isinstance(text, Picture):
            undecodable = undecodable or text.undecodable
            looked_at = looked_at or not text.undecodable
            send(PICTURE, UNDECODABLE.value.encode() if text.undecodable else b"")
        elif not isinstance(text, str):
            undecodable = True
            send(MISSING, text.value.encode())
        else:
            looked_at = True
            data = tidy(text)
            if len(data) > room:
                send(PAGE, data[:room].decode("utf-8", "ignore").encode())
                send(CUT, b"")
                return True, True, undecodable
            found = found or bool(data)
            room -= len(data) + 1
            send(PAGE, data)
        if not found and number == probe:
            break
    return found, looked_at, undecodable


def send_recognised(texts: "Iterator[PageContent]", job: Job, send: Send) -> None:
    """Send the wanted pictures among the pages, each as the text that is recognised on it, or missing."""
    from research_shared.formats import Picture, Refused
    from research_shared.formats._parts.recognition import recognise

    wanted = set(job.pictures)
    room = job.max_text_bytes
    for number, page in enumerate(texts, start=job.first_page):
        if number not in wanted:
            continue
        try:
            picture = page.draw() if isinstance(page, Picture) else None
        except Refused:
            send(MISSING, b"")
            continue
        text = recognise(picture, job.recogniser, job.picture_timeout_s) if picture is not None else ""
        if text is None:
            send(MISSING, b"")
            continue
        data = tidy("\n".join(line for line in text.splitlines() if line.strip()))[:room]
        room -= len(data)
        send(PAGE, data.decode("utf-8", "ignore").encode())


def read_all(fd: int) -> bytes:
    """Return the whole file, regardless of the position of the descriptor."""
    chunks: list[bytes] = []
    at = 0
    while chunk := os.pread(fd, READ_BYTES, at):
        chunks.append(chunk)
        at += len(chunk)
    return b"".join(chunks)


def receive(channel: socket.socket) -> tuple[Job, int] | None:
    """Return the next request and its open file, or None after the other side has closed the channel."""
    message, fds, _flags, _address = socket.recv_fds(channel, 65_536, 1)
    if not message:
        return None
    (length,) = REQUEST.unpack_from(message)
    while len(message) < REQUEST.size + length:
        message += channel.recv(65_536)
    return Job(**json.loads(message[REQUEST.size :])), fds[0]


def answer_requests(channel: socket.socket, retire_above: int) -> None:
    """Answer requests until the other side closes the channel, or this process holds more than `retire_above` bytes."""

    def send(kind: int, payload: bytes) -> None:
        channel.sendall(FRAME.pack(kind, len(payload)) + payload)

    from research_shared.formats import TOO_LARGE

    send(READY, b"")
    while (request := receive(channel)) is not None:
        job, fd = request
        # Ends this process even inside native code, if the parent no longer does.
        signal.setitimer(signal.ITIMER_REAL, job.timeout_s + GRACE_S)
        try:
            reason, notes = extract(job, read_all(fd), send)
        except MemoryError:
            reason, notes = TOO_LARGE, []
        finally:
            os.close(fd)
            signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        retire = memory_held() > retire_above
        answer: dict[str, Any] = {"reason": reason, "retire": retire, "notes": notes}
        send(END, json.dumps(answer).encode())
        if retire:
            return


def memory_held() -> int:
    """Return the memory of this process in bytes: resident now, or the peak where the system reports only that."""
    try:
        # Not `ru_maxrss`: on Linux it starts at the memory of the parent at the fork.
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def limit(memory_bytes: int) -> None:
    """Limit what reading a document does not need: memory, writing files, core dumps."""
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        # Not every system enforces each of these. The deadlines apply everywhere.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))


def end_with_parent(lifeline: int) -> None:
    """Wait until the other end of a pipe is closed, which also happens when its process is killed, then exit."""
    while os.read(lifeline, 1):
        pass
    from research_shared.formats._parts.recognition import end_running

    end_running()
    os._exit(0)


def preload() -> None:
    """Load the formats and their libraries before the time of the first request runs."""
    from research_shared.formats import formats

    for module in (name for each in formats() for name in each.preload):
        importlib.import_module(module)
    importlib.import_module("research_shared.formats._parts.recognition")


def main() -> None:
    """`_worker.py CHANNEL_FD MEMORY_BYTES PACKAGE_DIRECTORY…`, with a pipe as standard input."""
    channel_fd, memory, *packages = sys.argv[1:]
    sys.path.extend(packages)
    sys.dont_write_bytecode = True
    limit(int(memory))
    logging.disable()  # log lines could contain text of the document
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    threading.Thread(target=end_with_parent, args=(0,), daemon=True).start()
    preload()
    with socket.socket(fileno=int(channel_fd)) as channel, contextlib.suppress(BrokenPipeError):
        answer_requests(channel, retire_above=int(memory) // 4)


if __name__ == "__main__":
    main()
