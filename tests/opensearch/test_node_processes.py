"""Indexers as operators run them, in processes of their own that are killed, on a real node behind a door that can be shut."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_documents.opensearch.layout import DocumentRecord, IndexNames
from support.processes import BIN

DOCUMENTS = 200
"""Enough for several batches."""
LIMIT_S = 120.0


class Door:
    """Passes requests on to a node. From the bulk request of passages with this number on, they wait behind it."""

    def __init__(self, node: str, shut_at: int) -> None:
        self.reached = threading.Event()
        """Set when the first request waits."""
        self.opened = threading.Event()
        self._count = 0
        self._lock = threading.Lock()
        door, client = self, httpx.Client(base_url=node, timeout=LIMIT_S)

        class Handler(BaseHTTPRequestHandler):
            def pass_on(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.path.startswith("/_bulk") and b"-passages-" in content:
                    door.wait_for_turn(shut_at)
                headers = {"content-type": self.headers.get("content-type") or "application/json"}
                answer = client.request(self.command, self.path, content=content, headers=headers)
                with suppress(OSError):  # whoever asked may be dead
                    self.send_response(answer.status_code)
                    self.send_header("content-length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

            do_GET = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815  (names of http.server)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # closing waits for what was let through
        self._client = client
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def wait_for_turn(self, shut_at: int) -> None:
        with self._lock:
            self._count += 1
            waits = self._count >= shut_at
        if waits:
            self.reached.set()
            self.opened.wait(LIMIT_S)

    @contextmanager
    def serving(self) -> Iterator["Door"]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.opened.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()
            self._client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    for number in range(DOCUMENTS):
        (made / f"{number:03}.md").write_text(f"# Part {number}\n\nWords of {number}.\n", encoding="utf-8")
    return made


def push(url: str, prefix: str, folder: Path, *options: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESEARCH_", "COV"))}
    return subprocess.Popen(
        [str(BIN / "research-assistant"), "index", "push", "--json", "--root", str(folder), *options],
        env={**kept, "RESEARCH_SEARCH_URL": url, "RESEARCH_SEARCH_INDEX": prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]", status: int) -> tuple[str, str]:
    said, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status, errors
    return said, errors


def found(cluster: str, alias: str) -> list[dict[str, Any]]:
    httpx.post(f"{cluster}/{alias}/_refresh", timeout=60)
    body = {"size": 5_000, "query": {"match_all": {}}}
    answer = httpx.post(f"{cluster}/{alias}/_search", json=body, timeout=60).raise_for_status().json()
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def test_an_indexer_that_is_killed_is_continued_where_it_was(cluster: str, prefix: str, folder: Path) -> None:
    names = IndexNames(prefix=prefix)
    with Door(cluster, shut_at=3).serving() as door:
        process = push(door.url, prefix, folder)
        assert door.reached.wait(LIMIT_S)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == -signal.SIGKILL
    records = [DocumentRecord.from_source(source) for source in found(cluster, names.documents)]
    done = {record.path for record in records if record.complete}
    assert 0 < len(done) < DOCUMENTS
    said, _ = ended(push(cluster, prefix, folder), 0)
    report = json.loads(said)
    assert (report["pushed"], report["unchanged"]) == (DOCUMENTS - len(done), len(done))
    records = [DocumentRecord.from_source(source) for source in found(cluster, names.documents)]
    assert len(records) == DOCUMENTS
    assert all(record.complete and not record.hidden for record in records)
    passages = found(cluster, names.passages)
    assert sorted((each["path"], each["version"]) for each in passages) == sorted(
        (record.path, record.version) for record in records
    )


def test_one_of_two_indexers_works_and_the_other_says_who(cluster: str, prefix: str, folder: Path) -> None:
    with Door(cluster, shut_at=1).serving() as door:
        first = push(door.url, prefix, folder)
        assert door.reached.wait(LIMIT_S)
        _, errors = ended(push(cluster, prefix, folder), 2)
        assert f"another indexer writes this index: process {first.pid} on " in errors
        door.opened.set()
        said, _ = ended(first, 0)
    assert json.loads(said)["pushed"] == DOCUMENTS


def test_sigterm_ends_an_indexer_that_follows_and_gives_its_lease_back(
    cluster: str, prefix: str, folder: Path
) -> None:
    process = push(cluster, prefix, folder, "--watch")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any(line == "}\n" for line in lines)  # the end of the report: it follows the folder now
    process.send_signal(signal.SIGTERM)
    ended(process, 0)
    state = {name: source for source in found(cluster, f"{prefix}-state") for name in source}
    assert state["lease"]["lease"] == {}
    assert state["push"]["push"]["agreed_at"] != ""
    assert state["push"]["push"]["watching"] is False
