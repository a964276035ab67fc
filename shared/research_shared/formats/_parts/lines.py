"""Lines of text, as all readers make them."""

import codecs

MAX_HEADING = 6
"""The deepest level of a heading."""

_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FALLBACK = "windows-1252"
_ASSUMED = {"iso-8859-1": _FALLBACK, "latin-1": _FALLBACK, "us-ascii": "utf-8", "ascii": "utf-8"}
"""What is meant by names that people write without looking (WHATWG Encoding Standard)."""


def on_one_line(text: str) -> str:
    """Return a text with all its white space as single spaces."""
    return " ".join(text.split())


def no_heading(line: str) -> str:
    r"""Return a line of a document that is no heading, so that it is not taken for one.

    >>> no_heading("#1 of ten")
    '\\#1 of ten'
    """
    return f"\\{line}" if line.startswith("#") else line


def decoded(data: bytes, declared: str = "") -> tuple[str, str]:
    """Return the text of bytes and its encoding: that of the mark, the declared one, UTF-8, or Windows-1252."""
    for mark, encoding in _ORDER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace"), encoding.removesuffix("-sig")
    declared = declared.strip().strip("\"'").lower()
    for encoding in dict.fromkeys((_ASSUMED.get(declared, declared) or "utf-8", "utf-8")):
        try:
            return data.decode(encoding), encoding
        except (LookupError, UnicodeError):
            continue
    return data.decode(_FALLBACK, "replace"), _FALLBACK


def encoding_notes(encoding: str) -> list[str]:
    """Return a note on an encoding that is not UTF-8."""
    return (
        []
        if encoding == "utf-8"
        else [f"decoded from {encoding.replace('windows', 'Windows').replace('utf', 'UTF')}"]
    )
