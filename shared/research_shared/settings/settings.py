"""The settings in effect: all sections together, from the environment and a file."""

import os
from collections.abc import Mapping
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from research_shared.base_errors import ConfigurationError
from research_shared.root import Root
from research_shared.settings.file import read_settings_file, settings_file
from research_shared.settings.names import PREFIX, refuse_unknown_variables, variable_of
from research_shared.settings.origins import ENVIRONMENT, Origin, Origins
from research_shared.settings.secret_files import FILE_SUFFIX, read_secret_files, secret_settings
from research_shared.settings.sections.audit import AuditSettings
from research_shared.settings.sections.authentication import AuthenticationSettings
from research_shared.settings.sections.fleet import FleetSettings
from research_shared.settings.sections.gateway import GatewaySettings
from research_shared.settings.sections.general import GeneralSettings
from research_shared.settings.sections.reading import ReadingSettings
from research_shared.settings.sections.reasoning import ReasoningSettings, key_variable
from research_shared.settings.sections.searching import SearchingSettings
from research_shared.settings.sections.serving import ServingSettings
from research_shared.settings.sections.tasks import TasksSettings
from research_shared.text.secrets import quoted_value


class Settings(
    # Pydantic takes the fields of the last base first: this is the order of `docs/configuration.md` from below.
    FleetSettings,
    ServingSettings,
    AuthenticationSettings,
    GatewaySettings,
    AuditSettings,
    TasksSettings,
    ReasoningSettings,
    SearchingSettings,
    ReadingSettings,
    GeneralSettings,
    BaseSettings,
):
    """The operator's settings. Field `x` is the variable `RESEARCH_X`; units are in names or descriptions."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, defer_build=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (Pydantic names its arguments)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments and variables alone. No `.env` file is read, and to look for each field in one takes 2 ms."""
        has_variables = any(name.upper().startswith(PREFIX) for name in os.environ)
        return (init_settings, env_settings) if has_variables else (init_settings,)

    _origins: Origins = PrivateAttr(default_factory=Origins)

    @property
    def origins(self) -> Origins:
        """Where the values come from."""
        return self._origins

    def with_origins(self, origins: Origins) -> Self:
        """Return these settings, which know from now on where their values come from."""
        self._origins = origins
        return self

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        /,
        **overrides: Any,
    ) -> Self:
        """Read the settings of an environment, `os.environ` by default; `overrides` win over it, and it over a TOML file.

        Each secret can be in a file, which `RESEARCH_…_FILE` names. `options` are the options of the command line that
        give overrides, by setting, such as `{"roots": "--root"}`.

        Raises:
            ConfigurationError: a value is invalid, or a variable is none of ours. The message is one line with what the
                operator wrote (an option, a variable, a key of the file), its value and what is allowed, without secrets.
        """
        secrets = secret_settings(cls.model_fields)
        variables = os.environ if environ is None else environ
        refuse_unknown_variables(
            variables, [*cls.model_fields, *(name + FILE_SUFFIX.lower() for name in secrets)]
        )
        file = settings_file(variables, usual=environ is None)
        stored = {} if file is None else read_settings_file(file, cls.model_fields)
        in_files = read_secret_files(variables, secrets)
        origins = Origins.of(
            variables,
            settings=cls.model_fields,
            file=file,
            stored=stored,
            in_files=in_files,
            overrides=overrides,
            options=options or {},
        )
        values = {name: value for name, value in stored.items() if not variables.get(variable_of(name))}
        if environ is not None:
            values |= {k: v for k in cls.model_fields if (v := environ.get(variable_of(k)))}
        values |= in_files | overrides
        if "provider_key" not in origins.given:
            provider = str(values.get("provider") or variables.get(variable_of("provider"), ""))
            variable = key_variable(provider) or ""
            if key := variables.get(variable):
                values["provider_key"] = key
                origin = Origin(place=f"{ENVIRONMENT}, {variable}", name=variable)
                origins = Origins({**origins.given, "provider_key": origin})
        try:
            return cls(**values).with_origins(origins)
        except ValidationError as error:
            raise ConfigurationError(origins.as_written(_one_line(cls, error))) from None


def _one_line(settings: type[Settings], error: ValidationError) -> str:
    problem = error.errors()[0]
    allowed = problem.get("ctx", {}).get("expected") or problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return allowed
    name = str(problem["loc"][0])
    secret = "Secret" in str(settings.model_fields[name].annotation)
    value = problem["input"]
    if isinstance(value, tuple) and any(isinstance(each, Root) for each in value):
        return f"{variable_of(name)}: allowed: {allowed}"  # which names the folders
    shown = "(hidden)" if secret else quoted_value(value)
    return f"{variable_of(name)}={shown}: allowed: {allowed}"
