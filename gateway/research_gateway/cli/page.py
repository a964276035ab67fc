"""A synthesis as one HTML page that needs nothing else: no script, no picture, no request to anywhere.

Text of documents and models is escaped. Markdown of a synthesis keeps its paragraphs, lists and emphasis, and has no links
or pictures; its citations lead to the sources.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt

from research_gateway.cli.show import Link, place

Context = Mapping[tuple[str, int], str]
"""Lines of documents around evidence, by path and 1-based number."""

AROUND = 3
"""Lines that are shown before and after a quote."""

_STYLE = """
:root { color-scheme: light dark; --fg: #1b1f24; --muted: #57606a; --bg: #fff; --card: #f6f8fa; --line: #d0d7de;
  --good: #116329; --warn: #7d4e00; --bad: #a40e26; --accent: #0550ae; --mark: #fff3b0; }
@media (prefers-color-scheme: dark) { :root { --fg: #e6edf3; --muted: #9da7b3; --bg: #0d1117; --card: #161b22;
  --line: #3d444d; --good: #56d364; --warn: #e3b341; --bad: #ff7b72; --accent: #79c0ff; --mark: #4d3d00; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .75rem; }
a { color: var(--accent); } a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.muted { color: var(--muted); font-size: .9rem; } .skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; }
.notes { border-left: 4px solid var(--warn); background: var(--card); padding: .6rem 1rem; margin: 1rem 0; }
.notes ul { margin: 0; padding-left: 1.1rem; } .incomplete { font-weight: 700; }
ol.claims { list-style: none; padding: 0; } .claims > li { background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; padding: .8rem 1rem; margin: .75rem 0; }
.claim { margin: 0 0 .4rem; } .state { font-weight: 700; } .good { color: var(--good); } .warn { color: var(--warn); }
.bad { color: var(--bad); } blockquote { margin: .5rem 0; padding-left: .8rem; border-left: 3px solid var(--line); }
blockquote p { margin: 0; } details { margin: .3rem 0 0; } summary { cursor: pointer; color: var(--muted); font-size: .9rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0 0; font-size: .85rem; }
pre mark { background: var(--mark); color: inherit; } .number { color: var(--muted); user-select: none; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .4rem .5rem; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } meter { width: 7rem; height: .9rem; }
:target { outline: 2px solid var(--accent); }
@media print { main { max-width: none; padding: 0; } .skip { display: none; } .claims > li { break-inside: avoid; }
  a { color: inherit; text-decoration: none; } }
"""

_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False})
    .enable("table")
    .disable(["image", "link", "autolink", "html_inline", "html_block", "reference"])
)
_CITED_NUMBERS = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")


def page(result: Mapping[str, Any], *, link: Link, context: Context) -> str:
    """Return a synthesis as an HTML page.

    `link` gives the address of a document, and `context` the lines around its quotes, as far as they are known.
    """
    sources: Sequence[Mapping[str, Any]] = result["sources"]
    question = escape(result["research_question"])
    sections = [
        *_what_it_lacks(result),
        '<section aria-labelledby="answer"><h2 id="answer">Answer</h2>',
        _cited(_MARKDOWN.render(result["synthesis"]), len(sources)),
        "</section>",
        *_claims("Insights", "insights", result["key_insights"], sources, link, context),
        *_claims("Contradictions", "contradictions", result["contradictions"], sources, link, context),
        *_source_table(sources, link),
    ]
    figures = (
        f"{result['sources_used']} sources used, {result['sources_skipped']} skipped · route {result['route']} · "
        f"model {result['model']}"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>{question}</title>
<style>{_STYLE}</style>
</head>
<body>
<a class="skip" href="#answer">To the answer</a>
<main>
<header><h1>{question}</h1><p class="muted">{escape(figures)}</p></header>
{"".join(sections)}
</main>
</body>
</html>
"""


def wanted_lines(result: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """Return the first and the last line to show around each quote that was found, by document."""
    wanted: dict[str, list[tuple[int, int]]] = {}
    for claim in (*result["key_insights"], *result["contradictions"]):
        for evidence in claim["evidence"]:
            if lines := evidence.get("lines"):
                span = (max(lines[0] - AROUND, 1), lines[-1] + AROUND)
                wanted.setdefault(evidence["document"], []).append(span)
    return wanted


async def context_of(result: Mapping[str, Any], call: Callable[..., Awaitable[Mapping[str, Any]]]) -> Context:
    """Return the lines around the quotes of a synthesis. `call` calls a tool and returns its structured result."""
    context: dict[tuple[str, int], str] = {}
    for path, spans in wanted_lines(result).items():
        for first, last in spans:
            if all((path, number) in context for number in range(first, last + 1)):
                continue
            read = await call(
                "read_document", document_path=path, start_line=first, max_lines=last - first + 1
            )
            context.update(((path, line["number"]), line["text"]) for line in read["lines"])
    return context


def _what_it_lacks(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the answer lacks, before the answer."""
    notes = [f"<li>{escape(text)}</li>" for text in result["warnings"]]
    if result["partial"]:
        notes.insert(0, '<li class="incomplete">This answer is not complete.</li>')
    if not result["answered"]:
        notes.insert(0, '<li class="incomplete">The documents did not answer the question.</li>')
    if unverified := result["unverified_quotes"]:
        notes.append(
            f"<li>{unverified} quotes were not found in their documents and were left out or marked.</li>"
        )
    if notes:
        yield f'<aside class="notes" aria-label="What to know about this answer"><ul>{"".join(notes)}</ul></aside>'


def _cited(html: str, sources: int) -> str:
    """Return HTML whose citations lead to the sources."""

    def linked(match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.split(r"\s*[,;]\s*", match[1])]
        if not all(1 <= number <= sources for number in numbers):
            return match[0]
        return "[" + ", ".join(f'<a href="#source-{number}">{number}</a>' for number in numbers) + "]"

    return _CITED_NUMBERS.sub(linked, html)


def _claims(
    title: str,
    anchor: str,
    claims: Sequence[Mapping[str, Any]],
    sources: Sequence[Mapping[str, Any]],
    link: Link,
    context: Context,
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


def _blockquote(evidence: Mapping[str, Any], number: int | None, link: Link, context: Context) -> str:
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
        f'<p class="muted">{cited}{source}{found}</p>{_surroundings(path, lines, context)}</blockquote>'
    )


def _surroundings(path: str, lines: Sequence[int] | None, context: Context) -> str:
    """Return the lines around a quote, closed until they are asked for."""
    if not lines:
        return ""
    shown = []
    for number in range(max(lines[0] - AROUND, 1), lines[-1] + AROUND + 1):
        if (text := context.get((path, number))) is None:
            continue
        body = escape(text)
        body = f"<mark>{body}</mark>" if lines[0] <= number <= lines[-1] else body
        shown.append(f'<span class="number">{number:>5}</span> {body}')
    if not shown:
        return ""
    return f"<details><summary>In its context</summary><pre>{chr(10).join(shown)}</pre></details>"


def _source_table(sources: Sequence[Mapping[str, Any]], link: Link) -> Iterator[str]:
    yield '<section aria-labelledby="sources"><h2 id="sources">Sources</h2><table><thead><tr><th scope="col">#</th>'
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
    text = f"{shown} of {total} lines"
    if coverage["pages_total"]:
        text += f", {coverage['pages_shown']} of {coverage['pages_total']} {place(path, 1).split()[0]}s"
    return f'<meter min="0" max="{max(total, 1)}" value="{shown}" aria-label="{text}"></meter> {text}'


def _anchor(html: str, address: str | None) -> str:
    """Return a link to an address, or the text alone without one."""
    if address is None:
        return html
    safe = escape(quote(address, safe=":/?#[]@!$&'()*+,;=%~"), quote=True)
    return f'<a href="{safe}" rel="noreferrer">{html}</a>'
