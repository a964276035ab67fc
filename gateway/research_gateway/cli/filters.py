"""Options of the commands that choose documents by what they are: those of the tools, with the same names."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """Which documents are wanted. Each that is not given admits everything; a document has to meet all that are."""

    type: Annotated[
        list[str] | None,
        Parameter(negative="", help="Only this type: pdf, slides, mail, …; repeat it for several."),
    ] = None
    modified_after: Annotated[
        str | None, Parameter(help="Only files changed then or later: 2024, 2024-05, 2024-05-31.")
    ] = None
    modified_before: Annotated[str | None, Parameter(help="Only files changed then or earlier.")] = None
    dated_after: Annotated[
        str | None, Parameter(help="Only documents that bear this date themselves, or a later one.")
    ] = None
    dated_before: Annotated[
        str | None, Parameter(help="Only documents that bear this date themselves, or an earlier one.")
    ] = None
    author: Annotated[
        list[str] | None,
        Parameter(negative="", help="Only by this author, a name or a part; repeat it for several."),
    ] = None
    tags: Annotated[
        list[str] | None,
        Parameter(negative="", help="Only with this tag; repeat it for several, of which all are needed."),
    ] = None

    def arguments(self) -> dict[str, str | None]:
        """Return the arguments of the tools, None for those that are not given.

        >>> {name: value for name, value in FilterOptions(type=["pdf", "mail"]).arguments().items() if value}
        {'type': 'pdf, mail'}
        """
        return {
            "type": _all_of(self.type, ", "),
            "modified_after": self.modified_after,
            "modified_before": self.modified_before,
            "dated_after": self.dated_after,
            "dated_before": self.dated_before,
            "author": _all_of(self.author, "; "),
            "tags": _all_of(self.tags, ", "),
        }


EVERYTHING_WANTED = FilterOptions()


def _all_of(given: list[str] | None, joint: str) -> str | None:
    return joint.join(given) if given else None
