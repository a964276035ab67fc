"""Settings of the audit log."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from research_shared.reading.limits import MIB
from research_shared.settings.sections.section import Section


class AuditSettings(Section):
    """Where the audit log is, what it holds, and when it counts as written."""

    audit_log: Path | None = Field(default=None, description="audit file; stderr when not set")
    audit_head: Path | None = Field(
        default=None, description="file that remembers how far the audit log has come; beside it when not set"
    )
    audit_key: SecretStr | None = Field(
        default=None, description="signs the checkpoints and the head of the audit log; at least 32 bytes"
    )
    audit_level: Literal["metadata", "arguments"] = Field(
        default="metadata",
        description="whether audit records hold the arguments of calls, or only their digest",
    )
    audit_on_failure: Literal["closed", "open"] = Field(
        default="closed", description="refuse or serve calls while the audit log cannot be written"
    )
    audit_fsync: Literal["always", "interval", "never"] = Field(
        default="interval", description="when audit records are forced to the disk"
    )
    audit_fsync_interval_s: float = Field(
        default=1.0, gt=0, description="time between syncs when audit_fsync is interval"
    )
    audit_timeout_s: float = Field(
        default=10.0, gt=0, description="an audit record that takes longer counts as not written"
    )
    audit_max_bytes: int = Field(default=64 * MIB, ge=4096, description="a larger audit file is rotated")
    audit_max_age_s: float = Field(default=7 * 86_400.0, gt=0, description="an older audit file is rotated")

    @field_validator("audit_key")
    @classmethod
    def _strong_audit_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < 32:  # noqa: PLR2004  (as long as the hash)
            raise ValueError("at least 32 bytes")
        return key
