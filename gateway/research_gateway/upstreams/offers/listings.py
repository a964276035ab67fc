"""Limits of the lists that an upstream returns, and lists of which one item is odd."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types
from mcp.shared.dispatcher import CallOptions
from mcp_types.methods import validate_server_result
from pydantic import ValidationError
from pydantic_core import to_json

from research_shared.logs import get_logger

log = get_logger("research.upstreams")

_ITEMS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ListLimits:
    """How much of a list of an upstream is passed on: `items` in number, and `item_bytes` in all, measured as JSON.

    What is beyond the limits is left out, and logged.
    """

    items: int = 1_000
    item_bytes: int = 2 << 20


DEFAULT_LIMITS = ListLimits()


class ListDispatcher:
    """Dispatcher of a client session that cuts lists to `limits` and drops items that are no valid MCP.

    Both happen before the session validates a list, which fails as a whole and takes many times the memory of its text.
    `version` returns the protocol version of the session, None before it is negotiated.
    """

    def __init__(
        self, inner: Any, *, upstream: str, limits: ListLimits, version: Callable[[], str | None]
    ) -> None:
        self._inner = inner
        self._upstream = upstream
        self._limits = limits
        self._version = version

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send one request and return its result; a list without what is odd or beyond the limits.

        Raises:
            MCPError: the upstream answered with an error.
        """
        raw: Any = await self._inner.send_raw_request(method, params, opts)
        key = _ITEMS.get(method)
        if key is None or not isinstance(raw, Mapping) or not isinstance(items := raw.get(key), list):
            return raw  # type: ignore[no-any-return]  # the session refuses what is no object
        fitting, left = within_limits(items, self._limits)
        listed = {**raw, key: fitting}
        if left:
            listed.pop("nextCursor", None)
            log.warning("a list of an upstream is cut", upstream=self._upstream, list=key, left_out=left)
        return self._without_odd_items(method, key, listed)

    def _without_odd_items(self, method: str, key: str, listed: dict[str, Any]) -> dict[str, Any]:
        version = self._version() or mcp_types.LATEST_PROTOCOL_VERSION
        if _is_valid(method, version, listed) or not _is_valid(method, version, {**listed, key: []}):
            return listed  # if the list itself is odd, the session says so
        kept = [item for item in listed[key] if _is_valid(method, version, {**listed, key: [item]})]
        log.warning(
            "items of an upstream's list are not valid MCP and are left out",
            upstream=self._upstream,
            list=key,
            left_out=len(listed[key]) - len(kept),
        )
        return {**listed, key: kept}


def within_limits(items: Sequence[Any], limits: ListLimits) -> tuple[list[Any], int]:
    """Return the first items that the limits allow, and the number of those left out."""
    fitting: list[Any] = []
    room = limits.item_bytes
    for item in items[: limits.items]:
        room -= len(to_json(item, fallback=str, inf_nan_mode="constants"))
        if room < 0:
            break
        fitting.append(item)
    return fitting, len(items) - len(fitting)


def _is_valid(method: str, version: str, result: Mapping[str, Any]) -> bool:
    try:
        validate_server_result(method, version, result)
    except ValidationError:
        return False
    except KeyError:  # this version does not define the result's form
        return True
    return True
