"""Write `docs/configuration.md` from the settings: `python docs/make_configuration.py`."""

from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from research_shared.settings import PREFIX, Settings

TARGET = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

Every setting is an environment variable; the options `--root`, `--index` and `--policy` win over `RESEARCH_ROOTS`,
`RESEARCH_INDEX_DIR` and `RESEARCH_POLICY`. A wrong value ends the start with one line that names what you wrote (the option,
the variable, or the file and its key), the value and what is allowed; keys are never shown. Sizes are in bytes, times in
seconds, lists are separated by commas (`RESEARCH_ROOTS` by `:` as in `PATH`).

Each secret (keys, tokens, headers) may be in a file instead: `RESEARCH_PROVIDER_KEY_FILE=/run/secrets/key`, and so on.

| variable | default | allowed | what it decides |
|---|---|---|---|
"""
TAIL = """
Without `RESEARCH_PROVIDER_KEY`, the key that the provider's own tools read is taken: `ANTHROPIC_API_KEY`, `OPENAI_API_KEY`,
`AZURE_OPENAI_API_KEY`, `GEMINI_API_KEY`, `MISTRAL_API_KEY` or `OPENROUTER_API_KEY`. The settings of each server are in
[providers.md](providers.md).
"""


def default_of(name: str, field: Any) -> str:
    """The default as a person would write it."""
    if name == "roots":
        return "`~/research`"
    if field.default is PydanticUndefined or field.default in (None, ()):
        return ""
    value = field.default
    if isinstance(value, SecretStr):  # what everybody has is no secret
        value = value.get_secret_value()
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def allowed_of(field: Any) -> str:
    """The choices or bounds of a setting."""
    choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
    choices += [c for a in get_args(field.annotation) for c in get_args(a) if isinstance(c, str)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(m, name)}"
        for m in field.metadata
        for name, sign in signs.items()
        if hasattr(m, name)
    ]
    return ", ".join(bounds) or ("`true`, `false`" if field.annotation is bool else "")


def document() -> str:
    """The whole page."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {default_of(name, field)} | {allowed_of(field)} | {field.description or ''} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
