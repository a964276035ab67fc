"""`research-assistant doctor`: what keeps the server from working, or from working well, each with its remedy."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.console import Group
from rich.text import Text

from research_gateway.cli import show
from research_gateway.cli.doctor.callers import login_findings, policy_findings
from research_gateway.cli.doctor.configurations import client_findings
from research_gateway.cli.doctor.finding import Finding, Status
from research_gateway.cli.doctor.folders import folder_findings, walk
from research_gateway.cli.doctor.machine import (
    extra_findings,
    ocr_finding,
    open_files_finding,
    port_finding,
    proxy_findings,
    python_finding,
    reader_findings,
    watching_finding,
)
from research_gateway.cli.doctor.models import meaning_finding, model_findings
from research_gateway.cli.doctor.services import cluster_findings, task_findings
from research_gateway.cli.doctor.stores import index_finding, trail_findings
from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import RootOption, settings_of_options
from research_shared.text.sizes import counted
from research_shared.text.visible import terminal_safe

_STATUS_MARKS: Mapping[Status, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "problem": ("✗", "bold red"),
}


def doctor_command(
    *,
    root: RootOption = None,
    model: Annotated[bool, Parameter(help="Ask the configured model for one short answer.")] = True,
    port: Annotated[
        int | None, Parameter(help="Check as well that `serve --transport http --port` could listen there.")
    ] = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print the findings as JSON.")] = False,
) -> int:
    """Look for what keeps the server from working, with remedies.

    Exit status 0: nothing does; 1: something does.
    """
    findings = list(examine(root, ask_model=model, port=port))
    if json_:
        show.print_json([asdict(finding) for finding in findings])
    else:
        show.console().print(_findings_shown(findings))
    return 1 if any(finding.status == "problem" for finding in findings) else 0


def examine(
    roots: list[str] | None = None, *, ask_model: bool = True, port: int | None = None
) -> Iterator[Finding]:
    """Yield the findings about this machine and the settings in effect. `roots` replace those of the settings.

    `port`: one of this machine that a server is to listen on.
    """
    yield python_finding()
    try:
        settings = settings_of_options(roots)
    except ConfigurationError as error:
        yield Finding(
            about="settings",
            status="problem",
            text=error.message,
            remedy="Correct or unset it; `research-assistant config` lists the settings.",
        )
        yield from client_findings()
        return
    yield Finding(about="settings", status="ok", text="all of them are valid")
    directories = 0
    for each in settings.roots:
        tree = walk(each.directory, include_hidden=settings.include_hidden)
        directories += tree.directories
        yield from folder_findings(each.name, each.directory, tree)
    yield from reader_findings()
    yield from extra_findings(settings)
    yield ocr_finding(settings)
    unusable = list(proxy_findings(settings))
    yield from unusable
    ask_model = ask_model and not unusable
    if settings.search_url is None:
        yield index_finding(settings)
    elif not unusable:
        yield from cluster_findings(settings)
    yield meaning_finding(settings, ask=ask_model)
    yield watching_finding(settings, directories)
    yield open_files_finding()
    if port is not None:
        yield port_finding(port)
    yield from task_findings(settings)
    yield from trail_findings(settings)
    if not unusable:
        yield from login_findings(settings)
    yield from policy_findings(settings)
    yield from model_findings(settings, ask=ask_model)
    yield from client_findings()


def _findings_shown(findings: list[Finding]) -> Group:
    lines: list[Text] = []
    for finding in findings:
        mark, style = _STATUS_MARKS[finding.status]
        line = Text(f"{mark} ", style=style)
        line.append(f"{finding.about}: ", style="bold").append(terminal_safe(finding.text), style="default")
        lines.append(line)
        if finding.remedy is not None and finding.status != "ok":
            lines.append(Text(f"    → {terminal_safe(finding.remedy)}", style="default"))
    counts = Counter(finding.status for finding in findings)
    lines.append(
        Text(f"{counted(counts['problem'], 'problem')}, {counted(counts['warning'], 'warning')}", style="dim")
    )
    return Group(*lines)
