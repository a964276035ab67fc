"""What each of several workers takes of the settings of all."""

import secrets

from pydantic import SecretStr

from research_shared.settings import Settings

_DIVIDED = (
    "cache_bytes",
    "extract_workers",
    "max_connections",
    "max_sessions",
    "total_concurrency",
)


def share_of_worker(settings: Settings, workers: int) -> Settings:
    """Return the settings of each of so many workers.

    Limits of all clients together are divided, and so are the cache of texts and the processes that read documents. All
    workers get the same key for what travels through the client, made here if the operator gave none. Tasks in memory, which
    the others would not know, are off.
    """
    if workers == 1:
        return settings
    shares = {name: -(-getattr(settings, name) // workers) for name in _DIVIDED}
    # One whole body must have room, however many workers there are.
    held = max(-(-settings.max_held_bytes // workers), settings.max_body_bytes)
    keys = settings.state_keys or (SecretStr(secrets.token_hex(32)),)
    settings = settings.without_tasks() if settings.tasks_in_memory else settings
    return settings.model_copy(update={**shares, "max_held_bytes": held, "state_keys": keys})
