"""What this machine has: Python, packages, readers, OCR, watches, open files, a free port."""

import resource
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from research_gateway.cli.doctor.finding import Finding
from research_shared.base_errors import ConfigurationError
from research_shared.text.sizes import counted

if TYPE_CHECKING:
    from research_shared.settings import Settings

MIN_OPEN_FILES = 1024
INOTIFY_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


def python_finding() -> Finding:
    """Return which Python this is."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(about="python", status="ok", text=f"{version} at {sys.executable}")


def proxy_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield a problem if the environment names a proxy that cannot be used, where the settings name a server to ask."""
    needed = (
        settings.search_url,
        settings.embedding_url,
        settings.provider,
        settings.documents_url,
        settings.reasoning_url,
        settings.login,
        settings.auth_jwks_url,
        settings.otlp_url,
    )
    if not any(needed):
        return
    import httpx

    from research_shared.proxies import usable_proxies

    try:
        with usable_proxies():
            httpx.Client(verify=False).close()  # noqa: S501  (nothing is connected)
    except ConfigurationError as error:
        yield Finding(
            about="proxy",
            status="problem",
            text=f"{error.message}; no server was asked",
            remedy=error.hint,
        )


def reader_findings() -> Iterator[Finding]:
    """Yield which formats can be read, and what to install for others."""
    from research_shared.formats import formats

    missing = [each for each in formats() if each.readers and not any(r.installed for r in each.readers)]
    for each in missing:
        packages = sorted({package for reader in each.readers for package in reader.packages})
        yield Finding(
            about="formats",
            status="problem",
            text=f"{each.title}: no reader is installed",
            remedy=f"pip install {' or '.join(packages)}",
        )
    if not missing:
        suffixes = sorted({suffix for each in formats() for suffix in each.media_types})
        yield Finding(about="formats", status="ok", text=f"readers for {' '.join(suffixes)}")


def extra_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield a problem for each extra that the settings need and that is not installed."""
    needed = {
        ("RESEARCH_METRICS", "metrics", "prometheus_client"): settings.metrics,
        ("RESEARCH_OTLP_URL", "otlp", "opentelemetry.exporter.otlp.proto.http"): settings.otlp_url
        is not None,
        ("RESEARCH_TASKS_URL", "tasks", "redis"): not (settings.tasks_off or settings.tasks_in_memory),
    }
    for (variable, extra, package), wanted in needed.items():
        if wanted and not is_installed(package):
            yield Finding(
                about="packages",
                status="problem",
                text=f"{variable} needs {package.partition('.')[0]}, which is not installed",
                remedy=f"pip install 'research-assistant-mcp[{extra}]'",
            )


def is_installed(package: str) -> bool:
    """Return whether a package can be imported. It is not."""
    try:
        return find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # what holds it is missing, or it is barred
        return False


def ocr_finding(settings: "Settings") -> Finding:
    """Return whether scanned pages can be read: the program, and its data for each language."""
    from research_shared.reading.ocr import ocr_of

    ocr = ocr_of(settings)
    if ocr is None:
        return Finding(
            about="ocr",
            status="ok",
            text="off: scanned pages are named and not read (RESEARCH_OCR=tesseract reads them)",
        )
    if ocr.problem:
        language = "data" in ocr.problem
        return Finding(
            about="ocr",
            status="problem",
            text=f"RESEARCH_OCR=tesseract: {ocr.problem}",
            remedy="Install the data, such as apt install tesseract-ocr-deu or brew install tesseract-lang, or set RESEARCH_OCR_LANGUAGES."
            if language
            else "Install it: apt install tesseract-ocr, or brew install tesseract.",
        )
    return Finding(about="ocr", status="ok", text=f"{ocr.command[0]} {ocr.version}, {ocr.languages}")


def port_finding(port: int) -> Finding:
    """Return whether a server can listen on a port of this machine."""
    from research_shared.serving.transports.http import check_address

    try:
        check_address("127.0.0.1", port)
    except ConfigurationError as error:
        return Finding(
            about="port",
            status="problem",
            text=error.message,
            remedy="Stop what listens there (a server that runs already, perhaps), or serve with another --port.",
        )
    return Finding(about="port", status="ok", text=f"{port} is free")


def watching_finding(settings: "Settings", directories: int) -> Finding:
    """Return whether changes in the folders are seen at once: the kernel limits how many directories a user watches."""
    if not settings.watch:
        return Finding(
            about="watching",
            status="warning",
            text=f"off: changes are seen after {settings.rescan_interval_s:g} s",
            remedy="Set RESEARCH_WATCH=true.",
        )
    try:
        limit = int(INOTIFY_WATCHES.read_text())
    except (OSError, ValueError):
        return Finding(about="watching", status="ok", text=counted(directories, "directory", "directories"))
    if directories > limit:
        return Finding(
            about="watching",
            status="problem",
            text=f"{counted(directories, 'directory', 'directories')}, and this machine allows {limit} watches a user",
            remedy=f"sysctl fs.inotify.max_user_watches={2 * directories}; until then changes are found by scans.",
        )
    return Finding(
        about="watching",
        status="ok",
        text=f"{counted(directories, 'directory', 'directories')}, {limit} watches allowed",
    )


def open_files_finding() -> Finding:
    """Return whether this process may open enough files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_OPEN_FILES:
        return Finding(
            about="open files",
            status="warning",
            text=f"this process may open {counted(soft, 'file')}, enough for few clients",
            remedy=f"ulimit -n {4 * MIN_OPEN_FILES}, or LimitNOFILE= in the service's unit.",
        )
    return Finding(about="open files", status="ok", text=f"{soft} allowed")
