"""A local ONNX model as the source of vectors, run by processes of its own."""

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from research_documents.search.semantic import _worker
from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_shared.logs import get_logger
from research_shared.processors import all_processors

log = get_logger("research.search")

MAX_VECTOR_BYTES: Final = 64 * 1024 * 1024
BACKGROUND_NICENESS: Final = 19
IDENTITY_VERSION: Final = "1"
"""Changes whenever the vectors of the same model and text change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of a model: weights, tokenizer, and how the vectors of its tokens become one."""

    model: Path
    tokenizer: Path
    pooling: str = "mean"

    @classmethod
    def found_in(cls, directory: Path) -> Self:
        """Return the files in a directory as they are published: `model.onnx` or `onnx/model.onnx`, and `tokenizer.json`.

        `1_Pooling/config.json` is heeded where it asks for the first token.

        Raises:
            EmbeddingFailed: one of them is not there.
        """
        model = next(
            (
                each
                for each in (directory / "model.onnx", directory / "onnx" / "model.onnx")
                if each.is_file()
            ),
            None,
        )
        if model is None:
            raise EmbeddingFailed("the directory of the embedding model has no model.onnx")
        tokenizer = directory / "tokenizer.json"
        if not tokenizer.is_file():
            raise EmbeddingFailed("the directory of the embedding model has no tokenizer.json")
        return cls(
            model=model, tokenizer=tokenizer, pooling=_pooling(directory / "1_Pooling" / "config.json")
        )

    def digest(self) -> str:
        """Return a digest of all files that decide the vectors."""
        whole = hashlib.sha256(self.pooling.encode())
        for path in (*sorted(self.model.parent.glob(f"{self.model.name}*")), self.tokenizer):
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()


def _pooling(config: Path) -> str:
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "mean"
    except (OSError, ValueError) as error:
        raise EmbeddingFailed("1_Pooling/config.json of the embedding model cannot be read") from error
    return (
        "cls" if isinstance(described, dict) and described.get("pooling_mode_cls_token") is True else "mean"
    )


def _package_directories() -> list[str]:
    places = (importlib.util.find_spec(name) for name in _worker.PACKAGES)
    return sorted({str(Path(each.origin).parents[1]) for each in places if each is not None and each.origin})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTimings:
    """How long an embedding process has, in seconds, to load the model, to answer one request, and to end."""

    start_timeout_s: float = 60.0
    answer_timeout_s: float = 120.0
    stop_timeout_s: float = 2.0


DEFAULT_PROCESS_TIMINGS = ProcessTimings()


class EmbeddingProcess:
    """One process that holds the model. A process that died or was killed is replaced by the next request."""

    def __init__(
        self, options: _worker.ModelOptions, timings: ProcessTimings = DEFAULT_PROCESS_TIMINGS
    ) -> None:
        self._options = options
        self._timings = timings
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Id of the process, if one runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text. A request whose process dies is sent once more, to its replacement.

        Raises:
            EmbeddingFailed: the model cannot be loaded, or fails with these texts.
        """
        async with self._turn:
            try:
                kind, count, size, payload = await self._answer(texts)
            except (
                BaseException
            ):  # also when cancelled: an answer that nobody read would be taken for the next one
                await self._kill()
                raise
        if kind != _worker.VECTORS:
            reason = payload.decode("utf-8", "replace")
            raise EmbeddingFailed(f"the embedding model failed ({reason})", about_texts=True)
        if count != len(texts):
            raise EmbeddingFailed("the embedding model gave another number of vectors")
        return np.frombuffer(payload, dtype="<f4").reshape(count, size).astype(np.float32)

    async def _answer(self, texts: Sequence[str]) -> tuple[int, int, int, bytes]:
        body = json.dumps(list(texts)).encode()
        try:
            return await self._ask(body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            await self._kill()
            log.warning("an embedding process ended or hung and is replaced", error=repr(error))
        try:
            return await self._ask(body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise EmbeddingFailed(
                "the process of the embedding model ends again and again", about_texts=True
            ) from error

    async def _ask(self, body: bytes) -> tuple[int, int, int, bytes]:
        process = await self._started()
        assert process.stdin is not None  # noqa: S101  (both are pipes)
        assert process.stdout is not None  # noqa: S101
        async with asyncio.timeout(self._timings.answer_timeout_s):
            process.stdin.write(_worker.TEXTS_HEAD.pack(len(body)) + body)
            await process.stdin.drain()
            return await _frame(process.stdout)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        with all_processors():
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", _worker.__file__, json.dumps(self._options._asdict()), *_package_directories(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None  # noqa: S101  (a pipe)
        async with asyncio.timeout(self._timings.start_timeout_s):
            kind, _, _, payload = await _frame(self._process.stdout)
        if kind != _worker.LOADED:
            log.warning("the embedding model cannot be loaded", error=payload.decode("utf-8", "replace"))
            raise EmbeddingFailed("the embedding model cannot be loaded")
        return self._process

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def stop(self) -> None:
        """End the process, which ends by itself when its input does, and wait for that."""
        async with self._turn:
            process, self._process = self._process, None
            if process is None:
                return
            assert process.stdin is not None  # noqa: S101  (a pipe)
            process.stdin.close()
            try:
                async with asyncio.timeout(self._timings.stop_timeout_s):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


async def _frame(source: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    kind, count, size = _worker.ANSWER_HEAD.unpack(await source.readexactly(_worker.ANSWER_HEAD.size))
    length = 4 * count * size if kind == _worker.VECTORS else size
    if length > MAX_VECTOR_BYTES:
        raise EmbeddingFailed("the embedding model gave more than fits")
    return kind, count, size, await source.readexactly(length)


class LocalModel:
    """Makes vectors with a model on this machine. Passages and queries have a process each, so that neither waits for the other.

    The process of passages runs at the lowest priority. `max_tokens` of a text are read. The prefixes are put before each
    query and each passage, as some models were trained.
    """

    batch = 16

    def __init__(
        self,
        directory: Path,
        *,
        max_tokens: int = 256,
        threads: int | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
        timings: ProcessTimings = DEFAULT_PROCESS_TIMINGS,
    ) -> None:
        self._directory = directory.expanduser().absolute()  # the processes run elsewhere
        self._max_tokens = max_tokens
        self._threads = threads or max((os.cpu_count() or 1) // 2, 1)
        self._prefixes = {True: query_prefix, False: passage_prefix}
        self._timings = timings
        self._processes: dict[bool, EmbeddingProcess] = {}

    async def identity(self) -> str:
        """Return a digest of the files and of what is done with them."""

        def described() -> str:
            try:
                digest = ModelFiles.found_in(self._directory).digest()
            except OSError as error:
                raise EmbeddingFailed("the files of the embedding model cannot be read") from error
            whole = [IDENTITY_VERSION, digest, self._max_tokens, self._prefixes[True], self._prefixes[False]]
            return f"onnx:{hashlib.sha256(json.dumps(whole).encode()).hexdigest()}"

        return await asyncio.to_thread(described)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the processes that run."""
        return tuple(each.pid for each in self._processes.values() if each.pid is not None)

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Return one vector for each text.

        Raises:
            EmbeddingFailed: the model cannot be loaded, or fails with these texts.
        """
        if query not in self._processes:
            files = ModelFiles.found_in(self._directory)
            options = _worker.ModelOptions(
                model=str(files.model),
                tokenizer=str(files.tokenizer),
                pooling=files.pooling,
                max_tokens=self._max_tokens,
                threads=self._threads,
                niceness=0 if query else BACKGROUND_NICENESS,
            )
            self._processes[query] = EmbeddingProcess(options, self._timings)
        prefix = self._prefixes[query]
        return await self._processes[query].embed([prefix + text for text in texts])

    async def close(self) -> None:
        """End the processes."""
        processes, self._processes = list(self._processes.values()), {}
        for process in processes:
            await process.stop()
