"""Messages of the tasks extension, `io.modelcontextprotocol/tasks` of 2026-07-28.

Results have no `_meta` of their own: the extension's schema admits none.
"""

from datetime import UTC, datetime
from typing import Any, Literal

from mcp_types import RequestParams
from pydantic import BaseModel, ConfigDict, Field

TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
TASKS_LIFESPAN_KEY = "research-assistant/tasks"
"""Key of the lifespan result of a server that answers for tasks. Its value is the name of the server."""


class TaskParams(RequestParams):
    """Parameters of `tasks/get` and `tasks/cancel`."""

    model_config = ConfigDict(populate_by_name=True)

    task_id: str = Field(alias="taskId", max_length=128)


class TaskUpdateParams(TaskParams):
    """Parameters of `tasks/update`."""

    input_responses: dict[str, Any] = Field(alias="inputResponses")


class TaskMessage(BaseModel):
    """What `tools/call` answers for a task that it made, and `tasks/get` for one that there is."""

    model_config = ConfigDict(populate_by_name=True)

    result_type: Literal["task", "complete"] = Field(serialization_alias="resultType")
    task_id: str = Field(serialization_alias="taskId")
    status: Literal["working", "completed", "failed", "cancelled"]
    status_message: str | None = Field(default=None, serialization_alias="statusMessage")
    created_at: str = Field(serialization_alias="createdAt")
    last_updated_at: str = Field(serialization_alias="lastUpdatedAt")
    ttl_ms: int = Field(serialization_alias="ttlMs")
    poll_interval_ms: int = Field(serialization_alias="pollIntervalMs")
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Acknowledged(BaseModel):
    """What `tasks/cancel` and `tasks/update` answer."""

    result_type: Literal["complete"] = Field(default="complete", serialization_alias="resultType")


def iso(at: float) -> str:
    """Return a Unix time as ISO 8601.

    >>> iso(0.5)
    '1970-01-01T00:00:00.500Z'
    """
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
