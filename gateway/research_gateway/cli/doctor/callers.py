"""Who may call the server: the login and the policy."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from research_gateway.cli.doctor.finding import Finding
from research_gateway.cli.doctor.stores import unwritable
from research_shared.base_errors import ConfigurationError
from research_shared.text.sizes import counted

if TYPE_CHECKING:
    from research_shared.settings import Settings


def login_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield what is found about the login, if there is one: nothing is registered, and nobody logs in."""
    if settings.login is None:
        return
    if settings.auth_issuer is not None:
        from research_shared.serving.login import discover

        try:
            discover(settings.auth_issuer)
        except ConfigurationError as error:
            yield Finding(
                about="login",
                status="problem",
                text=settings.origins.as_written(error.message),
                remedy="Name the issuer exactly as it calls itself, and let this machine reach it.",
            )
            return
    if settings.login_dir is not None and (problem := _unusable_for_login(settings.login_dir)) is not None:
        yield Finding(
            about="login",
            status="problem",
            text=f"{settings.login_dir} cannot be used: {problem}",
            remedy="Make it writable for the server's user alone: without it nobody can log in.",
        )
        return
    if settings.logs_in_at_google and settings.policy is None:
        yield Finding(
            about="login",
            status="warning",
            text="everybody with a Google account may log in, if the application is not internal",
            remedy="Set RESEARCH_POLICY to rules that name the domain of the firm.",
        )
        return
    yield Finding(
        about="login",
        status="ok",
        text=f"{settings.login}: clients of {settings.public_url}/mcp are led to it",
    )


def _unusable_for_login(directory: Path) -> str | None:
    from research_shared.serving.login import open_to_others

    return unwritable(directory) or open_to_others(directory)


def policy_findings(settings: "Settings") -> Iterator[Finding]:
    """Yield whether the policy can be read, if there is one."""
    if settings.policy is None:
        return
    from research_shared.policy import load_policy

    try:
        policy = load_policy(settings.policy)
    except ConfigurationError as error:
        yield Finding(
            about="policy",
            status="problem",
            text=settings.origins.as_written(error.message),
            remedy="Correct it; `research-assistant policy check` says what it gives to whom (docs/policy.md).",
        )
        return
    yield Finding(
        about="policy", status="ok", text=f"{settings.policy}: {counted(len(policy.rules), 'rule')}"
    )
