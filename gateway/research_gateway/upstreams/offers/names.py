"""Namespaces of foreign servers, which can never match a name of ours.

A foreign tool `x` of the server `ns` is `ns_x`, a foreign resource `scheme://x` is `scheme://ns/x`.
"""

import re
from collections.abc import Iterable

from research_shared.document_urls import DOCUMENT_URI
from research_shared.tools.names import ANSWER_APP_URI, OWN_PROMPTS, OWN_TOOLS, SCOPE_URI

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_OWN_URIS = (DOCUMENT_URI, SCOPE_URI, ANSWER_APP_URI)
_NAMESPACED_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x1f\x7f]*")
"""FastMCP adds and takes off no namespace where there is a line break."""


def namespace_problem(name: str, names: Iterable[str]) -> str | None:
    """Return why `name` is not a valid namespace beside the other `names`, or None if it is.

    Calls are routed by prefix alone, so nothing of ours and no other namespace may start with `name_`, and no URI of
    ours may have `name` behind its scheme. Case does not distinguish: the first part of a URI is a host, which has none.

    >>> namespace_problem("documents", ["documents"])
    'its resources could not be distinguished from research://documents/'
    """
    if not _NAMESPACE.fullmatch(name):
        return "allowed: up to 32 of A-Z a-z 0-9 _ -"
    prefix = f"{name}_".casefold()
    for own in (*OWN_TOOLS, *OWN_PROMPTS):
        if own.startswith(prefix):
            return f"its tools and prompts could not be distinguished from {own}"
    for uri in _OWN_URIS:
        if uri.partition("://")[2].strip("/").split("/")[0] == name.casefold():
            return f"its resources could not be distinguished from {uri}"
    for other in names:
        if other.casefold().startswith(prefix):
            return f"its tools could not be distinguished from those of {other!r}"
        if other != name and other.casefold() == name.casefold():
            return f"its resources could not be distinguished from those of {other!r}"
    return None


def can_be_namespaced(uri: str) -> bool:
    """Return whether a URI or URI template has the form `scheme://…` without control characters.

    To such a one a namespace can be added.

    >>> can_be_namespaced("note://{name}"), can_be_namespaced("{+uri}"), can_be_namespaced("urn:isbn:1")
    (True, False, False)
    """
    return _NAMESPACED_URI.fullmatch(uri) is not None


def namespaced_uri(namespace: str, uri: str) -> str:
    """Return the URI that a foreign server's resource has at the gateway.

    >>> namespaced_uri("maps", "ui://view/map.html")
    'ui://maps/view/map.html'
    """
    scheme, _, path = uri.partition("://")
    return f"{scheme}://{namespace}/{path}"
