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


# Every one of these takes time in proportion to the text: no part of it is gone over from many starts.
_TARGETED: Final = re.compile(
    r"""(?P<image>!)?\[(?P<label>[^\[\]\n]*+)\]
        (?:\((?P<target>(?:[^()\n]|\([^()\n]*+\))*+)\) | \[[^\[\]\n]*+\])""",
    re.VERBOSE,
)
_JOINT: Final = re.compile(r"\](?=[(\[:])")
_TAG: Final = re.compile(r"<(?=[/!?A-Za-z])")
_CODE: Final = re.compile(r"(?<![`\\])`[^`|\n]++`(?!`)")
_BARE: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:[a-z][a-z0-9+.-]{1,15}://|www\.|(?:mailto|javascript|data|tel):)[^\s`<>|]+)",
    re.IGNORECASE,
)


def neutralised(answer: str) -> str:
    """An answer whose Markdown loads nothing and links nowhere: images go, addresses become code, tags become text.

    A client that renders an answer would otherwise fetch what a document made the model write, with whatever the
    address gives away. What is too odd to be rewritten is taken apart: no bracket is followed at once by what would
    make it a link, an image or the definition of one, no `<` begins a tag, in code as well, and back quotes stand
    only in pairs on one line. `[1]`-style citations are untouched.
    """
    text = _TARGETED.sub(_as_text, visible(answer))
    text = _TAG.sub("&lt;", _JOINT.sub("] ", text))
    parts: list[str] = []
    at = 0
    for code in _CODE.finditer(text):
        parts += [_prose(text[at : code.start()]), code[0]]
        at = code.end()
    parts.append(_prose(text[at:]))
    return "".join(_apart(parts))


def _as_text(match: re.Match[str]) -> str:
    label = match["label"]
    if match["image"]:
        return f"(image removed: {label})" if label else "(image removed)"
    if match["target"] is None:
        return match[0]
    address = match["target"].replace("`", "").strip().removeprefix("<").split(maxsplit=1)
    return f"{label} (`{address[0].removesuffix('>')}`)" if address else label


def _prose(text: str) -> str:
    """Text outside code, in which a back quote is none: it would pair with one that encloses an address."""
    return _BARE.sub(_as_code, text.replace("`", "'"))


def _as_code(match: re.Match[str]) -> str:
    address = match[1]
    tail = address[len(address.rstrip(".,;:!?)]}'\"")) :]
    before = match.string[: match.start()][-1:]
    return f"{' ' * (before == chr(92))}`{address[: len(address) - len(tail)]}`{tail}"


def _apart(parts: list[str]) -> list[str]:
    """The parts with a space wherever back quotes, or a backslash and one, would touch."""
    apart: list[str] = []
    last = ""
    for part in parts:
        if part[:1] == "`" and last in {"`", "\\"}:
            apart.append(" ")
        apart.append(part)
        last = part[-1:] or last
    return apart
