"""Chooses the store that the settings name."""

import importlib.util

from research_shared.errors import ConfigurationError
from research_shared.settings import Settings
from research_shared.tasks.records import TaskStore
from research_shared.tasks.stores.memory import MemoryTasks


def open_store(settings: Settings, *, name: str) -> TaskStore | None:
    """Return the store that the settings name, not yet entered; None if tasks are off.

    `name` is that of the server: servers of different names share no tasks.

    Raises:
        ConfigurationError: the extra `tasks` is missing, there is no key that all workers share, or the client does not take
            the address.
    """
    if settings.tasks_off:
        return None
    if settings.tasks_in_memory:
        return MemoryTasks()
    if importlib.util.find_spec("redis") is None:
        raise ConfigurationError(
            "RESEARCH_TASKS_URL names a Redis server, and its client is not installed: "
            "pip install 'research-assistant-mcp[tasks]'"
        )
    if not settings.state_keys:
        raise ConfigurationError(
            "RESEARCH_TASKS_URL names a Redis server, which holds tasks only sealed: set RESEARCH_STATE_KEYS, to the same "
            "for all gateways and workers"
        )
    from research_shared.tasks.stores.redis_store import NAMESPACE, RedisTasks

    try:
        return RedisTasks(settings.tasks_url.get_secret_value(), namespace=f"{NAMESPACE}{name}:")
    except (ValueError, TypeError):  # what they say quotes the address, which may hold a password
        raise ConfigurationError(
            "RESEARCH_TASKS_URL=(hidden): the client of Redis does not take this address or an option in its query"
        ) from None
