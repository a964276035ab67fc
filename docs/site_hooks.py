"""What MkDocs does to the pages of this site, so that the same Markdown reads well on the forge and on the site."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<path>[^)\s]+)\)")
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NODE = re.compile(r'^ +(\w+)\["(.+)"\]$', re.MULTILINE)
_ARROW = re.compile(r"^ +(\w+) --> (\w+)$", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Lead links to files outside of `docs` to the repository, and show pictures of Mermaid as tables.

    Mermaid's script would be fetched from another host.
    """
    depth = page.file.src_uri.count("/")

    def to_repository(match: re.Match[str]) -> str:
        if match["up"].count("../") <= depth:
            return match[0]
        return f"]({config.extra['repository']}/{match['path']})"

    return _MERMAID.sub(lambda match: table_of(match[1]), _OUTSIDE.sub(to_repository, markdown))


def table_of(graph: str) -> str:
    r"""Return a table of a Mermaid graph: each node, and the nodes that its arrows lead to.

    >>> print(table_of('graph TD\\n    a["A (1)"]\\n    b["B (2)"]\\n    a --> b\\n'))
    | folder (modules) | imports |
    |---|---|
    | A (1) | B |
    | B (2) |  |
    """
    names = dict(_NODE.findall(graph))
    rows = ["| folder (modules) | imports |", "|---|---|"]
    for node, name in names.items():
        others = [names[to].partition(" ")[0] for start, to in _ARROW.findall(graph) if start == node]
        rows.append(f"| {name} | {', '.join(others)} |")
    return "\n".join(rows)
