"""Settings of long work as tasks."""

import re
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from research_shared.reading.limits import MIB
from research_shared.settings.sections.section import Section

_STORES = frozenset({"redis", "rediss", "unix", "valkey", "valkeys"})


class TasksSettings(Section):
    """Where tasks are kept, for how long, and who works on them."""

    tasks_url: SecretStr = Field(
        default=SecretStr("memory://"),
        description="where tasks are kept: `memory://` (they end with the process), `redis://…`, `rediss://…`, `valkey://…`, "
        "`unix:///…` (with the extra `tasks`), or `off`",
    )
    tasks_ttl_s: float = Field(
        default=14_400.0, gt=0, description="how long a task is kept, and its result after its end"
    )
    tasks_concurrency: int = Field(
        default=2, ge=0, description="tasks that this process works on at once; 0 leaves them to workers"
    )
    tasks_lease_s: float = Field(
        default=60.0,
        gt=0,
        description="after so long without a sign of life of its worker, a task is given to another",
    )
    tasks_per_caller: int = Field(
        default=32, ge=1, description="tasks of one caller that are kept at once, ended ones included"
    )
    tasks_bytes_per_caller: int = Field(
        default=16 * MIB,
        ge=4096,
        description="size of all tasks of one caller together, sealed and compressed",
    )

    @field_validator("tasks_url")
    @classmethod
    def _known_store(cls, url: SecretStr) -> SecretStr:
        value = url.get_secret_value()
        if value in {"off", "memory://"}:
            return url
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        where = parts.path if parts.scheme == "unix" else parts.hostname
        if parts.scheme not in _STORES or not where or re.search(r"\s", value):
            raise ValueError("off, memory://, or an address such as redis://localhost:6379/0")
        return url
