"""Settings of long work as tasks."""

import re
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from research_shared.reading.limits import MIB
from research_shared.settings.sections.section import Section

TASKS_OFF: Final = "off"
TASKS_IN_MEMORY: Final = "memory://"
_STORES = frozenset({"redis", "rediss", "unix", "valkey", "valkeys"})


class TasksSettings(Section):
    """Where tasks are kept, for how long, and who works on them."""

    tasks_url: SecretStr = Field(
        default=SecretStr(TASKS_IN_MEMORY),
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

    @property
    def tasks_off(self) -> bool:
        """Whether no call becomes a task."""
        return self.tasks_url.get_secret_value() == TASKS_OFF

    @property
    def tasks_in_memory(self) -> bool:
        """Whether tasks are kept in this process, which no other one knows."""
        return self.tasks_url.get_secret_value() == TASKS_IN_MEMORY

    def without_tasks(self) -> Self:
        """Return the same settings, with which no call becomes a task and no task is taken."""
        return self.model_copy(update={"tasks_url": SecretStr(TASKS_OFF)})

    @field_validator("tasks_url")
    @classmethod
    def _known_store(cls, url: SecretStr) -> SecretStr:
        value = url.get_secret_value()
        if value in {TASKS_OFF, TASKS_IN_MEMORY}:
            return url
        try:
            parts = urlsplit(value)
            usable = parts.port != 0
        except ValueError:  # a port that is none, perhaps a part of a password: a slash in one is written %2F
            parts, usable = urlsplit(""), False
        where = parts.path if parts.scheme == "unix" else parts.hostname
        if not usable or parts.scheme not in _STORES or not where or re.search(r"\s", value):
            raise ValueError("off, memory://, or an address such as redis://localhost:6379/0")
        return url
