"""Hints of the errors that no model is available: the ways to a model that are not in use yet."""

from research_shared.settings import Settings

STILL_WORKS = "Searching and reading documents still works."


def model_hint(settings: Settings, *, has_provider: bool, provider_refused: bool = False) -> str:
    """Return the hint of `model_unavailable`. It names only settings that are not set, or set to another value.

    `provider_refused` is true if a provider rejected this server's requests.
    """
    if provider_refused:
        return (
            "Tell the operator what the message says about the provider; changing the call does not help. "
            + STILL_WORKS
        )
    ways = []
    if settings.model_route in {"auto", "client"}:
        ways.append("use a client that answers sampling requests")
    if has_provider:  # it is RESEARCH_MODEL_ROUTE=client that keeps it from answering
        ways.append(
            "have the operator set RESEARCH_MODEL_ROUTE=auto, so that the configured provider answers"
        )
    else:
        ways.append(f"have the operator set {_listed(_not_set(settings))}")
        ways.append(
            "have the operator set RESEARCH_MODEL_ROUTE=extractive, for sentences chosen without a model"
        )
    sentence = "; or ".join(ways)
    return f"{sentence[0].upper()}{sentence[1:]}. {STILL_WORKS}"


def _not_set(settings: Settings) -> list[str]:
    names = ["RESEARCH_PROVIDER"]
    if settings.provider_model is None:
        names.append("RESEARCH_PROVIDER_MODEL")
    if settings.provider_key is None:
        names.append("RESEARCH_PROVIDER_KEY")
    if settings.model_route == "client":
        names.append("RESEARCH_MODEL_ROUTE=auto")
    return names


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
