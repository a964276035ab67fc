"""Find and rewrite code in untrusted Markdown.

Inside code, `Rc<T>` is text; outside, `<T>` is a tag. Code is therefore recognised narrowly and rewritten in a form that
every renderer delimits alike: a span in single back quotes on one line, a block between fences at the start of their
lines. No other back quote is left that could pair with one of them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_FENCE: Final = re.compile(
    r"[ \t]{0,12}(?P<mark>`{3,}|~{3,})[ \t]*+(?P<language>[\w+#.-]{0,30})(?P<rest>[^`\n]*)"
)
_RUN: Final = re.compile(r"`+")
_LEAST_FENCE: Final = 3
_DELIMITER_ROW: Final = re.compile(r"^(?=[^\n]*-)[ \t>|:+*\d.)-]++$", re.MULTILINE)
"""A line that makes the line before it the head of a table. `|` can divide a span only in a text with such a line."""


@dataclass(frozen=True, slots=True)
class Prose:
    """Text outside code. Its back quotes do not delimit spans."""

    raw: str


@dataclass(frozen=True, slots=True)
class CodeSpan:
    """Code on one line. `raw` is the original, with its back quotes."""

    raw: str
    text: str

    def written(self) -> str:
        """Return the span between single back quotes."""
        return f"`{self.text}`"


@dataclass(frozen=True, slots=True)
class Block:
    """Code on lines of its own. `raw` is the original, with its fences."""

    raw: str
    language: str
    lines: tuple[str, ...]

    def written(self) -> str:
        """Return the block between fences longer than any run of back quotes in it. An open block is closed."""
        longest = max((len(run) for line in self.lines for run in _RUN.findall(line)), default=0)
        fence = "`" * max(_LEAST_FENCE, longest + 1)
        return "\n".join([fence + self.language, *self.lines, fence])


Line = tuple[Prose | CodeSpan, ...]


def parts(text: str) -> Iterator[Block | Line]:
    r"""Yield the text as blocks of code and lines of prose. Their `raw` parts, joined by `\n`, are the text."""
    spans_may_hold_bars = _DELIMITER_ROW.search(text) is None
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        fence = _FENCE.fullmatch(lines[at])
        if fence is None:
            yield line_parts(lines[at], bars=spans_may_hold_bars)
            at += 1
            continue
        closing = re.compile(rf"[ \t]{{0,12}}{re.escape(fence['mark'][0])}{{{len(fence['mark'])},}}[ \t]*+")
        end = next((n for n in range(at + 1, len(lines)) if closing.fullmatch(lines[n])), len(lines))
        indent = len(lines[at]) - len(lines[at].lstrip())
        content = tuple(_dedented(line, indent) for line in lines[at + 1 : end])
        yield Block("\n".join(lines[at : end + 1]), fence["language"], content)
        at = end + 1


def in_prose(
    text: str, change: Callable[[str], str], *, no_code: Callable[[str], bool] = lambda _content: False
) -> str:
    """Return the text with `change` applied to all prose and its code unchanged.

    A span whose content `no_code` accepts counts as prose.
    """
    out: list[str] = []
    prose: list[str] = []

    def end_prose() -> None:
        out.append(change("".join(prose)))
        prose.clear()

    for number, part in enumerate(parts(text)):
        prose.append("\n" if number else "")
        for piece in (part,) if isinstance(part, Block) else part:
            if isinstance(piece, Prose):
                prose.append(piece.raw)
            elif isinstance(piece, CodeSpan) and no_code(piece.text):
                prose.append(piece.text)
            else:
                end_prose()
                out.append(piece.raw)
    end_prose()
    return "".join(out)


def _dedented(line: str, indent: int) -> str:
    return line[min(indent, len(line) - len(line.lstrip())) :]


def line_parts(line: str, *, bars: bool = True) -> Line:
    """Return the spans of one line and the prose between them. The line contains no fence.

    With `bars`, a span may contain `|`, because the line cannot belong to a table.
    """
    return tuple(_pieces(line, bars=bars))


def _pieces(line: str, *, bars: bool) -> Iterator[Prose | CodeSpan]:
    """Yield the pieces of a line. A run of back quotes ends at the next run of the same length."""
    runs = [match.span() for match in _RUN.finditer(line)]
    next_alike: list[int | None] = [None] * len(runs)
    seen: dict[int, int] = {}
    for index in range(len(runs) - 1, -1, -1):
        begin, end = runs[index]
        next_alike[index] = seen.get(end - begin)
        seen[end - begin] = index
    at = index = 0
    while index < len(runs):
        begin, end = runs[index]
        closing = next_alike[index] if line[begin - 1 : begin] != "\\" or begin == 0 else None
        content = line[end : runs[closing][0]] if closing is not None else ""
        if closing is None or not content.strip() or ("|" in content and not bars):
            index += 1
            continue
        if at < begin:
            yield Prose(line[at:begin])
        at = runs[closing][1]
        yield CodeSpan(line[begin:at], _on_its_own(content, end - begin))
        index = closing + 1
    if at < len(line) or not runs:
        yield Prose(line[at:])


def _on_its_own(content: str, length: int) -> str:
    """Return the content of a span, for longer back quotes without padding and with back quotes as apostrophes."""
    if length == 1:
        return content
    return content.strip().replace("`", "'")
