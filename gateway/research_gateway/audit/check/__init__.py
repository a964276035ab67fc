"""Verification and display of audit logs."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.audit.check.show import records_of
    from research_gateway.audit.check.verify import verify

__all__ = ["records_of", "verify"]

_HOMES = {
    "records_of": "show",
    "verify": "verify",
}
__getattr__ = lazy_exports(__name__, _HOMES)
