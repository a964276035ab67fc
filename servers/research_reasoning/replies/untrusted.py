"""Text that nobody vouches for: how documents go into a prompt, and how answers come out of one."""

import json
import re
from typing import Final

from research_reasoning.replies import code_spans
from research_reasoning.replies.code_spans import Block, CodeSpan, Line
from research_shared.text.visible import visible


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
_TILDES: Final = re.compile("~{3,}")
_BARE: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:[a-z][a-z0-9+.-]{1,15}://|www\.|(?:mailto|javascript|data|tel):)[^\s`<>|]+)",
    re.IGNORECASE,
)


def neutralised(answer: str) -> str:
    """An answer whose Markdown loads nothing and links nowhere: images go, addresses become code, tags become text.

    A client that renders an answer would otherwise fetch what a document made the model write, with whatever the
    address gives away. What is too odd to be rewritten is taken apart: no bracket is followed at once by what would
    make it a link, an image or the definition of one, and no `<` begins a tag. Code keeps its text (see
    `code_spans`); back quotes that make none become apostrophes. `[1]`-style citations are untouched.
    """
    parts = code_spans.parts(visible(answer))
    return "\n".join(part.written() if isinstance(part, Block) else _neutralised_line(part) for part in parts)


def neutralised_line(answer: str) -> str:
    """The same for a text that goes on one line, in which no block of code begins."""
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
    """Text outside code, in pieces: addresses become spans, and a back quote or a fence of tildes begins none."""
    text = _TILDES.sub(lambda tildes: "'" * len(tildes[0]), text.replace("`", "'"))
    pieces: list[str] = []
    # Only addresses are between back quotes now.
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
    # A bar would end a span in a table; what is no span is seen to as a bare address.
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
    """The parts with a space wherever back quotes, or a backslash and one, would touch."""
    apart: list[str] = []
    last = ""
    for part in parts:
        if part[:1] == "`" and last in {"`", "\\"}:
            apart.append(" ")
        apart.append(part)
        last = part[-1:] or last
    return apart
