"""What `doctor` says about one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do about a warning or a problem."""

    about: str
    status: Status
    text: str
    remedy: str | None = None
