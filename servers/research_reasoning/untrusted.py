"""Text that nobody vouches for: how documents go into a prompt, and how answers come out of one."""

import json
import re
import unicodedata
from functools import lru_cache
from typing import Final

_KEPT_CONTROLS: Final = {"\n", "\t"}
_SELECTORS: Final = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
_FILLERS: Final = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}


@lru_cache(maxsize=4096)
def _is_invisible(char: str) -> bool:
    """Whether a character shows nothing: controls, format and bidi characters, tags, variation selectors, fillers."""
    if char in _KEPT_CONTROLS:
        return False
    point = ord(char)
    return (
        unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"}
        or any(first <= point <= last for first, last in _SELECTORS)
        or point in _FILLERS
    )


def visible(text: str) -> str:
    """The text without characters that a person would not see. What is removed can hide instructions."""
    if text.isascii() and text.isprintable():
        return text
    hidden = {ord(char): None for char in set(text) if _is_invisible(char)}
    return text.translate(hidden) if hidden else text


def quoted(name: str) -> str:
    """A file name as a JSON string on one line, so that it cannot pass for anything but a name."""
    return json.dumps(visible(name).replace("\n", " ").replace("\t", " "), ensure_ascii=False)


def fenced(text: str, boundary: str) -> str:
    """The text between two lines that only this call knows."""
    body = visible(text).replace(boundary, "")
    return f"<<<UNTRUSTED {boundary}\n{body}\nUNTRUSTED {boundary}>>>"


_IMAGE: Final = re.compile(r"!\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])")
_LINK: Final = re.compile(r"\[([^\]\n]*)\]\(\s*<?([^)\s>]*)>?[^)\n]*\)")
_DEFINITION: Final = re.compile(r"^( {0,3}\[[^\]\n]+\]:)[ \t]*<?(\S+?)>?(?:[ \t].*)?$", re.MULTILINE)
_TAG: Final = re.compile(r"<(?=[/!?A-Za-z])")
_BARE: Final = re.compile(
    r"(?<![`\w])((?:[a-z][a-z0-9+.-]{1,15}://|www\.|(?:mailto|javascript|data|tel):)[^\s`<>]+)", re.IGNORECASE
)
_FENCES: Final = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)


def neutralised(answer: str) -> str:
    """An answer whose Markdown loads nothing and links nowhere: images go, addresses become code, tags become text.

    A client that renders an answer would otherwise fetch what a document made the model write, with whatever the
    address gives away. `[1]`-style citations are untouched.
    """
    text = visible(answer)
    text = _IMAGE.sub(lambda match: f"(image removed: {match[1]})" if match[1] else "(image removed)", text)
    text = _LINK.sub(lambda match: f"{match[1]} (`{match[2].replace('`', '')}`)", text)
    text = _DEFINITION.sub(lambda match: f"{match[1]} `{match[2].replace('`', '')}`", text)
    parts = _FENCES.split(text)
    parts[::2] = [_BARE.sub(_as_code, _TAG.sub("&lt;", part)) for part in parts[::2]]
    return "".join(parts)


def _as_code(match: re.Match[str]) -> str:
    address = match[1]
    tail = address[len(address.rstrip(".,;:!?)]}'\"")) :]
    return f"`{address[: len(address) - len(tail)]}`{tail}"
