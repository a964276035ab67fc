"""What of a foreign server is offered to clients: cleaned, in its namespace, and as it was first seen."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import mcp_types
from pydantic import BaseModel, ValidationError

from research_gateway.upstreams.offers.apps import with_namespaced_app
from research_gateway.upstreams.offers.names import can_be_namespaced
from research_gateway.upstreams.offers.pins import ToolPins, digest_of_tool
from research_shared.logs import get_logger
from research_shared.text.visible import visible

log = get_logger("research.upstreams")

Item = TypeVar("Item", bound=BaseModel)
_TOLD = frozenset({"description", "title", "$comment"})
"""Keywords of a JSON schema whose texts are for people and models alone, so that they can be cleaned."""
MAX_TEXT = 8_192
"""Characters of a description or title."""


class OddItem(Exception):
    """An item of a list that cannot be offered. The message says why."""


def clean_name(name: str) -> str:
    """Return a name on one line without invisible characters."""
    return visible(name).replace("\n", "").replace("\t", "").strip()


def clean_text(text: str) -> str:
    """Return a text without invisible characters, at most `MAX_TEXT` long."""
    shown = visible(text)
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


def clean_schema(schema: Any, *, told: bool = False) -> Any:
    """Return a JSON schema with clean texts for people.

    Raises:
        OddItem: another string has invisible characters. Without them it would mean something else.
    """
    match schema:
        case str() if told:
            return clean_text(schema)
        case str() if visible(schema) != schema:
            raise OddItem("its schema has invisible characters")
        case Mapping():
            # A property may be called "title": what is below it is a schema, no text.
            return {
                clean_schema(key): clean_schema(value, told=key in _TOLD) for key, value in schema.items()
            }
        case list():
            return [clean_schema(value) for value in schema]
        case _:
            return schema


def _clean(item: Item) -> Item:
    """Return a copy of a listed item with clean texts. Its name and URI are left as they are.

    Raises:
        OddItem: the item cannot be cleaned without changing what it means.
    """
    changes: dict[str, Any] = {}
    for field in ("title", "description"):
        if isinstance(text := getattr(item, field, None), str):
            changes[field] = clean_text(text) if field == "description" else clean_name(text)
    if isinstance(item, mcp_types.Tool):
        changes["input_schema"] = clean_schema(item.input_schema)
        changes["output_schema"] = clean_schema(item.output_schema)
        if item.annotations is not None and item.annotations.title is not None:
            title = clean_name(item.annotations.title)
            changes["annotations"] = item.annotations.model_copy(update={"title": title})
    if isinstance(item, mcp_types.Prompt):
        changes["arguments"] = [_clean(argument) for argument in item.arguments or ()]
    if isinstance(item, mcp_types.Resource | mcp_types.ResourceTemplate):
        changes["name"] = clean_name(item.name)
        uri = item.uri if isinstance(item, mcp_types.Resource) else item.uri_template
        if visible(str(uri)) != str(uri):
            raise OddItem("its URI has invisible characters")
        if not can_be_namespaced(str(uri)):
            raise OddItem("its URI has no scheme:// and so no place for the server's name")
    return item.model_copy(update=changes)


class ForeignOffers:
    """Chooses and cleans what a foreign server offers. `held` are the names of tools that have changed.

    `pins` remembers the tools. What is left out is logged when it is first seen, not at each listing.
    """

    def __init__(self, server: str, pins: ToolPins) -> None:
        self.held: frozenset[str] = frozenset()
        self._server = server
        self._pins = pins
        self._said: set[tuple[str, str, str]] = set()

    def chosen(self, kind: str, items: Sequence[Any]) -> list[tuple[str, Any]]:
        """Return `(shown name, cleaned item)` for each item that is offered. Its own name is the one to call it by."""
        offered: dict[str, Any] = {}
        for item in items:
            name = clean_name(item.name)
            key = name if kind in {"tools", "prompts"} else _uri_of(item)
            if not name or key in offered:
                reason = "another one has the same name" if name else "it has no visible name"
                self.leave_out(kind, key, reason)
                continue
            try:
                offered[key] = _clean(item)
                if isinstance(item, mcp_types.Tool):
                    offered[key] = with_namespaced_app(self._server, offered[key])
            except OddItem as error:
                self.leave_out(kind, key, str(error))
        if kind == "tools":
            self._hold_back(offered, {clean_name(tool.name): tool for tool in reversed(items)})
        return [(clean_name(item.name), item) for item in offered.values()]

    def leave_out(self, kind: str, name: str, reason: str) -> None:
        """Log that an item is not offered, once for each reason."""
        if (kind, name, reason) not in self._said:
            self._said.add((kind, name, reason))
            log.warning(
                "an item of a foreign server is not offered",
                upstream=self._server,
                kind=kind,
                item=name[:128],
                reason=reason,
            )

    def _hold_back(self, offered: dict[str, Any], originals: Mapping[str, mcp_types.Tool]) -> None:
        digests = {name: digest_of_tool(originals[name]) for name in offered}
        try:
            self.held = self._pins.changed(self._server, digests)
        except (OSError, ValidationError) as error:
            # What cannot be compared is not offered.
            log.error("the pinned tools cannot be read", upstream=self._server, error=type(error).__name__)  # noqa: TRY400
            self.held = frozenset(digests)
            offered.clear()
            return
        for name in self.held:
            del offered[name]
            self.leave_out(
                "tools",
                name,
                f"it has changed; to accept it: research-assistant upstreams accept {self._server}",
            )


def _uri_of(item: Any) -> str:
    return str(item.uri if isinstance(item, mcp_types.Resource) else item.uri_template)
