"""Office files with bits turned, parts cut and pieces repeated: each gives text or a reason, and nothing else happens."""

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from research_shared.formats import DAMAGED, EMPTY, ENCRYPTED, TOO_LARGE, Refused, format_of, media_type_of
from support.sizes import examples

CASES = sorted((Path(__file__).parents[1] / "data" / "office").iterdir())
MUTANTS = examples(200)


def turned(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them replaced."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 5, 50))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def repeated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a piece left out, or there several times."""
    first, last = sorted(chance.randrange(len(data)) for _ in range(2))
    return data[:first] + data[first:last] * chance.randrange(4) + data[last:]


def with_damaged_parts(data: bytes, chance: random.Random) -> bytes:
    """A whole zip file whose parts are damaged."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if content and chance.random() < 0.3:
                content = chance.choice((turned, repeated))(content, chance)
            copy.writestr(name, content)
    return target.getvalue()


def cut_off(data: bytes, chance: random.Random) -> bytes:
    """The beginning of the bytes."""
    return data[: chance.randrange(len(data))]


def mutated(data: bytes, chance: random.Random) -> bytes:
    kinds: list[Callable[[bytes, random.Random], bytes]] = [turned, repeated, cut_off]
    if data.startswith(b"PK"):
        kinds += [with_damaged_parts] * 3
    return chance.choice(kinds)(data, chance)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name)
def test_a_damaged_file_gives_text_or_a_reason(file: Path) -> None:
    media_type = media_type_of(file.name)
    assert media_type is not None
    (reader,) = format_of(media_type).readers
    chance = random.Random(file.name)
    read, reasons = 0, set[str]()
    for _ in range(MUTANTS):
        data = mutated(file.read_bytes(), chance)
        try:
            pages = reader.open(data, 1, 100)
            texts = list(pages.texts)
        except Refused as refusal:
            reasons.add(refusal.reason)
        else:
            assert len(texts) == min(pages.total, 100)
            read += any(texts)
    assert read >= 2
    assert reasons <= {DAMAGED, EMPTY, ENCRYPTED, TOO_LARGE}
