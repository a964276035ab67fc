"""The reasoning server: summarize and synthesize with a language model, with evidence that is checked."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_reasoning.models.protocol import Completion, Model, Prompt
    from research_reasoning.models.provider import Provider
    from research_reasoning.server import build_reasoning_server, create_server

__all__ = ["Completion", "Model", "Prompt", "Provider", "build_reasoning_server", "create_server"]

_HOMES = {
    "Completion": "models.protocol",
    "Model": "models.protocol",
    "Prompt": "models.protocol",
    "Provider": "models.provider",
    "build_reasoning_server": "server",
    "create_server": "server",
}
__getattr__ = lazy_exports(__name__, _HOMES)
