"""Sources as CSL-JSON, the format of Zotero, Pandoc and other programs that cite (schema: citationstyles.org, version 1.0.2)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from research_reasoning.exports.references import SourceReference, person_names

_TYPES: Final = (
    ("text/html", "webpage"),
    ("text/csv", "dataset"),
    ("text/tab-separated-values", "dataset"),
    ("application/vnd.ms-excel", "dataset"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml", "dataset"),
    ("application/vnd.oasis.opendocument.spreadsheet", "dataset"),
    ("application/vnd.openxmlformats-officedocument.presentationml", "speech"),
    ("application/vnd.oasis.opendocument.presentation", "speech"),
    ("message/", "personal_communication"),
    ("application/mbox", "personal_communication"),
    ("application/vnd.ms-outlook", "personal_communication"),
    ("application/epub", "book"),
)
"""Beginnings of media types, and what their documents are to CSL; all others are of the type `document`."""


def csl_json(references: Iterable[SourceReference], places: Mapping[str, Sequence[str]]) -> str:
    """Return the list of items as JSON. `places` tells what of each document the answer rests on."""
    items = [_item(each, places.get(each.path, ())) for each in references]
    return json.dumps(items, ensure_ascii=False, indent=2) + "\n"


def _item(source: SourceReference, places: Sequence[str]) -> dict[str, Any]:
    said = source.metadata
    item: dict[str, Any] = {"id": source.key, "type": _type_of(source.media_type), "title": source.title}
    if said.authors:
        item["author"] = [_csl_name(author) for author in said.authors]
    if said.date:
        item["issued"] = {"date-parts": [[int(part) for part in said.date.split("-")]]}
    if said.language:
        item["language"] = said.language
    if source.url is not None:
        item["URL"] = source.url
    item["medium"] = source.media_type
    item["note"] = "; ".join([source.path, *places])
    return item


def _csl_name(author: str) -> dict[str, str]:
    names = person_names(author)
    return {"literal": author} if names is None else {"family": names[0], "given": names[1]}


def _type_of(media_type: str) -> str:
    return next((kind for begin, kind in _TYPES if media_type.startswith(begin)), "document")
