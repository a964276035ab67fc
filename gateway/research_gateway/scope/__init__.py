"""Scope of a request, narrowed by its client's roots and passed on to servers behind a relay."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.scope.client_roots import narrowed_by
    from research_gateway.scope.middleware import PassScopeOn, ScopeFromClientRoots
    from research_gateway.scope.resource import add_scope_resource, describe_scope

__all__ = ["PassScopeOn", "ScopeFromClientRoots", "add_scope_resource", "describe_scope", "narrowed_by"]

_HOMES = {
    "PassScopeOn": "middleware",
    "ScopeFromClientRoots": "middleware",
    "add_scope_resource": "resource",
    "describe_scope": "resource",
    "narrowed_by": "client_roots",
}
__getattr__ = lazy_exports(__name__, _HOMES)
