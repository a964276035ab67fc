"""Icons of prompts, as data URIs that need no network.

Tools have none: lists of tools are given to models, and each icon would cost as much there as a description.
"""

from base64 import b64encode
from typing import Final, Literal

from mcp_types import Icon

IconName = Literal["search", "read", "verify", "compare"]
_PATHS: Final[dict[IconName, str]] = {
    "search": "M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12ZM15 15l5 5",
    "read": "M6 3h9l4 4v14H6ZM9 12h7M9 16h7",
    "verify": "M4 13l5 5L20 6",
    "compare": "M4 5h6v14H4ZM14 5h6v14h-6Z",
}


def icons_of(name: IconName) -> list[Icon]:
    """Return the icon of a prompt. Its colour has contrast on light and dark ground."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#3f7fd0" stroke-width="2">'
        f'<path d="{_PATHS[name]}"/></svg>'
    )
    source = f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
    return [Icon(src=source, mime_type="image/svg+xml", sizes=["any"])]
