"""The models: the one that answers, and the one that embeds."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from research_gateway.cli.doctor.finding import Finding
from research_shared.base_errors import ConfigurationError
from research_shared.text.sizes import one_or_many

if TYPE_CHECKING:
    from research_shared.settings import Settings


def model_findings(settings: "Settings", *, ask: bool) -> Iterator[Finding]:
    """Yield whether the model of the settings answers; with `ask`, it is asked for one short answer."""
    if settings.provider is None:
        yield Finding(
            about="model",
            status="ok" if settings.model_route == "extractive" else "warning",
            text="none of its own: clients with sampling give theirs, for others answers are chosen sentences or errors",
            remedy="Set RESEARCH_PROVIDER, RESEARCH_PROVIDER_MODEL and RESEARCH_PROVIDER_KEY (docs/providers.md).",
        )
        return
    named = f"{settings.provider_model} of {settings.provider}"
    if not ask:
        yield Finding(about="model", status="ok", text=f"{named} (not asked)")
        return
    problem = _asked(settings)
    if problem is None:
        yield Finding(about="model", status="ok", text=f"{named} answers")
    else:
        message, _, hint = problem.partition("\nHint: ")
        yield Finding(about="model", status="problem", text=f"{named}: {message}", remedy=hint or None)


def _asked(settings: "Settings") -> str | None:
    """Have the provider's model summarize a short note; return the error of the tool, or None."""
    from research_gateway.cli.session import CallFailed, Session, session_of
    from research_shared.root import Root

    with tempfile.TemporaryDirectory(prefix="research-assistant-") as directory:
        folder = Path(directory) / "folder"
        folder.mkdir()
        (folder / "note.md").write_text(
            "# Note\n\nThe office in Leeds opened on 4 May 2021.\n", encoding="utf-8"
        )
        # Only the model is asked: what else the settings say has findings of its own.
        changes = {
            "roots": (Root("check", folder),),
            "policy": None,
            "client_roots": "ignore",
            "documents_url": None,
            "reasoning_url": None,
            "mcp_config": None,
            "metrics": False,
            "model_route": "provider",
            "index_dir": None,
            "watch": False,
            "audit_log": Path(directory) / "audit.jsonl",
            "retry_attempts": 1,
        }

        async def job(session: Session) -> str | None:
            try:
                await session.call("summarize_document", document_path="note.md", summary_length="brief")
            except CallFailed as error:
                return str(error)
            return None

        try:
            return session_of(settings.model_copy(update=changes), job)
        except ConfigurationError as error:
            return settings.origins.as_written(error.message)


def meaning_finding(settings: "Settings", *, ask: bool) -> Finding:
    """Return the state of hybrid search: whether its packages are there, its model answers, and what is embedded."""
    about = "hybrid search"
    if settings.embedding_dir is None and settings.embedding_url is None:
        return Finding(
            about=about,
            status="ok",
            text="off: RESEARCH_EMBEDDING_DIR or RESEARCH_EMBEDDING_URL adds it (docs/search.md)",
        )
    from research_documents.search.semantic import EmbeddingFailed
    from research_documents.search.semantic.build import missing_packages, tried

    if missing := missing_packages(settings):
        return Finding(
            about=about,
            status="problem",
            text=f"not installed: {', '.join(missing)}",
            remedy="pip install 'research-assistant-mcp[semantic]'",
        )
    address = urlsplit(settings.embedding_url or "")
    host = address._replace(
        netloc=address.netloc.rpartition("@")[2], query=""
    ).geturl()  # without a password or a key
    named = str(settings.embedding_dir or f"{settings.embedding_model} at {host}")
    if not ask:
        return Finding(about=about, status="ok", text=f"{named} (not asked)")
    try:
        dimension, kept = anyio.run(tried, settings)
    except EmbeddingFailed as failure:
        return Finding(
            about=about,
            status="problem",
            text=f"{named}: {failure}",
            remedy="Have RESEARCH_EMBEDDING_DIR name a directory with model.onnx and tokenizer.json, or check "
            "RESEARCH_EMBEDDING_URL, _MODEL and _KEY.",
        )
    share = (
        "vectors are on the search cluster: research-assistant index status"
        if settings.search_url is not None
        else "vectors are made anew at each start"
        if settings.index_dir is None
        else f"{kept or 0:,} {one_or_many(kept or 0, 'vector is', 'vectors are')} kept"
    )
    return Finding(about=about, status="ok", text=f"{named} answers with {dimension} components; {share}")
