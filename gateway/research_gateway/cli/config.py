"""`research-assistant config`: the settings in effect, where each comes from, and a TOML file of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from research_gateway.cli import show
from research_shared.base_errors import ConfigurationError
from research_shared.root import Root
from research_shared.serving.commandline import RootOption, report_failure, settings_of_options
from research_shared.text.secrets import without_secrets
from research_shared.text.visible import terminal_safe

if TYPE_CHECKING:
    from research_shared.settings import Settings

NOT_SHOWN = "(set, not shown)"


def config_command(
    *,
    root: RootOption = None,
    changed: Annotated[
        bool, Parameter(negative="", help="Only the settings that differ from their defaults.")
    ] = False,
    write_toml: Annotated[
        Path | None,
        Parameter(help="Write them to this new file, for RESEARCH_CONFIG. Secrets are left out."),
    ] = None,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print them as JSON.")] = False,
) -> int:
    """Show the settings in effect, and where each comes from. Secrets are not shown."""
    try:
        settings = settings_of_options(root)
        if write_toml is not None:
            return _write(toml_of(settings), write_toml)
    except ConfigurationError as error:
        return report_failure(error.message)
    origins = settings.origins
    names = [name for name in type(settings).model_fields if not changed or name in origins.given]
    if json_:
        listed = {
            name: {
                "value": json_value(getattr(settings, name)),
                "from": origins.place_of(name),
                "variable": f"RESEARCH_{name.upper()}",
            }
            for name in names
        }
        show.print_json(listed)
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for name in names:
        style = "default" if name in origins.given else "dim"
        value = json_value(getattr(settings, name))
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(
            Text(f"RESEARCH_{name.upper()}", style=style),
            Text(terminal_safe(text), style=style),
            Text(terminal_safe(origins.place_of(name)), style=style),
        )
    show.console().print(table)
    return 0


def json_value(value: object) -> Any:
    """Return a setting's value as JSON, with secrets and user information of addresses hidden."""
    from pydantic import SecretStr

    if isinstance(value, tuple | list):
        return [json_value(each) for each in value]
    if isinstance(value, dict):
        return {key: json_value(each) for key, each in value.items()}
    if isinstance(value, SecretStr):
        return NOT_SHOWN
    if isinstance(value, Root):
        return f"{value.name}={value.directory}"
    return without_secrets(str(value)) if isinstance(value, str | Path) else value


def toml_of(settings: "Settings") -> str:
    """Return a TOML file that gives these settings: those with defaults as comments, and secrets left out."""
    lines = [
        "# Settings of Research Assistant MCP. Name this file with RESEARCH_CONFIG. The environment wins over it."
    ]
    for name, field in type(settings).model_fields.items():
        if name == "config":
            continue
        value = getattr(settings, name)
        lines += ["", f"# {field.description}"]
        if _has_secret(value):
            lines.append(
                f"# {name}: keep it in the environment, RESEARCH_{name.upper()}, or in the file RESEARCH_{name.upper()}_FILE"
            )
        elif value is None:
            lines.append(f"# {name} = ")
        else:
            lines.append(("" if name in settings.origins.given else "# ") + f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _has_secret(value: object) -> bool:
    from pydantic import SecretStr

    if isinstance(value, dict):
        return any(map(_has_secret, value.values()))
    if isinstance(value, tuple):
        return any(map(_has_secret, value))
    return isinstance(value, SecretStr) or (isinstance(value, str) and without_secrets(value) != value)


def _toml(value: object) -> str:
    match value:
        case Root():
            return _toml(f"{value.name}={value.directory}")
        case tuple() | list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return (
                "{ " + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + " }"
            )
        case bool() | int() | float():
            return json.dumps(value)
    # A JSON string is a basic string of TOML.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(text: str, file: Path) -> int:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        return report_failure(f"{file} exists already; name a new file")
    except OSError as error:
        return report_failure(f"{file}: {error.strerror}")
    show.console().print(Text(f"{file} is written; use it with RESEARCH_CONFIG={file.absolute()}"))
    return 0
