"""The settings by what they are for: one module each, with its fields and their checks."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.settings.sections.audit import AuditSettings
    from research_shared.settings.sections.authentication import AuthenticationSettings
    from research_shared.settings.sections.gateway import GatewaySettings
    from research_shared.settings.sections.general import GeneralSettings
    from research_shared.settings.sections.reading import ReadingSettings
    from research_shared.settings.sections.reasoning import ReasoningSettings
    from research_shared.settings.sections.searching import SearchingSettings
    from research_shared.settings.sections.section import Section
    from research_shared.settings.sections.serving import ServingSettings

__all__ = [
    "AuditSettings",
    "AuthenticationSettings",
    "GatewaySettings",
    "GeneralSettings",
    "ReadingSettings",
    "ReasoningSettings",
    "SearchingSettings",
    "Section",
    "ServingSettings",
]

_HOMES = {
    "AuditSettings": "audit",
    "AuthenticationSettings": "authentication",
    "GatewaySettings": "gateway",
    "GeneralSettings": "general",
    "ReadingSettings": "reading",
    "ReasoningSettings": "reasoning",
    "SearchingSettings": "searching",
    "Section": "section",
    "ServingSettings": "serving",
}
__getattr__ = lazy_exports(__name__, _HOMES)
