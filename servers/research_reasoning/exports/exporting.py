"""Exports an answer: reads what its sources say about themselves, and writes the file."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from research_reasoning.exports.bibtex import bibtex
from research_reasoning.exports.csl import csl_json
from research_reasoning.exports.markdown import markdown
from research_reasoning.exports.references import Linker, SourceReference, unique_keys
from research_reasoning.replies.layout_text import locator_text
from research_reasoning.replies.results import Export, ExportFormat, Synthesis
from research_shared.errors import ResearchError, ResponseTooLarge
from research_shared.formats import NO_METADATA, media_type_of
from research_shared.reading.library import Library
from research_shared.text.tokens import Estimator

MAX_EXPORT_TOKENS: Final = 12_000
"""Estimated tokens of an export, which the reply holds besides the answer."""
UNKNOWN_TYPE: Final = "application/octet-stream"
_QUOTE_CHARS: Final = (1_500, 300, 80)
"""Characters of a quote in an export: of one that is too long, fewer."""
_BIBLIOGRAPHIES: dict[ExportFormat, Callable[..., str]] = {"bibtex": bibtex, "csl-json": csl_json}


async def exported(
    result: Synthesis, export: ExportFormat, library: Library, link: Linker, estimate: Estimator
) -> Export:
    """Return an answer, or its used sources, as a file. `link` gives the addresses of documents.

    A source that cannot be read any more is named by its path alone. Of many sources, those with quotes are kept.

    Raises:
        ResponseTooLarge: the file would be longer than a reply holds.
    """
    used = [(number, source) for number, source in enumerate(result.sources, 1) if source.status == "used"]
    references = [await _reference(number, source.path, library, link) for number, source in used]
    keys = unique_keys((each.number, each.metadata, each.path) for each in references)
    references = [replace(each, key=key) for each, key in zip(references, keys, strict=True)]
    quoted = _places(result)
    for quote_chars in _QUOTE_CHARS:
        if export == "markdown":
            content = markdown(result, references, link, quote_chars=quote_chars)
        else:
            content = _BIBLIOGRAPHIES[export](references, quoted)
        if estimate(content) <= MAX_EXPORT_TOKENS:
            return Export(format=export, content=content)
        if export != "markdown":
            references = [each for each in references if each.path in quoted]
    raise ResponseTooLarge(
        "the export of this answer is longer than a reply holds",
        hint="Ask about fewer documents, or leave export out.",
    )


async def _reference(number: int, path: str, library: Library, link: Linker) -> SourceReference:
    try:
        text = await library.read(path)
    except ResearchError:
        metadata, media_type = NO_METADATA, media_type_of(path) or UNKNOWN_TYPE
    else:
        metadata, media_type = text.metadata, text.media_type
    return SourceReference(
        number=number, path=path, media_type=media_type, metadata=metadata, url=link(path, None)
    )


def _places(result: Synthesis) -> dict[str, list[str]]:
    """Return the places of the verified quotes by document, each once."""
    found: dict[str, dict[str, None]] = {}
    for item in result.quotes():
        if item.verified:
            found.setdefault(item.document, {})[locator_text(item)] = None
    return {path: list(places) for path, places in found.items()}
