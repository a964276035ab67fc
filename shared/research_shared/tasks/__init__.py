"""Long calls as tasks of MCP: submitted, worked on by this process or by workers, polled by the client."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.tasks.adding import add_tasks
    from research_shared.tasks.records import TaskLimits, TaskStore
    from research_shared.tasks.wire import TASKS_LIFESPAN_KEY
    from research_shared.tasks.work import current_work

__all__ = ["TASKS_LIFESPAN_KEY", "TaskLimits", "TaskStore", "add_tasks", "current_work"]

_HOMES = {
    "TASKS_LIFESPAN_KEY": "wire",
    "TaskLimits": "records",
    "TaskStore": "records",
    "add_tasks": "adding",
    "current_work": "work",
}
__getattr__ = lazy_exports(__name__, _HOMES)
