"""Adds tasks to a server, as the settings say."""

from typing import Any

from fastmcp import Context, FastMCP

from research_shared.middleware.capabilities import client_samples
from research_shared.settings import Settings
from research_shared.tasks.extension import CallIds, TasksExtension
from research_shared.tasks.records import TaskLimits, TaskStore
from research_shared.tasks.runner import TaskRunner
from research_shared.tasks.sealing import TaskSealer
from research_shared.tasks.stores import open_store


def needs_client(settings: Settings, context: Context, *, has_provider: bool) -> bool:
    """Return whether a call can only be answered while its client waits: it is the client's model that answers, or none.

    The model of a client answers before the server's own, so a client that lends one has its calls answered at once.
    """
    route = settings.model_route
    if route in {"auto", "client"} and client_samples(context):
        return True
    if route == "extractive" or settings.reasoning_url is not None:
        return False
    return route == "client" or not has_provider


def add_tasks(
    server: FastMCP[Any],
    settings: Settings,
    *,
    has_provider: bool | None = None,
    call_ids: CallIds | None = None,
    store: TaskStore | None = None,
) -> TaskStore | None:
    """Let the reasoning tools of a server run as tasks. Return the store; None if the settings turn tasks off.

    Call it last, when everything else is added to the server. `has_provider`: whether the server has a model of its own, by
    default what the settings say. `call_ids` gives the audit ids of a call. `store` replaces that of the settings.

    Raises:
        ConfigurationError: the store of the settings cannot be used.
    """
    store = store if store is not None else open_store(settings, name=server.name)
    if store is None:
        return None
    if has_provider is None:
        has_provider = settings.provider is not None and settings.provider_model is not None
    limits = TaskLimits(
        tasks=settings.tasks_per_caller,
        held_bytes=settings.tasks_bytes_per_caller,
        ttl_s=settings.tasks_ttl_s,
    )
    sealer = TaskSealer(settings)
    own_model = has_provider
    options: dict[str, Any] = {} if call_ids is None else {"call_ids": call_ids}
    server.add_extension(
        TasksExtension(
            store=store,
            sealer=sealer,
            limits=limits,
            detachable=lambda context: not needs_client(settings, context, has_provider=own_model),
            **options,
        )
    )
    server.add_provider(
        TaskRunner(
            server,
            store=store,
            sealer=sealer,
            limits=limits,
            concurrency=settings.tasks_concurrency,
            lease_s=settings.tasks_lease_s,
        )
    )
    return store
