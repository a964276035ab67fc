"""Builds the semantic index that the settings ask for."""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from research_documents.search.semantic._worker import PACKAGES
from research_shared.logs import get_logger
from research_shared.retry import RetryPolicy
from research_shared.settings import Settings

if TYPE_CHECKING:
    from research_documents.search.semantic.embedder import Embedder
    from research_documents.search.semantic.semantic_index import SemanticIndex

log = get_logger("research.search")


def missing_packages(settings: Settings) -> list[str]:
    """Return which packages are not installed that the settings need: an endpoint needs NumPy only."""
    needed: Sequence[str] = PACKAGES if settings.embedding_dir is not None else PACKAGES[:1]
    return [name for name in needed if importlib.util.find_spec(name) is None]


def not_installed(missing: Sequence[str]) -> str:
    """Return that packages are missing, and how to install them, as a clause."""
    return (
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed here "
        "(pip install 'research-assistant-mcp[semantic]')"
    )


def embedder_of(settings: Settings) -> "Embedder":
    """Return the local model or the endpoint of the settings, which name one of them."""
    if settings.embedding_dir is not None:
        from research_documents.search.semantic.local_model import LocalModel

        return LocalModel(
            settings.embedding_dir,
            max_tokens=settings.embedding_tokens,
            query_prefix=settings.embedding_query_prefix or "",
            passage_prefix=settings.embedding_passage_prefix or "",
        )
    from research_documents.search.semantic.endpoint import EmbeddingEndpoint

    return EmbeddingEndpoint(
        settings.embedding_url or "",
        settings.embedding_model or "",
        key=settings.embedding_key,
        timeout_s=settings.embedding_timeout_s,
        retry=RetryPolicy(
            attempts=settings.retry_attempts,
            base_s=settings.retry_base_s,
            deadline_s=settings.retry_deadline_s,
        ),
        query_prefix=settings.embedding_query_prefix or "",
        passage_prefix=settings.embedding_passage_prefix or "",
    )


def embedder_if_installed(settings: Settings) -> "tuple[Embedder | None, str]":
    """Return the model of the settings, which name one; or None and why there is none, as a clause."""
    if missing := missing_packages(settings):
        log.warning("hybrid search needs packages that are not installed", missing=missing)
        return None, not_installed(missing)
    return embedder_of(settings), ""


def semantic_of(settings: Settings) -> "tuple[SemanticIndex | None, str]":
    """Return the semantic index of the settings, which ask for one; or None and why there is none, as a clause."""
    embedder, absent = embedder_if_installed(settings)
    if embedder is None:
        return None, absent
    from research_documents.search.semantic.semantic_index import SemanticIndex

    return SemanticIndex(embedder, directory=vector_directory(settings)), ""


def vector_directory(settings: Settings) -> Path | None:
    """Return where the vectors of these research folders are kept: beside the index, and through all versions of its readers."""
    if settings.index_dir is None:
        return None
    places = json.dumps([[root.name, str(root.directory)] for root in settings.roots])
    return settings.index_dir / f"vectors-{hashlib.sha256(places.encode()).hexdigest()[:16]}"


async def tried(settings: Settings) -> tuple[int, int | None]:
    """Have the model embed a sentence. Return the components of its vector, and how many vectors are kept.

    The latter is None where nothing is kept.

    Raises:
        EmbeddingFailed: it does not answer.
    """
    embedder = embedder_of(settings)
    try:
        identity = await embedder.identity()
        vectors = await embedder.embed(["Where are the documents?"], query=True)
    finally:
        await embedder.close()
    directory = vector_directory(settings)
    if directory is None or not directory.is_dir():
        return int(vectors.shape[1]), None
    from research_documents.search.semantic.vector_file import mapped_generation

    kept = mapped_generation(directory, identity)
    return int(vectors.shape[1]), len(kept[1]) if kept is not None else 0
