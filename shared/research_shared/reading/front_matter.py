"""The front matter of Markdown and text files: what stands between two lines `---` (YAML) or `+++` (TOML).

Only what people write there is read of YAML: `key: value`, lists in brackets or of lines with `-`, quotes, and folded text.
A whole YAML parser would turn `no` into False and dates into objects, and follows anchors, with which a few hundred bytes
make gigabytes; and these files are read in the server's own process.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from research_shared.formats import NO_METADATA, Metadata

MAX_FRONT_LINES: Final = 200
MAX_LINE_CHARS: Final = 2_000
MAX_TOML_MARKS: Final = 200
"""Brackets and dots of a TOML block; its parser calls itself for each level of nesting."""
_FRONT_KEY: Final = re.compile(r"([A-Za-z][\w .-]{0,60}?)\s*:(?:\s+(.*)|\s*)$")
_ITEM: Final = re.compile(r"\s*-\s+(.*)$")
_NAMED_ITEM: Final = re.compile(r"(?:name|family|literal)\s*:\s+(.*)$")
_QUOTED: Final = r"\"(?:[^\"\\]|\\.)*+\"|'(?:[^']|'')*+'"
_LIST_ITEM: Final = re.compile(rf"\s*+(?:{_QUOTED}|[^,]+)")
_QUOTED_TEXT: Final = re.compile(_QUOTED)
_ESCAPED: Final = re.compile(r"\\([\"\\/])")
_COMMENT: Final = re.compile(r"(?:^|\s)#\s.*$")
_FOLDED: Final = frozenset({">", "|", ">-", "|-", ">+", "|+"})

Values = Mapping[str, Sequence[str]]


def front_matter(lines: Sequence[str]) -> tuple[Metadata, int]:
    """Return what the front matter of a text says, and the number of its lines, 0 when there is none."""
    mark = lines[0].rstrip() if lines else ""
    if mark not in {"---", "+++"}:
        return NO_METADATA, 0
    ends = {"---", "..."} if mark == "---" else {"+++"}
    end = next((at for at, line in enumerate(lines[1:MAX_FRONT_LINES], 1) if line.rstrip() in ends), 0)
    block = lines[1:end]
    values = _yaml_values(block) if mark == "---" else _toml_values(block)
    return (_front_metadata(values), end + 1) if end and values else (NO_METADATA, 0)


def _front_metadata(values: Values) -> Metadata:
    def of(*names: str) -> Sequence[str]:
        return next((values[name] for name in names if values.get(name)), ())

    def items(*names: str) -> Iterator[str]:
        given = of(*names)
        yield from (given if len(given) != 1 else re.split("[,;]", given[0]))

    return Metadata.of(
        title=" ".join(of("title")),
        authors=of("authors", "author", "creator", "by"),
        date=" ".join(of("date", "published", "created", "updated")),
        language=" ".join(of("lang", "language")),
        tags=items("tags", "keywords", "tag"),
    )


def _yaml_values(block: Sequence[str]) -> Values:
    values: dict[str, list[str]] = {}
    key, folded = "", False
    for line in (line[:MAX_LINE_CHARS] for line in block):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if match := _FRONT_KEY.match(line):
            key = match[1].strip().lower()
            folded = (match[2] or "").strip() in _FOLDED
            values[key] = _scalars(match[2] or "")
        elif key and (match := _ITEM.match(line)):
            named = _NAMED_ITEM.match(match[1])
            values[key] += _scalars(named[1] if named else match[1])
        elif key and line[0] in " \t" and (folded or not _FRONT_KEY.match(line.strip())):
            values[key] = [" ".join([*values[key], line.strip()])]  # a text that goes on
    return values


def _scalars(text: str) -> list[str]:
    """Return the items of a value: of a list in brackets several, otherwise one or none."""
    text = text.strip()
    if text.startswith("[") and "]" in text:
        inner = text[1 : text.rindex("]")]
        return [found for item in _LIST_ITEM.findall(inner) if (found := _unquoted(item))]
    if text in _FOLDED:
        return []
    return [found] if (found := _unquoted(text)) else []


def _unquoted(text: str) -> str:
    text = text.strip()
    if quoted := _QUOTED_TEXT.match(text):
        inner = quoted[0][1:-1]
        return inner.replace("''", "'") if text[0] == "'" else _ESCAPED.sub(r"\1", inner)
    return _COMMENT.sub("", text).strip()


def _toml_values(block: Sequence[str]) -> Values:
    text = "\n".join(block)
    if text.count("[") + text.count("{") + text.count(".") > MAX_TOML_MARKS:
        return {}
    values: dict[str, list[str]] = {}
    # Numbers of thousands of digits are a plain ValueError, of which a TOMLDecodeError is one kind.
    with suppress(ValueError, RecursionError):
        for key, value in tomllib.loads(text).items():
            values[key.lower()] = list(_toml_texts(value))
    return values


def _toml_texts(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        named = item.get("name") if isinstance(item, dict) else item
        if named is not None and not isinstance(named, list | dict):
            yield str(named)
