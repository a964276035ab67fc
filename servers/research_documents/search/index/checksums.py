"""Checksums of the files of a passage index, by which the next start tells whether it is as it was left."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from research_documents.search.index.passage_index import META

_TRIES: Final = 3


def checksums(directory: Path, known: Mapping[str, str]) -> dict[str, str] | None:
    """Return the checksums of the files that an index consists of, by name; None while merges keep changing them.

    What else lies there, such as the segment that a merge is writing, does not count. Those of segments may be `known`:
    tantivy never writes one again.

    Raises:
        OSError, ValueError: the index cannot be read.
    """
    known = dict(known)
    for _ in range(_TRIES):
        meta = (directory / META).read_bytes()
        found = {META: hashlib.sha256(meta).hexdigest()}
        try:
            for path in _segment_files(directory, json.loads(meta)):
                if path.name not in known:
                    with path.open("rb") as file:
                        known[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
                found[path.name] = known[path.name]
        except FileNotFoundError:
            continue  # a merge has ended, and its segments are gone
        if (directory / META).read_bytes() == meta:
            return found
    return None


def _segment_files(directory: Path, meta: Any) -> Iterator[Path]:
    """Yield the files of the segments of an index, sorted by name: of what was deleted from one, the latest."""
    deleted: dict[str, str] = {}
    try:
        for segment in meta["segments"]:
            name = segment["segment_id"].replace("-", "")
            deleted[name] = f"{name}.{(segment['deletes'] or {}).get('opstamp')}.del"
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError("the index does not say what it consists of") from error
    for path in sorted(directory.iterdir()):
        name = path.name.partition(".")[0]
        if name in deleted and (path.suffix != ".del" or path.name == deleted[name]):
            yield path
