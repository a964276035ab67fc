"""What makes vectors: an endpoint over HTTP, and the process of a local model."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from research_documents.search.semantic import _worker
from research_documents.search.semantic.embedder import EmbeddingFailed
from research_documents.search.semantic.endpoint import EmbeddingEndpoint
from research_documents.search.semantic.local_model import (
    EmbeddingProcess,
    LocalModel,
    ModelFiles,
    ProcessTimings,
)
from research_shared.retry import RetryPolicy
from support.embedding import until

Answer = Callable[[httpx.Request], httpx.Response]


def endpoint(answer: Answer, **options: object) -> EmbeddingEndpoint:
    async def no_wait(_seconds: float) -> None:
        pass

    return EmbeddingEndpoint(
        "http://localhost:11434/v1/",
        "minilm",
        key=SecretStr("sk-secret"),
        retry=RetryPolicy(attempts=3, sleep=no_wait),
        new_client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(answer)),
        **options,  # type: ignore[arg-type]
    )


def vectors(*rows: list[float]) -> httpx.Response:
    items = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return httpx.Response(200, json={"object": "list", "data": items[::-1], "model": "minilm"})


async def test_texts_are_posted_as_openai_wants_them_and_vectors_come_in_their_order() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return vectors([1, 0], [0, 2])

    embedder = endpoint(answer, passage_prefix="passage: ")
    found = await embedder.embed(["one", "two"], query=False)
    await embedder.close()
    (request,) = requests
    assert str(request.url) == "http://localhost:11434/v1/embeddings"
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert json.loads(request.content) == {"model": "minilm", "input": ["passage: one", "passage: two"]}
    assert np.array_equal(found, np.array([[1, 0], [0, 2]]))


async def test_passages_are_asked_for_again_after_a_passing_failure_and_queries_are_not() -> None:
    answers = [httpx.Response(503), httpx.Response(429, headers={"retry-after": "1"}), vectors([1.0])]
    embedder = endpoint(lambda _: answers.pop(0))
    assert (await embedder.embed(["one"], query=False)).shape == (1, 1)
    answers.append(httpx.Response(503))
    with pytest.raises(EmbeddingFailed, match="status 503"):
        await embedder.embed(["one"], query=True)
    await embedder.close()


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no route to sk-secret", request=request)


@pytest.mark.parametrize(
    ("answer", "message", "about_texts"),
    [
        (lambda _: httpx.Response(401, json={"error": "sk-secret is no key"}), "refuses the key", False),
        (lambda _: httpx.Response(404), "does not exist", False),
        (lambda _: httpx.Response(400, text="input too long"), "status 400", True),
        (lambda _: httpx.Response(302, headers={"location": "http://else.where/"}), "status 302", True),
        (unreachable, "cannot be reached", False),
        (lambda _: httpx.Response(200, text="<html>"), "is not JSON", False),
        (lambda _: httpx.Response(200, json={"data": []}), "one vector for each text", False),
        (lambda _: httpx.Response(200, json={"data": [{"embedding": ["x"]}]}), "one vector", False),
        (lambda _: httpx.Response(200, json={"data": [{"embedding": []}]}), "one vector", False),
        (lambda _: httpx.Response(200, text='{"data": [{"embedding": [NaN]}]}'), "one vector", False),
        (lambda _: vectors([1.0], [2.0]), "one vector for each text", False),
    ],
)
async def test_what_is_no_answer_is_a_failure_without_the_key(
    answer: Answer, message: str, *, about_texts: bool
) -> None:
    embedder = endpoint(answer)
    with pytest.raises(EmbeddingFailed, match=message) as raised:
        await embedder.embed(["one"], query=False)
    await embedder.close()
    assert "sk-secret" not in str(raised.value)
    assert raised.value.about_texts is about_texts


@pytest.mark.parametrize(
    "proxy",
    ["http://u:secretpart/rest@proxy:3128", "ftp://u:secretpart@proxy", "socks5://u:secretpart@proxy"],
)
@pytest.mark.parametrize("query", [False, True])
async def test_a_proxy_that_cannot_be_used_is_a_failure_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch, *, query: bool
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    embedder = EmbeddingEndpoint("https://models.example", "minilm")
    with pytest.raises(EmbeddingFailed, match="HTTPS_PROXY") as raised:
        await embedder.embed(["one"], query=query)
    await embedder.close()
    assert "secretpart" not in str(raised.value)


async def test_vectors_of_another_server_model_or_prefix_are_told_apart() -> None:
    identities = {
        await EmbeddingEndpoint(url, model, query_prefix=prefix).identity()
        for url in ("http://one:1", "http://two:1")
        for model in ("a", "b")
        for prefix in ("", "query: ")
    }
    assert len(identities) == 8
    same = [
        await EmbeddingEndpoint(url, "a").identity() for url in ("http://one:1", "http://one:1/v1/embeddings")
    ]
    assert same[0] == same[1]


# The local model. This program takes the place of the model's: it answers with the length of each text, and can be told to end.

STAND_IN = """
import json, os, struct, sys
sys.path.insert(0, {directory!r})
import _worker
class Lengths:
    def vector(self, text):
        import numpy
        if text == "die": os._exit(1)
        if text == "fail": raise ValueError("secret text")
        if text == "hang":
            import time
            while True: time.sleep(60)
        return numpy.array([len(text), 1.0])
_worker.OnnxModel = lambda options: Lengths()
_worker.main()
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingProcess:
    program = tmp_path / "stand_in.py"
    directory = str(Path(_worker.__file__).parent)
    program.write_text(STAND_IN.format(directory=directory), encoding="utf-8")
    monkeypatch.setattr(_worker, "__file__", str(program))
    options = _worker.ModelOptions("model", "tokenizer", "mean", 256, threads=1, niceness=1)
    return EmbeddingProcess(options)


async def test_a_process_that_is_killed_is_replaced(process: EmbeddingProcess) -> None:
    first = await process.embed(["one", "three"])
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    second = await process.embed(["one", "three"])
    assert np.array_equal(first, [[3, 1], [5, 1]])
    assert np.array_equal(first, second)
    assert process.pid not in {None, pid}
    with pytest.raises(EmbeddingFailed, match="again and again") as raised:
        await process.embed(["one", "die"])
    assert raised.value.about_texts
    with pytest.raises(EmbeddingFailed, match=r"failed \(ValueError\)$"):
        await process.embed(["fail"])
    assert (await process.embed(["one"])).shape == (1, 2)
    await process.stop()
    assert process.pid is None


async def test_an_answer_that_nobody_waits_for_is_not_taken_for_the_next_one(
    process: EmbeddingProcess,
) -> None:
    await process.embed(["one"])
    waiting = asyncio.create_task(process.embed(["hang"]))
    await until(process._turn.locked)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert np.array_equal(await process.embed(["four"]), [[4, 1]])
    await process.stop()


async def test_a_model_that_is_not_there_or_no_model_is_a_failure_without_its_path(tmp_path: Path) -> None:
    model = LocalModel(tmp_path, timings=ProcessTimings())
    for missing in ("model.onnx", "tokenizer.json"):
        with pytest.raises(EmbeddingFailed, match=missing) as raised:
            await model.identity()
        assert str(tmp_path) not in str(raised.value)
        (tmp_path / missing).write_bytes(b"nothing")
    with pytest.raises(EmbeddingFailed, match=r"^the embedding model cannot be loaded$"):
        await model.embed(["one"], query=False)
    await model.close()


async def test_the_files_of_a_model_are_found_as_they_are_published(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    mean = ModelFiles.found_in(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    first_token = ModelFiles.found_in(tmp_path)
    assert (mean.model, mean.pooling, first_token.pooling) == (
        tmp_path / "onnx" / "model.onnx",
        "mean",
        "cls",
    )
    before = first_token.digest()
    assert before != mean.digest()
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}', encoding="utf-8")
    assert first_token.digest() != before
