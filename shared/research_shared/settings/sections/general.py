"""Settings of the folders and the log."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from research_shared.root import Root
from research_shared.settings.field_types import HttpUrl, Roots, SecretHeaders
from research_shared.settings.sections.section import Section


class GeneralSettings(Section):
    """What is read, and what is logged."""

    config: Path | None = Field(
        default=None,
        description="TOML file with settings that the environment does not give, named like these without RESEARCH_ and in "
        "lower case; `research.toml` in the user's configuration directory when not set",
    )
    roots: Roots = Field(
        default_factory=lambda: (Root("research", Path.home() / "research"),),
        description="research folders: an os.pathsep list of directories, each optionally name=/dir",
    )
    include_hidden: bool = Field(
        default=False, description="whether names with a leading dot are documents too"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="how much the server process logs to stderr; the signal SIGUSR1 switches to everything and back",
    )
    log_format: Literal["auto", "logfmt", "json"] = Field(
        default="auto",
        description="how log lines look; `auto`: colours on a terminal, else logfmt",
    )
    otlp_url: HttpUrl | None = Field(
        default=None,
        description="where spans of calls are sent, by OTLP over HTTP, such as `http://collector:4318/v1/traces`; needs the "
        "extra `otlp`",
    )
    otlp_headers: SecretHeaders = Field(
        default_factory=dict, description="HTTP headers for that collector, as a JSON object"
    )

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("roots")
    @classmethod
    def _distinct(cls, roots: tuple[Root, ...]) -> tuple[Root, ...]:
        if not roots:
            raise ValueError("at least one directory")
        for at, root in enumerate(roots):
            for other in roots[:at]:
                if other.directory == root.directory:
                    raise ValueError(f"each directory once; {root.directory} is given twice")
                if other.name == root.name:
                    raise ValueError(
                        f"root names that differ; {other.directory} and {root.directory} are both called {root.name}: "
                        "name them as in name=/dir"
                    )
        return roots
