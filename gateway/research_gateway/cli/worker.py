"""`research-assistant worker`: works on the tasks that gateways keep on a Redis or Valkey server."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import (
    IndexOption,
    RootOption,
    load_settings,
    prepare_dedicated_process,
    report_failure,
)

if TYPE_CHECKING:
    from research_shared.settings import Settings


def worker_command(
    *,
    root: RootOption = None,
    index: IndexOption = None,
    concurrency: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1),
            help="Tasks at once; RESEARCH_TASKS_CONCURRENCY when not given, at least 1.",
        ),
    ] = None,
) -> None:
    """Work on the tasks of RESEARCH_TASKS_URL until SIGTERM: it then takes no more, and ends those that it has.

    Give it the settings of the gateways: folders, policy, model, keys. The audit log may be the same path or another one.
    """
    import asyncio  # as every command: its help is shown without it

    prepare_dedicated_process()
    settings = load_settings(root, index_dir=index)
    if settings.tasks_off or settings.tasks_in_memory:
        sys.exit(
            report_failure(
                "RESEARCH_TASKS_URL: a worker takes tasks from a server, such as redis://localhost:6379/0"
            )
        )
    at_once = concurrency or max(1, settings.tasks_concurrency)
    try:
        asyncio.run(run_worker(settings.model_copy(update={"tasks_concurrency": at_once})))
    except ConfigurationError as error:
        sys.exit(report_failure(settings.origins.as_written(error.message)))


async def run_worker(settings: "Settings") -> None:
    """Work on tasks until SIGTERM or SIGINT. Tasks that last longer than the drain time are given back.

    Raises:
        ConfigurationError: the gateway cannot be built from the settings.
    """
    import asyncio
    import signal

    from fastmcp import Client

    from research_gateway.app import build_gateway
    from research_shared.logs import configure_logging, get_logger
    from research_shared.serving.drain import Drain
    from research_shared.serving.process import dedicated_process, traces_exported

    configure_logging(settings.log_level, form=settings.log_format)
    log = get_logger("research.worker")
    gateway = build_gateway(settings)
    drain = Drain()
    gateway.add_middleware(drain)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    with traces_exported(settings, "research-worker"):
        # A client in this process keeps the gateway running, and with it what takes the tasks.
        async with dedicated_process(settings), Client(gateway):
            log.info("worker ready", concurrency=settings.tasks_concurrency)
            await stopped.wait()
            drain.begin()
            if not await drain.idle(settings.drain_s):
                log.warning("drain timeout: tasks are given back", tasks=drain.in_flight)
    log.info("worker ended")
