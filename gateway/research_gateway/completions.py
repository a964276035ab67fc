"""Argument completion through the gateway: FastMCP does not forward it to mounted servers."""

from mcp_types import Completion, CompletionArgument, CompletionContext, PromptReference

from research_shared.tools.completions import CompletionHandler, Reference


def namespaced(namespace: str, handler: CompletionHandler) -> CompletionHandler:
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
