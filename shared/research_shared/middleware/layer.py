"""The base of our middlewares: one that costs only what its own hooks cost."""

from collections.abc import Awaitable
from functools import partial
from typing import Any, ClassVar

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.middleware import middleware as fastmcp_middleware

# Private to FastMCP; a version without it dispatches as it does by itself.
_dispatch_phase = getattr(fastmcp_middleware, "_dispatch_phase", None)

_TYPED = {
    "initialize": "on_initialize",
    "server/discover": "on_discover",
    "tools/call": "on_call_tool",
    "resources/read": "on_read_resource",
    "prompts/get": "on_get_prompt",
    "tools/list": "on_list_tools",
    "resources/list": "on_list_resources",
    "resources/templates/list": "on_list_resource_templates",
    "prompts/list": "on_list_prompts",
}


class Layer(Middleware):
    """A middleware whose hooks that do nothing are not called.

    FastMCP passes each request through three hooks of each middleware, most of which only pass it on; with the seven
    layers of the gateway that took a twentieth of a call. Hooks are overridden as in any FastMCP middleware.
    """

    _own: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note which hooks the class has of its own."""
        super().__init_subclass__(**kwargs)
        hooks = ("on_message", "on_request", "on_notification", *_TYPED.values())
        cls._own = frozenset(name for name in hooks if getattr(cls, name) is not getattr(Middleware, name))

    def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Awaitable[Any]:  # type: ignore[override]
        """Pass a request through the hooks that the class has."""
        if _dispatch_phase is None:
            return super().__call__(context, call_next)
        phase = _dispatch_phase.get()
        if phase != "outer" and (hook := _TYPED.get(context.method or "", "")) in self._own:
            call_next = partial(getattr(self, hook), call_next=call_next)
        if phase != "typed":
            for hook in (f"on_{context.type}", "on_message"):
                if hook in self._own:
                    call_next = partial(getattr(self, hook), call_next=call_next)
        return call_next(context)
