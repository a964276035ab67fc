"""URLs in a text without what may be secret."""

import re

_URL = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s/?#'"<>]*@)?(?P<rest>[^\s?#'"<>]*)(?P<query>\?[^\s'"<>]*)?""",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Return the text with the user information and query of each URL replaced by `***`.

    >>> without_secrets("GET http://ann:pw@host/mcp?api_key=k failed")
    'GET http://***@host/mcp?*** failed'
    """
    if "://" not in text:
        return text
    return _URL.sub(
        lambda m: f"{m['scheme']}{'***@' if m['user'] else ''}{m['rest']}{'?***' if m['query'] else ''}", text
    )
