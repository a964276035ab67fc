"""Ids of documents and of parts of them, as used by the connector tools.

`papers/tor.pdf` is a document, `papers/tor.pdf#page=3` a page of it, `notes/log.txt#lines=2001-` its lines from there.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

_FRAGMENT: Final = re.compile(
    r"#(?:page=(?P<page>[1-9][0-9]{0,8})"
    r"|lines=(?P<first>[1-9][0-9]{0,8})-(?P<last>[1-9][0-9]{0,8})?(?:&from=(?P<character>[1-9][0-9]{0,8}))?)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentId:
    """A parsed id: a document, one of its pages, or its lines from `first` (starting at `character`) to `last`.

    Numbers are 1-based and inclusive. Document paths end in a known suffix, so none can be mistaken for an id with a
    fragment.
    """

    path: str
    page: int | None = None
    first: int = 1
    last: int | None = None
    character: int = 1

    @classmethod
    def parse(cls, given: str) -> Self:
        """Parse an id. Text without a valid fragment is a path.

        >>> DocumentId.parse("notes/log.txt#lines=2001-")
        DocumentId(path='notes/log.txt', page=None, first=2001, last=None, character=1)
        """
        given = given.strip()
        match = _FRAGMENT.search(given)
        if match is None:
            return cls(path=given)
        path = given[: match.start()]
        if match["page"]:
            return cls(path=path, page=int(match["page"]))
        return cls(
            path=path,
            first=int(match["first"]),
            last=int(match["last"]) if match["last"] else None,
            character=int(match["character"] or 1),
        )

    def __str__(self) -> str:
        if self.page is not None:
            return f"{self.path}#page={self.page}"
        if (self.first, self.last, self.character) == (1, None, 1):
            return self.path
        start = f"&from={self.character}" if self.character > 1 else ""
        return f"{self.path}#lines={self.first}-{self.last or ''}{start}"
