"""Untrusted text: documents on their way into a prompt, and answers on their way out."""

import json
import re
from typing import Final

from research_reasoning.replies import code_spans
from research_reasoning.replies.code_spans import Block, CodeSpan, Line
from research_shared.text.visible import visible


def quoted(name: str) -> str:
    """Return a file name as a JSON string on one line, so that it cannot be read as anything but a name."""
    return json.dumps(visible(name).replace("\n", " ").replace("\t", " "), ensure_ascii=False)


def fenced(text: str, boundary: str) -> str:
    """Return the text between two marks with the call's random `boundary`."""
    body = visible(text).replace(boundary, "")
    return f"<<<UNTRUSTED {boundary}\n{body}\nUNTRUSTED {boundary}>>>"


# Each of these takes time linear in the text: no part is scanned from many starts.
_TARGETED: Final = re.compile(
    r"""(?P<image>!)?\[(?P<label>[^\[\]\n]*+)\]
        (?:\((?P<target>(?:[^()\n]|\([^()\n]*+\))*+)\) | \[[^\[\]\n]*+\])""",
    re.VERBOSE,
)
_JOINT: Final = re.compile(r"\](?=[(\[:])")
_TAG: Final = re.compile(r"<(?=[/!?A-Za-z])")
_TILDES: Final = re.compile("~{3,}")
_BARE: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:[a-z][a-z0-9+.-]{1,15}://|www\.|(?:mailto|javascript|data|tel):)[^\s`<>|]+)",
    re.IGNORECASE,
)


def neutralised(answer: str) -> str:
    """Return an answer whose Markdown has no links and loads nothing: images go, URLs become code, tags become text.

    A client that renders an answer would otherwise fetch URLs that a document made the model write, and leak data in them.
    What cannot be rewritten is taken apart: no bracket is directly followed by what would make it a link, an image or a
    definition, and no `<` begins a tag. Code keeps its text (see `code_spans`); other back quotes become apostrophes.
    Citations such as `[1]` stay unchanged.
    """
    parts = code_spans.parts(visible(answer))
    return "\n".join(part.written() if isinstance(part, Block) else _neutralised_line(part) for part in parts)


def neutralised_line(answer: str) -> str:
    """Do the same for a text on one line, without blocks of code."""
    return _neutralised_line(code_spans.line_parts(" ".join(visible(answer).split())))


def _neutralised_line(line: Line) -> str:
    pieces: list[str] = []
    for piece in line:
        if isinstance(piece, CodeSpan):
            pieces.append(piece.written())
        else:
            pieces += _prose(piece.raw)
    return "".join(_apart(pieces))


def _prose(text: str) -> list[str]:
    """Return text outside code in pieces: URLs become spans; back quotes and fences of tildes become apostrophes."""
    text = _TILDES.sub(lambda tildes: "'" * len(tildes[0]), text.replace("`", "'"))
    pieces: list[str] = []
    # Only URLs are between back quotes now.
    for index, piece in enumerate(_TARGETED.sub(_as_text, text).split("`")):
        if index % 2:
            pieces.append(f"`{piece}`")
        else:
            pieces += _bare_addresses(_TAG.sub("&lt;", _JOINT.sub("] ", piece)))
    return pieces


def _as_text(match: re.Match[str]) -> str:
    label = match["label"]
    if match["image"]:
        return f"(image removed: {label})" if label else "(image removed)"
    if match["target"] is None:
        return match[0]
    address = match["target"].strip().removeprefix("<").split(maxsplit=1)
    if not address or not (shown := address[0].removesuffix(">")):
        return label
    # A bar would end a span in a table. Without a span, the URL is handled as a bare one.
    return f"{label} ({shown})" if "|" in shown else f"{label} (`{shown}`)"


def _bare_addresses(text: str) -> list[str]:
    pieces: list[str] = []
    at = 0
    for match in _BARE.finditer(text):
        address = match[1].rstrip(".,;:!?)]}'\"")
        pieces += [text[at : match.start()], f"`{address}`"]
        at = match.start() + len(address)
    return [*pieces, text[at:]]


def _apart(parts: list[str]) -> list[str]:
    """Return the parts, with a space where two back quotes, or a backslash and a back quote, would touch."""
    apart: list[str] = []
    last = ""
    for part in parts:
        if part[:1] == "`" and last in {"`", "\\"}:
            apart.append(" ")
        apart.append(part)
        last = part[-1:] or last
    return apart
