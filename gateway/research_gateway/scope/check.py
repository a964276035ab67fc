"""`research-assistant policy`: shows what a caller sees under the operator's policy, and why."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import RootOption, load_settings, report_failure
from research_shared.tools.names import CONNECTOR_TOOLS, OWN_TOOLS

if TYPE_CHECKING:
    from research_shared.policy.rules import Access, Caller, Policy
    from research_shared.settings import Settings

policy_app = App(name="policy", help="Check who may see which folders and call which tools.")


@policy_app.command
def check(
    *,
    policy: Annotated[
        Path | None, Parameter(name="--policy", help="The policy; RESEARCH_POLICY when not given.")
    ] = None,
    principal: Annotated[
        str | None,
        Parameter(
            name="--as", help="Name of a token or subject of a JWT; the default principal when not given."
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        Parameter(name="--group", negative="", help="A group of the caller; repeat it for several."),
    ] = None,
    claim: Annotated[
        list[str] | None,
        Parameter(
            name="--claim", negative="", help="A claim of the caller, as name=value; repeat it for several."
        ),
    ] = None,
    root: RootOption = None,
    limit: Annotated[int, Parameter(name="--limit", help="Documents named of each kind at most.")] = 100,
) -> None:
    """Show what somebody sees of the research folders, which tools it may call, and which rule says so."""
    from research_shared.policy.file import load_policy

    settings = load_settings(root, policy=policy)
    if settings.policy is None:
        sys.exit(report_failure("no policy: name one with --policy FILE or RESEARCH_POLICY"))
    try:
        rules = load_policy(settings.policy)
    except ConfigurationError as error:
        sys.exit(report_failure(settings.origins.as_written(error.message)))
    caller = _caller(rules, principal=principal, groups=group or (), claims=claim or ())
    for line in sight_of(rules, caller, settings, limit=limit):
        sys.stdout.write(line + "\n")


def _caller(
    rules: "Policy", *, principal: str | None, groups: Sequence[str], claims: Sequence[str]
) -> "Caller":
    from research_shared.policy.rules import Caller

    if principal is None:
        return Caller()
    held: dict[str, list[str]] = {}
    for given in claims:
        name, _, value = given.partition("=")
        held.setdefault(name, []).append(value)
    named = Caller.of_claims(principal, held, rules.groups_claim)
    return Caller(name=principal, groups=(*named.groups, *groups), claims=held)


def sight_of(rules: "Policy", caller: "Caller", settings: "Settings", *, limit: int) -> Iterator[str]:
    """Yield what a caller sees and why, line by line."""
    access = rules.access_of(caller)
    name = caller.name or rules.default_principal
    who = name if caller.name else f"callers without authentication ({name or 'no default principal'})"
    yield f"{who}: {'sees nothing, because no rule applies' if not access.rules else 'these rules apply'}"
    for rule, reason in zip(access.rules, access.reasons, strict=True):
        yield f"  {rule.name} ({reason})"
    tools = own_tools(settings)
    yield from _lines_of("may call", [tool for tool in tools if access.may_call(tool)], len(tools), "tools")
    yield from _lines_of(
        "may not call", [tool for tool in tools if not access.may_call(tool)], len(tools), "tools"
    )
    paths = _paths_of_documents(settings)
    scope = access.scope
    for word, chosen in (
        ("sees", [path for path in paths if scope.admits(path)]),
        ("does not see", [path for path in paths if not scope.admits(path)]),
    ):
        lines = [f"{path}: {_reason_for(access, path)}" for path in chosen[:limit]]
        yield from _lines_of(word, lines, len(paths), "documents", more=len(chosen) - len(lines))


def _lines_of(word: str, lines: Sequence[str], total: int, what: str, more: int = 0) -> Iterator[str]:
    yield f"{word} {len(lines) + more} of {total} {what}{':' if lines else ''}"
    yield from (f"  {line}" for line in lines)
    if more:
        yield f"  … and {more} more"


def _reason_for(access: "Access", path: str) -> str:
    said = [f"{rule} {word} {pattern}" for rule, word, pattern in access.verdicts(path)]
    return ", ".join(said) or "no rule allows it"


def _paths_of_documents(settings: "Settings") -> list[str]:
    from research_shared.access.roots import RootsPolicy

    return sorted(info.path for info in RootsPolicy.from_settings(settings).walk())


def own_tools(settings: "Settings") -> list[str]:
    """Return the names of our own tools, sorted. No server is built for it: that takes a second."""
    return sorted([*OWN_TOOLS, *(CONNECTOR_TOOLS if settings.connector_tools else ())])
