"""The pages of the documentation: their code blocks, links, anchors and words in back quotes."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import dropwhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        file.relative_to(ROOT).as_posix()
        for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
        if file.name != "CHANGELOG.md"
    )
)
"""All pages but the change log, which may speak of what is gone."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*) *$")
_CHECK = re.compile(r"^ *<!-- check: (?P<how>.+?) -->$")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$")
_LINK = re.compile(r"(?<!\\)\]\((?P<target>[^()\s]+)(?: \"[^\"]*\")?\)")
_ITEM = re.compile(r" *(?:[-*]|\d+\.) ")
_REDIRECTED = re.compile(r"(?<!['\w])\d?>>?(?!=) ?\S+")
_KEYWORDS = {"!", "do", "done", "else", "fi", "if", "then", "until", "while"}
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `check` is how its page says that it is checked, where its language does not say so."""

    page: str
    line: int
    language: str
    text: str
    check: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a console block: variables set for it, its words, and what the page shows that it prints."""

    variables: dict[str, str]
    words: list[str]
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page taken apart. `prose` is its text without code blocks."""

    name: str
    blocks: list[Block]
    prose: str

    def anchors(self) -> set[str]:
        """Return the anchors of the headings, as GitHub makes them."""
        found: dict[str, int] = {}
        for line in self.prose.splitlines():
            if heading := _HEADING.match(line):
                anchor = _slug(heading[1])
                found[anchor] = found.get(anchor, -1) + 1
        return {name if not n else f"{name}-{n}" for name, most in found.items() for n in range(most + 1)}

    def paragraphs(self) -> Iterator[str]:
        """Yield each paragraph and each item of a list; tables and headings are none."""
        lines: list[str] = []
        for line in [*self.prose.splitlines(), ""]:
            ends = not line.strip() or line.lstrip().startswith(("|", "#", "<!--"))
            if lines and (ends or _ITEM.match(line)):
                yield " ".join(lines)
                lines.clear()
            if not ends:
                lines.append(line.strip())

    def links(self) -> list[str]:
        """Return the targets of links and pictures."""
        return [match["target"] for match in _LINK.finditer(_CODE.sub("", self.prose))]

    def code(self) -> list[str]:
        """Return what stands between single back quotes."""
        return _CODE.findall(self.prose)


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def page(name: str) -> Page:
    """Take a page apart.

    Raises:
        ValueError: a block does not end.
    """
    return _parsed(name, (ROOT / name).read_text(encoding="utf-8"))


def _parsed(name: str, source: str) -> Page:
    blocks: list[Block] = []
    prose: list[str] = []
    lines = iter(enumerate(source.splitlines(), start=1))
    check: str | None = None
    for number, line in lines:
        if fence := _FENCE.match(line):
            inside = list(_until(lines, fence["indent"] + fence["fence"], f"{name}:{number}"))
            indent = len(fence["indent"])
            blocks.append(
                Block(
                    page=name,
                    line=number,
                    language=fence["language"],
                    text="\n".join(each[indent:] for each in inside) + "\n",
                    check=check,
                )
            )
            prose.extend([""] * (len(inside) + 2))
            check = None
            continue
        if marked := _CHECK.match(line):
            check = marked["how"]
        elif line.strip():
            check = None
        prose.append(line)
    return Page(name=name, blocks=blocks, prose="\n".join(prose))


def _until(lines: Iterator[tuple[int, str]], fence: str, where: str) -> Iterator[str]:
    for _, line in lines:
        if line.rstrip() == fence:
            return
        yield line
    raise ValueError(f"{where}: the block does not end")


def blocks(*languages: str) -> list[Block]:
    """Return the blocks in these languages of all pages."""
    return [block for name in PAGES for block in page(name).blocks if block.language in languages]


def commands(text: str) -> list[Command]:
    """Return the commands of a console block: lines after `$ ` where there are any, all lines otherwise."""
    prompted = any(line.startswith("$ ") for line in text.splitlines())
    found: list[Command] = []
    waiting, output = "", list[str]()

    def output_of_the_last() -> None:
        if found and output:
            found[-1] = Command(
                variables=found[-1].variables, words=found[-1].words, output="\n".join(output) + "\n"
            )
        output.clear()

    for line in text.splitlines():
        if waiting or not prompted or line.startswith("$ "):
            if not waiting:
                output_of_the_last()
            waiting += line.removeprefix("$ ") if prompted else line
            if waiting.endswith("\\"):
                waiting = waiting[:-1] + " "
                continue
            found.extend(_simple_commands(waiting))
            waiting = ""
        else:
            output.append(line)
    output_of_the_last()
    return found


def typed(text: str) -> list[tuple[str, list[str]]]:
    """Return what a person types at each prompt of a console block, `> ` lines included, and the lines shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> "):
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", found[-1][1])
        else:
            found[-1][1].append(line)
    return found


def typed_commands(text: str) -> list[Command]:
    """Return the simple commands of a console block that a shell runs as it stands, without what is redirected."""
    lines = "\n".join(line for line, _ in typed(text)).replace("\\\n", " ").splitlines()
    found = [command for line in lines for command in _simple_commands(_REDIRECTED.sub(" ", line))]
    return [
        Command(variables=command.variables, words=words)
        for command in found
        if (words := list(dropwhile(_KEYWORDS.__contains__, command.words)))
    ]


def _simple_commands(line: str) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    current: list[str] = []
    for word in [*lexer, ";"]:
        if word in {"&&", "||", "|", ";", "&"}:
            if current:
                yield _command(current)
            current = []
        else:
            current.append(word)


def _command(words: list[str]) -> Command:
    variables: dict[str, str] = {}
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        name, _, value = words[0].partition("=")
        variables[name] = value
        words = words[1:]
    return Command(variables=variables, words=words)
