"""What a push tells of what it did."""

from dataclasses import dataclass, field

from research_shared.base_errors import ConfigurationError


@dataclass(slots=True, kw_only=True)
class PushReport:
    """What a push did. `unreadable` and `failed` hold (path, reason): documents without text, and those that the cluster refuses.

    `without_vectors` documents of the index have passages that should have a vector and have none; `no_vectors` says why, as a
    clause. `embedding_failed` says that the model is why.
    """

    listed: int = 0
    pushed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    without_vectors: int = 0
    no_vectors: str = ""
    embedding_failed: bool = False


class FolderAway(ConfigurationError):
    """A part of the folder seems to be away, for example not mounted. What the index has of it stays; `report` tells of the rest."""

    def __init__(self, message: str, report: PushReport | None = None) -> None:
        super().__init__(message)
        self.report = report or PushReport()
