"""`research-assistant index push` and `index status`: what they print, and their exit status."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_documents.opensearch.layout import CLUSTER_SCHEMA, IndexNames
from research_documents.opensearch.pushing import IndexLease
from research_gateway.cli import app
from support.fake_cluster import Cluster, FakeCluster

URL = "http://search.example:9200"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCluster:
    """A cluster in memory that the commands ask, and a folder with two documents."""
    made = FakeCluster()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: made.answer(request))
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda *_, **__: None)
    monkeypatch.setenv("RESEARCH_SEARCH_URL", URL)
    monkeypatch.setenv("RESEARCH_ROOTS", str(tmp_path / "folder"))
    (tmp_path / "folder").mkdir()
    for name in ("a.md", "b.md"):
        (tmp_path / "folder" / name).write_text(f"Of {name}.\n", encoding="utf-8")
    return made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        app(["index", *arguments])
    assert isinstance(end.value.code, int | None)
    return end.value.code or 0


@pytest.mark.usefixtures("fake")
def test_push_and_status_say_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 1
    assert "research: there is no index yet: research-assistant index push" in capsys.readouterr().out
    assert run("push") == 0
    said = capsys.readouterr()
    assert (
        "pushed 2 documents with 2 passages; unchanged 0, removed 0; the index now has 2 documents"
        in said.out
    )
    assert said.err == "2 of 2 documents\n"
    assert run("status") == 0
    said = capsys.readouterr()
    assert "research: 2 documents with 2 passages, and 0 without text" in said.out
    assert "it held all of the folder at 20" in said.out
    assert f"it was fed from {socket.gethostname()}:{tmp_path}/folder" in said.out
    assert "no indexer writes now" in said.out


@pytest.mark.usefixtures("fake")
def test_both_speak_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("push", "--json") == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (report["pushed"], report["documents"], report["failed"]) == (2, 2, [])
    assert run("status", "--json") == 0
    status: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (status["index"], status["documents"], status["passages"]) == ("research", 2, 2)
    assert status["schema"] == status["needed_schema"] == CLUSTER_SCHEMA
    assert status["push"]["waiting"] == 0
    assert status["indexer"] is None


def test_a_document_that_is_refused_is_named_and_changes_the_status(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse_b(request: httpx.Request) -> httpx.Response | None:
        lines = request.content.decode().splitlines() if request.url.path == "/_bulk" else []
        heads = [json.loads(line).get("index") for line in lines[::2]]
        if not any(head and "-passages-" in head["_index"] for head in heads):
            return None
        taken, refused = {"status": 201}, {"status": 400, "error": {"type": "mapper_parsing_exception"}}
        items = [{"index": refused if '"b.md"' in line else taken} for line in lines[1::2]]
        return httpx.Response(200, json={"items": items})

    fake.before = refuse_b
    assert run("push") == 1
    assert "b.md: refused by the cluster: mapper_parsing_exception" in capsys.readouterr().out
    assert run("status") == 0
    assert "1 refused" in capsys.readouterr().out


def test_what_keeps_it_from_pushing_is_one_line(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(status: int) -> None:
        fake.before = lambda _: httpx.Response(status, json={"error": {"type": "x", "reason": "y"}})

    for status, sentence in ((401, "does not accept the credentials"), (403, "does not let this user")):
        failing(status)
        for command in ("push", "status"):
            assert run(command) == 2
            said = capsys.readouterr()
            assert sentence in said.err
            assert said.err.count("\n") == 1
    monkeypatch.delenv("RESEARCH_SEARCH_URL")
    assert run("push") == 2
    assert "RESEARCH_SEARCH_URL is not set" in capsys.readouterr().err


def test_a_second_indexer_ends_and_names_the_first(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("push") == 0
    capsys.readouterr()
    monkeypatch.setattr("research_documents.opensearch.pushing.lease._this_machine", lambda: "")
    names = IndexNames(prefix="research")
    first = IndexLease(Cluster(names, fake).client(), names)
    first.acquire()
    defaults = dict(IndexLease.__init__.__kwdefaults__ or {}, sleep=lambda _: first.renew())
    monkeypatch.setattr(IndexLease.__init__, "__kwdefaults__", defaults)
    assert run("push") == 2
    said = capsys.readouterr()
    assert "waiting whether the indexer is still there" in said.err
    assert "another indexer writes this index: process" in said.err
    assert run("status") == 0
    assert "an indexer writes: process" in capsys.readouterr().out


def test_another_schema_is_told_with_what_to_do(
    fake: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("push") == 0
    for index in fake.indices.values():
        index.body["mappings"]["_meta"]["schema"] = "0"
    assert run("push") == 2
    assert f"the index has the schema 0, and this version needs {CLUSTER_SCHEMA}" in capsys.readouterr().err
    assert run("status") == 1
    assert "research-assistant index push --full" in capsys.readouterr().out
    assert run("push", "--full") == 0
    assert run("status") == 0


def test_another_folder_of_the_same_name_is_refused_in_one_line(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESEARCH_SEARCH_FOLDER_ID", "archive-1")
    assert run("push") == 0
    monkeypatch.delenv("RESEARCH_SEARCH_FOLDER_ID")
    capsys.readouterr()
    assert run("push") == 2
    said = capsys.readouterr().err
    assert (
        "the index was fed from the folder with RESEARCH_SEARCH_FOLDER_ID=archive-1, and none is set here: "
        in said
    )
    assert fake.aliases
    assert run("push", "--full") == 0
    (tmp_path / "other" / "folder").mkdir(parents=True)
    monkeypatch.setenv("RESEARCH_ROOTS", str(tmp_path / "other" / "folder"))
    (tmp_path / "other" / "folder" / "x.md").write_text("Of another.\n", encoding="utf-8")
    capsys.readouterr()
    assert run("push") == 2
    said = capsys.readouterr().err
    assert "of 2 documents that the index has of the research folder 'folder', 0 are in this one" in said
    assert said.count("\n") == 1


def test_what_the_embedding_model_did_not_do_is_told_and_changes_the_status(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    refuses = False

    async def embed(_: object, request: httpx.Request) -> httpx.Response:
        if refuses:
            return httpx.Response(401)
        texts = json.loads(await request.aread())["input"]
        return httpx.Response(200, json={"data": [{"embedding": [1.0, 2.0, 3.0]} for _ in texts]})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", embed)
    monkeypatch.setenv("RESEARCH_EMBEDDING_URL", "http://embed.example")
    monkeypatch.setenv("RESEARCH_EMBEDDING_MODEL", "minilm")
    fake.knn = True
    assert run("push") == 0
    assert "hybrid" not in capsys.readouterr().out
    assert run("status") == 0
    assert "hybrid: vectors of 3 components\n" in capsys.readouterr().out
    refuses = True
    (tmp_path / "folder" / "c.md").write_text("Of c.\n", encoding="utf-8")
    assert run("push") == 1
    missing = "the embeddings endpoint refuses the key"
    assert f"hybrid: 1 document has no vectors, or not all: {missing}" in capsys.readouterr().out
    assert run("status") == 0
    assert f"hybrid: vectors of 3 components; some passages have none: {missing}" in capsys.readouterr().out
    monkeypatch.setenv("RESEARCH_EMBEDDING_MODEL", "another")
    assert run("push") == 2
    assert "the index has the vectors of another embedding model" in capsys.readouterr().err
