"""What a process does that runs nothing but our servers: it keeps its memory low, heeds SIGUSR1, and exports traces."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from research_shared.base_errors import ConfigurationError
from research_shared.logs import switch_level
from research_shared.serving.memory import keep_memory_low, tune_gc_for_dedicated_process
from research_shared.serving.version import VERSION
from research_shared.settings import Settings


@asynccontextmanager
async def dedicated_process(settings: Settings) -> AsyncIterator[None]:
    """Keep the memory of this process, which runs only our server, low while a block runs. Heed SIGUSR1."""
    tune_gc_for_dedicated_process()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, switch_level, settings.log_level)
    task = asyncio.create_task(keep_memory_low())
    try:
        yield
    finally:
        task.cancel()
        loop.remove_signal_handler(signal.SIGUSR1)


@contextmanager
def traces_exported(settings: Settings, service: str) -> Iterator[None]:
    """Send the spans of the process to the collector of the settings, if there is one, while a block runs.

    Raises:
        ConfigurationError: the packages of the extra `otlp` are missing.
    """
    if settings.otlp_url is None:
        yield
        return
    try:
        from research_shared.telemetry.export import export_traces
    except ImportError as error:
        raise ConfigurationError(
            "RESEARCH_OTLP_URL needs packages that are not installed: pip install 'research-assistant-mcp[otlp]'"
        ) from error
    headers = {name: value.get_secret_value() for name, value in settings.otlp_headers.items()}
    end = export_traces(settings.otlp_url, headers=headers, service=service, version=VERSION)
    try:
        yield
    finally:
        end()
