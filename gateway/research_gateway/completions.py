"""Argument completion through the gateway: FastMCP does not forward it to mounted servers."""

from collections.abc import Awaitable, Callable, Iterable

from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

Reference = PromptReference | ResourceTemplateReference
Handler = Callable[[Reference, CompletionArgument, CompletionContext | None], Awaitable[Completion | None]]


def first_of(handlers: Iterable[Handler]) -> Handler:
    """Return a handler that tries `handlers` in order until one returns a completion."""
    chain = tuple(handlers)

    async def complete(
        ref: Reference, argument: CompletionArgument, context: CompletionContext | None
    ) -> Completion | None:
        for handler in chain:
            completion = await handler(ref, argument, context)
            if completion is not None:
                return completion
        return None

    return complete


def namespaced(namespace: str, handler: Handler) -> Handler:
    """Wrap the handler of a server that is mounted under `namespace`."""

    async def complete(
        ref: Reference, argument: CompletionArgument, context: CompletionContext | None
    ) -> Completion | None:
        own = _without(ref, namespace)
        return await handler(own, argument, context) if own is not None else None

    return complete


def _without(ref: Reference, namespace: str) -> Reference | None:
    """Strip the namespace: `ns_name` becomes `name`, `scheme://ns/path` becomes `scheme://path`; None without it."""
    if isinstance(ref, PromptReference):
        if not ref.name.startswith(f"{namespace}_"):
            return None
        return ref.model_copy(update={"name": ref.name.removeprefix(f"{namespace}_")})
    scheme, separator, path = ref.uri.partition("://")
    if not separator or not path.startswith(f"{namespace}/"):
        return None
    return ref.model_copy(update={"uri": f"{scheme}://{path.removeprefix(namespace + '/')}"})
