"""A synthesis as HTML that needs nothing else: no script, no picture, no request to anywhere.

`page` is a whole document for a file, `page_content` the part of it that an MCP App shows inside a client. Text of
documents and models is escaped. Markdown of a synthesis keeps its paragraphs, lists, tables and emphasis, and has no links
or pictures; its citations lead to the sources.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from research_reasoning.exports.references import Linker
from research_shared.formats import place
from research_shared.text.sizes import counted

Lines = Mapping[tuple[str, int], str]
"""Lines of documents around evidence, by path and 1-based number."""

AROUND: Final = 3
"""Lines that are shown before and after a quote."""
MAX_CONTEXT_LINE: Final = 1_000
"""Characters of a line around a quote that are shown."""

_ALIGNED: Final = re.compile(r'style="text-align:(left|right|center)"')
_CITED_NUMBERS: Final = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")


def page(result: Mapping[str, Any], *, link: Linker, context: Lines) -> str:
    """Return a synthesis as an HTML document.

    `link` gives the address of a document, and `context` the lines around its quotes, as far as they are known.
    """
    skip = '<a class="skip" href="#answer">To the answer</a>'
    return document(
        title=result["research_question"],
        body=f"{skip}\n<main>\n{page_content(result, link=link, context=context)}\n</main>",
    )


def document(*, title: str, body: str, script: str = "") -> str:
    """Return an HTML document with the style of answers. Its policy admits this style and script and nothing else."""
    style = files(__package__).joinpath("answer.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_source(style)}"
    if script:
        policy += f"; script-src {_source(script)}"
        script = f"<script>{script}</script>\n"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
{script}</body>
</html>
"""


def _source(text: str) -> str:
    """Return the source expression of a policy that admits this text in the document, and no other."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def page_content(result: Mapping[str, Any], *, link: Linker, context: Lines) -> str:
    """Return what a document shows of a synthesis: the question, what the answer lacks, the answer, and what it rests on."""
    sources: Sequence[Mapping[str, Any]] = result["sources"]
    figures = (
        f"{counted(result['sources_used'], 'source')} used, {result['sources_skipped']} skipped · route {result['route']} · "
        f"model {result['model']}"
    )
    return "".join(
        [
            f'<header><h1>{escape(result["research_question"])}</h1><p class="muted">{escape(figures)}</p></header>',
            *_what_it_lacks(result),
            '<section aria-labelledby="answer"><h2 id="answer">Answer</h2>',
            _cited(_markdown_renderer()(result["synthesis"]), len(sources)),
            "</section>",
            *_claims("Insights", "insights", result["key_insights"], sources, link, context),
            *_claims("Contradictions", "contradictions", result["contradictions"], sources, link, context),
            *_source_table(sources, link),
        ]
    )


def wanted_lines(result: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """Return the first and the last line to show around each quote that was found, by document."""
    wanted: dict[str, list[tuple[int, int]]] = {}
    for claim in (*result["key_insights"], *result["contradictions"]):
        for evidence in claim["evidence"]:
            if lines := evidence.get("lines"):
                span = (max(lines[0] - AROUND, 1), lines[-1] + AROUND)
                wanted.setdefault(evidence["document"], []).append(span)
    return wanted


def _what_it_lacks(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the answer lacks, before the answer."""
    notes = [f"<li>{escape(text)}</li>" for text in result["warnings"]]
    if result["partial"]:
        notes.insert(0, '<li class="incomplete">This answer is not complete.</li>')
    if not result["answered"]:
        notes.insert(0, '<li class="incomplete">The documents did not answer the question.</li>')
    notes += [f"<li>Not answered: {escape(open_part)}</li>" for open_part in result.get("not_answered", ())]
    if unverified := result["unverified_quotes"]:
        what = "quotes were not found in their documents and are"
        what = "quote was not found in its document and is" if unverified == 1 else what
        notes.append(f"<li>{unverified} {what} left out or marked.</li>")
    if notes:
        yield f'<section class="notes" aria-label="What to know about this answer"><ul>{"".join(notes)}</ul></section>'


@cache
def _markdown_renderer() -> Callable[[str], str]:
    """Return what renders the Markdown of a synthesis without raw HTML, links and pictures."""
    from markdown_it import MarkdownIt  # a tenth of a second, which a server's start does without

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    render = renderer.disable(["image", "link", "autolink", "html_inline", "html_block", "reference"]).render

    def rendered(text: str) -> str:
        html: str = render(text)
        return _ALIGNED.sub(r'class="to-\1"', html)  # the policy of the page admits no style of an element

    return rendered


def _cited(html: str, sources: int) -> str:
    """Return HTML whose citations lead to the sources."""

    def linked(match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.split(r"\s*[,;]\s*", match[1])]
        if not all(1 <= number <= sources for number in numbers):
            return match[0]
        return "[" + ", ".join(f'<a href="#source-{number}">{number}</a>' for number in numbers) + "]"

    parts = re.split(r"(<[^>]*>)", html)  # markdown-it writes no other `>` within a tag
    return "".join(part if part.startswith("<") else _CITED_NUMBERS.sub(linked, part) for part in parts)


def _claims(
    title: str,
    anchor: str,
    claims: Sequence[Mapping[str, Any]],
    sources: Sequence[Mapping[str, Any]],
    link: Linker,
    context: Lines,
) -> Iterator[str]:
    if not claims:
        return
    yield f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title}</h2><ol class="claims">'
    numbers = {source["path"]: number for number, source in enumerate(sources, 1)}
    for claim in claims:
        state = (
            '<span class="state good">✓ verified</span>'
            if claim["verified"]
            else '<span class="state warn">? not verified</span>'
        )
        flags = "".join(f' <span class="warn">⚑ {escape(flag)}</span>' for flag in claim["flags"])
        yield f'<li><p class="claim">{state} {escape(claim["claim"])}{flags}</p>'
        for evidence in claim["evidence"]:
            yield _blockquote(evidence, numbers.get(evidence["document"]), link, context)
        yield "</li>"
    yield "</ol></section>"


def _blockquote(evidence: Mapping[str, Any], number: int | None, link: Linker, context: Lines) -> str:
    path, page_number, lines = evidence["document"], evidence.get("page"), evidence.get("lines")
    where = [escape(path)]
    if part := place(path, page_number):
        where.append(part)
    if lines:
        where.append(f"line {lines[0]}" if lines[0] == lines[-1] else f"lines {lines[0]}-{lines[-1]}")
    cited = f'[<a href="#source-{number}">{number}</a>] ' if number is not None else ""
    found = "" if evidence["verified"] else ' <strong class="bad">✗ not found in the document</strong>'
    source = _anchor(", ".join(where), link(path, page_number))
    return (
        f"<blockquote><p>“{escape(evidence['quote'])}”</p>"
        f'<p class="muted">{cited}{source}{found}</p>'
        f"{_surroundings(path, lines, context, where=', '.join(where))}</blockquote>"
    )


def _surroundings(path: str, lines: Sequence[int] | None, context: Lines, *, where: str) -> str:
    """Return the lines around a quote, closed until they are asked for."""
    if not lines:
        return ""
    shown = []
    for number in range(max(lines[0] - AROUND, 1), lines[-1] + AROUND + 1):
        if (text := context.get((path, number))) is None:
            continue
        body = escape(text if len(text) <= MAX_CONTEXT_LINE else text[: MAX_CONTEXT_LINE - 1] + "…")
        body = f"<mark>{body}</mark>" if lines[0] <= number <= lines[-1] else body
        shown.append(f'<span class="number">{number:>5}</span> {body}')
    if not shown:
        return ""
    label = f'In its context <span class="unseen">({where})</span>'
    return f"<details><summary>{label}</summary><pre>{chr(10).join(shown)}</pre></details>"


def _source_table(sources: Sequence[Mapping[str, Any]], link: Linker) -> Iterator[str]:
    yield '<section aria-labelledby="sources"><h2 id="sources">Sources</h2><table aria-labelledby="sources"><thead><tr>'
    yield '<th scope="col"><span aria-hidden="true">#</span><span class="unseen">Number</span></th>'
    yield '<th scope="col">Document</th><th scope="col">Read</th></tr></thead><tbody>'
    for number, source in enumerate(sources, 1):
        name = _anchor(escape(source["path"]), link(source["path"], None))
        if source["status"] == "used" and source["coverage"]:
            read = _coverage(source["coverage"], source["path"])
        else:
            read = f'<span class="warn">{escape(source["status"])}: {escape(source["reason"] or "")}</span>'
        yield f'<tr id="source-{number}"><td>{number}</td><td>{name}</td><td>{read}</td></tr>'
    yield "</tbody></table></section>"


def _coverage(coverage: Mapping[str, Any], path: str) -> str:
    shown, total = coverage["lines_shown"], coverage["lines_total"]
    text = f"{shown} of {counted(total, 'line')}"
    if coverage["pages_total"]:
        text += f", {coverage['pages_shown']} of {coverage['pages_total']} {place(path, 1).split()[0]}s"
    return f'<meter min="0" max="{max(total, 1)}" value="{shown}" aria-label="{text}"></meter> {text}'


def _anchor(html: str, address: str | None) -> str:
    """Return a link to an address, or the text alone without one."""
    if address is None:
        return html
    safe = escape(quote(address, safe=":/?#[]@!$&'()*+,;=%~"), quote=True)
    return f'<a href="{safe}" rel="noreferrer">{html}</a>'
