"""Models: one protocol for the reasoning, and the carriers that answer its prompts."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_reasoning.models.protocol import Completion, Model, Prompt
    from research_reasoning.models.provider import Provider

__all__ = ["Completion", "Model", "Prompt", "Provider"]

_HOMES = {
    "Completion": "protocol",
    "Model": "protocol",
    "Prompt": "protocol",
    "Provider": "provider",
}
__getattr__ = lazy_exports(__name__, _HOMES)
