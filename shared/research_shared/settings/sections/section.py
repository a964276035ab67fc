"""What all sections of the settings are."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Some fields of `Settings`, and their checks. Only `Settings` is instantiated."""

    # The validator of a section alone is never used, and building it would take milliseconds of each start.
    model_config = ConfigDict(defer_build=True)
