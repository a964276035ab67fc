"""Addresses of documents: the `research://` URI, and links into the operator's own document system."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote, unquote, urlsplit

DOCUMENT_URI: Final = "research://documents/"
"""Prefix of the URI of a document. Its percent-encoded path follows."""

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_DELIMITER: Final = re.compile(r"([/?#&;])")
_ALLOWED: Final = "an http or https address with {path} in it, and {page} in a part of its own if at all"


def document_uri(path: str) -> str:
    """Return the URI of a document for `resources/read`.

    >>> document_uri("notes/50% of C#.md")
    'research://documents/notes/50%25%20of%20C%23.md'
    """
    return DOCUMENT_URI + quote(path, safe="/")


def without_document_uri(text: str) -> str:
    """Return the path in a document's URI, whose scheme may be in any case. Other text is returned unchanged.

    >>> without_document_uri("research://documents/a%20b.md"), without_document_uri("a%20b.md")
    ('a b.md', 'a%20b.md')
    """
    if text[: len(DOCUMENT_URI)].casefold() != DOCUMENT_URI:
        return text
    path = text[len(DOCUMENT_URI) :]
    with suppress(UnicodeDecodeError):  # then `document_uri` did not make it
        path = unquote(path, errors="strict")
    return path


@dataclass(frozen=True, slots=True)
class LinkTemplate:
    """Template of links to documents, such as `https://dms.example/{path}#page={page}`.

    `{path}` is the document's path, percent-encoded by component; `{page}` its 1-based page.
    """

    template: str

    @classmethod
    def parse(cls, template: str) -> Self:
        """Validate a template.

        Raises:
            ValueError: it is not a valid template. The message says what is allowed and what is wrong.
        """
        problem = _problem(template)
        if problem is not None:
            raise ValueError(f"{_ALLOWED}; {problem}")
        return cls(template)

    def link(self, path: str, page: int | None = None) -> str:
        """Return the link to a document, or to a 1-based page of it.

        Without a page, the part of the address with `{page}` is dropped: a component of the path, a parameter of the
        query, or the fragment.
        """
        values = {"path": quote(path, safe="/"), "page": str(page)}
        template = self.template if page is not None else _without_page(self.template)
        return _FIELD.sub(lambda field: values[field[1]], template)


def _problem(template: str) -> str | None:
    """Return what is wrong with a template, or None."""
    fields = _FIELD.findall(template)
    unknown = [field for field in fields if field not in {"path", "page"}]
    if unknown:
        return f"{{{unknown[0]}}} is unknown"
    if re.search(r"[{}]", _FIELD.sub("", template)):
        return "a brace is not closed"
    if "path" not in fields:
        return "{path} is missing"
    if not template.isprintable() or " " in template:
        return "it has a space or a control character"
    if any("{path}" in piece and "{page}" in piece for piece in _DELIMITER.split(template)):
        return "{path} and {page} are in the same part"
    return _problem_of_address(template)


def _problem_of_address(template: str) -> str | None:
    try:
        parts = urlsplit(template)
        port = parts.port
    except ValueError:  # unbalanced brackets, or a port that is no number below 65536
        return "the host or the port is malformed"
    if parts.scheme not in {"http", "https"}:
        return "the scheme is another one"
    if not parts.hostname or port == 0 or "{" in parts.netloc:
        return "the host or the port is malformed"
    return None


def _without_page(template: str) -> str:
    """Return a template without the parts that contain `{page}` and their delimiters."""
    kept, *rest = _DELIMITER.split(template)
    opening = ""
    for delimiter, piece in zip(rest[::2], rest[1::2], strict=True):
        if "{page}" in piece:
            opening = delimiter if delimiter in "?#" else opening
            continue
        # The first remaining parameter begins the query or the fragment.
        kept += (opening if opening and delimiter in "&;" else delimiter) + piece
        opening = ""
    return kept
