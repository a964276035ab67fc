"""Scope of a request, narrowed by its client's roots."""

from research_gateway.scope.client_roots import narrowed_by
from research_gateway.scope.middleware import ScopeFromClientRoots
from research_gateway.scope.resource import add_scope_resource, describe_scope

__all__ = ["ScopeFromClientRoots", "add_scope_resource", "describe_scope", "narrowed_by"]
