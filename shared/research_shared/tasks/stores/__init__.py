"""Stores of tasks: in the memory of this process, and on Redis or Valkey."""

from research_shared.tasks.stores.choice import open_store
from research_shared.tasks.stores.memory import MemoryTasks

__all__ = ["MemoryTasks", "open_store"]
