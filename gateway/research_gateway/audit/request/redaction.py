"""What of a request may be written into the trail: no local path, and nothing that looks like a credential."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from research_shared.document_urls import DOCUMENT_URI, without_document_uri
from research_shared.text.secrets import without_secrets

REJECTED: Final = "(not a document path)"
"""Stands for the path in the URI of a document that can be none."""
HIDDEN: Final = "(hidden)"
"""Stands for what looks like a credential."""

_ABSOLUTE = re.compile(r"[/~]|[A-Za-z]:")
_ABSOLUTE_WITHIN = re.compile(r"//|\\|:/")
_CREDENTIAL = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | \b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}
    | \beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?               # JWT
    | \b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}                                     # OpenAI, Anthropic, Stripe
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_[A-Za-z0-9_]{20,} | \bglpat-[A-Za-z0-9_-]{16,}
    | \bxox[abeoprs]-[A-Za-z0-9-]{10,}                                         # Slack
    | (?-i:\b(?:AKIA|ASIA)[A-Z0-9]{16}\b) | \bAIza[A-Za-z0-9_-]{30,} | \bya29\.[A-Za-z0-9_-]{20,}
    | (?<![A-Za-z0-9])(?:api[-_ ]?key|access[-_ ]?key|token|secret|password|passwd|pwd)\b["']?\s*[:=]\s*["']?[^\s"',;&]{4,}
    | (?-i:(?<![A-Za-z0-9+])(?=[A-Za-z+]*[0-9])(?=[a-z0-9+]*[A-Z])(?=[A-Z0-9+]*[a-z])[A-Za-z0-9+]{32,}={0,2})
    | (?-i:\b[0-9a-f]{40,}\b)                                                  # hexadecimal keys and digests
    """,
    re.VERBOSE | re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """Return the text with everything that looks like a credential replaced by `(hidden)`.

    >>> without_credentials("use Bearer abcdef123456 for https://ann:pw@host/x?key=1")
    'use (hidden) for https://***@host/x?***'
    """
    return _CREDENTIAL.sub(HIDDEN, without_secrets(text))


def is_absolute(path: str) -> bool:
    """Return whether a text is, or holds, an absolute path of some system, percent-encoded or not.

    >>> [is_absolute(path) for path in ("/home/ann", ".//home/ann", "%2Fhome", "file:/home", "notes/a: b.md")]
    [True, True, True, True, False]
    """
    return any(
        _ABSOLUTE.match(form.strip()) or _ABSOLUTE_WITHIN.search(form) for form in (path, unquote(path))
    )


def public_uri(uri: str) -> str:
    """Return a URI without user, query, fragment and local paths, which may be secrets.

    >>> public_uri("research://documents//home/ann/a.md"), public_uri("https://ann:pw@host/x?key=1")
    ('research://documents/(not a document path)', 'https://host/x')
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return "(malformed)"
    if uri[: len(DOCUMENT_URI)].casefold() == DOCUMENT_URI:
        path = without_document_uri(uri.partition("?")[0].partition("#")[0])
        shown = REJECTED if is_absolute(path) else parts.path.lstrip("/")
        return DOCUMENT_URI + shown
    if parts.netloc and parts.scheme != "file":
        path = parts.path
        return f"{parts.scheme}://{host}" + (f"/{REJECTED}" if is_absolute(path[1:]) else path)
    if not parts.scheme or parts.scheme == "file" or is_absolute(parts.path):
        return f"{parts.scheme}:"
    return f"{parts.scheme}:{parts.path}"
