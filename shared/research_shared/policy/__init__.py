"""The operator's policy: who may see which folders and call which tools."""

from research_shared.exports import lazy_exports

__all__ = ["Access", "Caller", "Policy", "PolicyMiddleware", "Rule", "load_policy", "policy_middleware"]

_HOMES = {
    "Access": "rules",
    "Caller": "rules",
    "Policy": "rules",
    "PolicyMiddleware": "middleware",
    "Rule": "rules",
    "load_policy": "file",
    "policy_middleware": "middleware",
}
__getattr__ = lazy_exports(__name__, _HOMES)
