"""Questions over the whole folder: which passages are looked for, chosen and shown to a model."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_reasoning.folder.ask import ask_folder
    from research_reasoning.folder.scanning import ScannedPassages

__all__ = ["ScannedPassages", "ask_folder"]

_HOMES = {"ScannedPassages": "scanning", "ask_folder": "ask"}
__getattr__ = lazy_exports(__name__, _HOMES)
