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


def quoted_value(value: object) -> str:
    """Return a wrong value as an error may quote it: hidden if it may hold a password, and an address without its query.

    What is no address may have its password anywhere, so that an `@` hides all of it.

    >>> quoted_value("http://host/?key=k"), quoted_value("http://ann:p/w@host"), quoted_value("7 days")
    ("'http://host/?***'", '(hidden)', "'7 days'")
    >>> quoted_value(("http://host/?key=k", "http://other/")), quoted_value(("7", "days"))
    ('(hidden)', "('7', 'days')")
    """
    if "@" in str(value):
        return "(hidden)"
    has_query = "?" in str(value).partition("://")[2]
    if not isinstance(value, str):
        return "(hidden)" if has_query else repr(value)
    return repr(value.partition("?")[0] + "?***" if has_query else value)
