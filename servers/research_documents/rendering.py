"""Results as compact Markdown for language models: the same facts as the structured results, without repeated names.

Document text stands in a code block in which every line begins with a number, a path or a marker of the server, so that
document text can neither end the block nor be rendered. Characters that nobody sees, which can hide instructions, are left
out; the structured results have them. Pure functions: the same result gives the same text.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from research_documents.results import DocumentExcerpt, DocumentFacts, DocumentList, Match, SearchResult
from research_shared.formats import media_type_of, part_name
from research_shared.text.sizes import counted, one_or_many, size_text
from research_shared.text.visible import without_hidden
from research_shared.tools.names import INCOMPLETE

MAX_NAMED_UNREADABLE: Final = 10
"""Unreadable documents that are named; the others are only counted."""
MAX_SHOWN_AUTHORS: Final = 2
MAX_SHOWN_CHARS: Final = 100
"""Characters of a title or a name that are shown in a text; structured results have all of it."""


def listing_text(result: DocumentList) -> str:
    """Render a listing: one line per document with its path, size and day of change."""
    first, notes = _split_incomplete(result.warnings)
    shown = "" if result.count == result.total else f"{result.count} of "
    heading = f"{shown}{counted(result.total, 'document')}"
    days = {document.modified.date() for document in result.documents}
    if len(days) == 1:
        heading += f", {'all ' if result.count > 1 else ''}changed {min(days)}"
    if result.next_cursor is not None:
        heading += f'. Next page: cursor="{result.next_cursor}"'
    lines = [
        f"{document.path} {size_text(document.size_bytes)}"
        + (f" {document.modified.date()}" if len(days) > 1 else "")
        + facts_text(document)
        for document in result.documents
    ]
    return _joined_text(first, heading=heading, notes=notes, lines=lines)


def facts_text(document: DocumentFacts) -> str:
    """Render what is known of a document for the end of a line: title, authors, date, and what it is to others."""
    names = list(document.authors[:MAX_SHOWN_AUTHORS])
    if len(document.authors) > MAX_SHOWN_AUTHORS:
        names[-1] += " et al."
    title = document.title or ""
    stem = document.path.rpartition("/")[2].rpartition(".")[0]
    said = [
        f'"{_clipped(title)}"' if title and _bare_letters(title) != _bare_letters(stem) else "",
        *map(_clipped, names),
        document.date or "",
        f"tags: {_clipped(', '.join(document.tags))}" if document.tags else "",
    ]
    facts = ", ".join(filter(None, said))
    marks = ""
    if document.same_content_as:
        marks = f" [same content as {document.same_content_as}]"
    elif document.version_of:
        marks = f" [{document.version} of {document.version_of}]"
    return f"{' ' if facts else ''}{facts}{marks}"


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1].rstrip() + "…"


def _bare_letters(text: str) -> str:
    """Return the letters and digits of a title or a file name: `flat-storage` says what `Flat Storage` says."""
    return "".join(filter(str.isalnum, text.casefold()))


def search_text(result: SearchResult, *, ranked: bool) -> str:
    """Render hits grouped by document, in the order of each document's best hit; shared lines appear once.

    The line of a hit is `12: text`, or `12 p3: text` with its page (`12 p3 OCR: text` when that was read by OCR); lines around it are `12 text`. `ranked` says that
    hits are sorted by relevance.
    """
    first, notes = _split_incomplete(result.warnings)
    if result.unreadable:
        named = "; ".join(f"{each.path} ({each.reason})" for each in result.unreadable[:MAX_NAMED_UNREADABLE])
        more = len(result.unreadable) - MAX_NAMED_UNREADABLE
        notes.append(
            f"not searched, or only in part, because they give no text: {named}{f' and {more} more' if more > 0 else ''}"
        )
    searched = counted(result.total_documents, "document")
    if result.matches:
        heading = counted(len(result.matches), "match", "matches")
        heading += f" in {searched}{', best first' if ranked else ''}"
        if result.embedded is not None:
            heading += f" (hybrid: {result.embedded.done:,} of {result.embedded.total:,} {one_or_many(result.embedded.total, 'passage', 'passages')} embedded)"
        if result.next_cursor is not None:
            heading += f'. More: cursor="{result.next_cursor}"'
    else:
        heading = f"No match in {searched}."
        if ranked and result.total_documents and not result.truncated:
            heading += ' Try other words, a beginning such as immun*, or mode="regex".'
    by_document: dict[str, list[Match]] = {}
    for match in result.matches:
        by_document.setdefault(match.document, []).append(match)
    facts = {document.path: facts_text(document) for document in result.documents}
    lines = [
        line
        for document, matches in by_document.items()
        for line in (document + facts.get(document, ""), *_line_groups(matches))
    ]
    return _joined_text(first, heading=heading, notes=notes, lines=lines)


def _line_groups(matches: Sequence[Match]) -> Iterator[str]:
    """Yield the lines of the hits of one document: adjacent ones merged, otherwise in the order of the hits."""
    texts: dict[int, str] = {}
    hits: dict[int, Match] = {}
    for match in matches:
        around = (*match.before, match.matched_text, *match.after)
        for number, text in enumerate(around, match.line_number - len(match.before)):
            texts.setdefault(number, text)
        hits[match.line_number] = match
        texts[match.line_number] = match.matched_text  # if this line is cut, then around its own match
    introduced: set[int] = set()
    for match in matches:
        start = match.line_number
        if start in introduced:
            continue
        while start - 1 in texts:
            start -= 1
        while start in texts:
            introduced.add(start)
            yield _line(start, text=texts[start], hit=hits.get(start))
            start += 1


def _line(number: int, *, text: str, hit: Match | None) -> str:
    if hit is None:
        return f"{number} {text}".rstrip()
    if hit.page is None:
        return f"{number}: {text}"
    return f"{number} {_label(hit.document, hit.page)}{' OCR' if hit.ocr else ''}: {text}"


def _label(document: str, page: int) -> str:
    """Return where a hit is: `p3`, or `slide 3` of a document that has slides."""
    part = part_name(media_type_of(document))
    return f"p{page}" if part == "page" else f"{part} {page}"


def excerpt_text(result: DocumentExcerpt) -> str:
    """Render numbered lines, with a marker where a page begins."""
    first, notes = _split_incomplete(result.notes)
    heading, part = f"{result.document_path}: ", part_name(result.media_type)
    if not result.lines:
        heading += "no text" if result.total_lines == 0 else f"no lines of {result.total_lines}"
    else:
        heading += f"lines {result.lines[0].number}-{result.lines[-1].number} of {result.total_lines}"
        if result.pages is not None:
            heading += f", {part} {result.lines[0].page} of {result.pages}"
            if result.lines[0].ocr:
                heading += " (read by OCR)"
    if result.next_start_line is not None:
        heading += f". Next: start_line={result.next_start_line}"
    lines: list[str] = []
    page = result.lines[0].page if result.lines else None
    for line in result.lines:
        if line.page != page:
            page = line.page
            lines.append(f"[{part} {page}{', read by OCR' if line.ocr else ''}]")
        lines.append(f"{line.number} {line.text}".rstrip())
    return _joined_text(first, heading=heading, notes=notes, lines=lines)


def _split_incomplete(warnings: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split warnings into those that must be read first, and the others."""
    first: list[str] = []
    notes: list[str] = []
    for warning in warnings:
        (first if warning.startswith(INCOMPLETE) else notes).append(warning)
    return first, notes


def _joined_text(first: Sequence[str], *, heading: str, notes: Sequence[str], lines: Sequence[str]) -> str:
    shown = [without_hidden(line) for line in lines]
    hidden = sum(number for _, number in shown)
    if hidden:
        notes = [*notes, hidden_note(hidden)]
    block = ["```", *(line for line, _ in shown), "```"] if lines else []
    return "\n".join((*first, heading, *(f"Note: {note}" for note in notes), *block))


def hidden_note(number: int) -> str:
    """Return the note that says that characters which nobody sees are left out of a text."""
    characters = counted(number, "invisible character")
    return f"{characters} (control, zero-width, direction or tag) of what follows left out"
