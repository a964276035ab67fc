"""Sources as BibTeX. Fields are UTF-8; what has a meaning to TeX is escaped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from research_reasoning.exports.references import SourceReference, person_names

_MEANINGS: Final = {
    "\\": r"\textbackslash{}",
    # BibTeX counts braces behind a backslash, too: one alone would end the field elsewhere.
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
_NOT_IN_URLS: Final = str.maketrans({"{": "%7B", "}": "%7D", "\\": "%5C", " ": "%20"})
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_AND: Final = re.compile(r"\band\b", re.IGNORECASE)


def escaped_for_tex(text: str) -> str:
    r"""Return a text in which nothing has a meaning to TeX or BibTeX.

    >>> print(escaped_for_tex("50% of C#_{x"))
    50\% of C\#\_\textbraceleft{}x
    """
    return "".join(_MEANINGS.get(char, char) for char in text)


def bibtex(references: Iterable[SourceReference], places: Mapping[str, Sequence[str]]) -> str:
    """Return entries of the type `misc`, which every style knows. `places` tells what of each document the answer rests on."""
    return "\n\n".join(_misc_entry(each, places.get(each.path, ())) for each in references) + "\n"


def _misc_entry(source: SourceReference, places: Sequence[str]) -> str:
    said = source.metadata
    year, _, month = said.date.partition("-")
    # Double braces keep the case of a title.
    fields = {"title": f"{{{{{escaped_for_tex(source.title)}}}}}"}
    if said.authors:
        fields = {"author": f"{{{' and '.join(map(_author, said.authors))}}}", **fields}
    if year:
        fields["year"] = f"{{{year}}}"
    if month:
        fields["month"] = _MONTHS[int(month[:2]) - 1]
        if day := month[3:]:
            fields["day"] = f"{{{int(day)}}}"
    if said.language:
        fields["language"] = f"{{{said.language}}}"
    fields["howpublished"] = f"{{{escaped_for_tex(source.media_type)}}}"
    where = "; ".join([source.path, *places])
    fields["note"] = f"{{{escaped_for_tex(where)}}}"
    if source.url is not None:
        fields["url"] = f"{{{source.url.translate(_NOT_IN_URLS)}}}"
    lines = [f"  {name} = {value}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{source.key},", *lines, "}"])


def _author(name: str) -> str:
    """Return a name as BibTeX parts it; one that it would part wrongly in braces."""
    names = person_names(name)
    if names is None or any(_AND.search(part) for part in names):
        return f"{{{escaped_for_tex(name)}}}"
    family, given = names
    return f"{escaped_for_tex(family)}, {escaped_for_tex(given)}"
