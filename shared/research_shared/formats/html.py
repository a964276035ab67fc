"""Web pages."""

from research_shared.formats._format import EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.lines import decoded, encoding_notes
from research_shared.formats._parts.web_page import declared_encoding, html_lines


def open_html(data: bytes, _first: int, _last: int) -> Pages:
    """Open a web page. Scripts do not run, and nothing that it links to is fetched."""
    text, encoding = decoded(data, declared_encoding(data))
    lines = html_lines(text)
    if not lines:
        raise Refused(EMPTY)
    return Pages(total=1, texts=iter(("\n".join(lines),)), notes=encoding_notes(encoding))


FORMATS = (
    Format(
        title="a web page",
        media_types={".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml"},
        readers=(Reader(name="html", open=open_html),),
        markdown=True,
    ),
)
