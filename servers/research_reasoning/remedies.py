"""What the error says that no model can be asked: a way to a model that is not there yet, never one that is."""

from research_shared.settings import Settings

STILL_WORKS = "Searching and reading documents still works."


def model_hint(settings: Settings, *, has_provider: bool, provider_refused: bool = False) -> str:
    """The hint of `model_unavailable`: names only settings that are not set, or are set to something else.

    `provider_refused` says that a provider was asked and takes nothing from this server.
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
