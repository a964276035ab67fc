"""Vectors on disk: one file for each generation, written whole and never changed, so that any process may map it.

A file is a head of fixed size, the head's JSON (`identity` of the model, `dimension`, `count`, CRC-32 of what follows), the
keys of the embedded texts (16 bytes each), a scale for each vector (4 bytes) and the components (1 byte each). All numbers are
little-endian. What does not fit its head, or is of another model, is not used.
"""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research_shared.logs import get_logger

log = get_logger("research.search")

MAGIC: Final = b"RAVECTR2"
"""The digit changes with the form of the file, and with what is embedded of a passage: older vectors are made again."""
HEAD: Final = struct.Struct("<8sI")
MAX_HEAD_BYTES: Final = 4096
KEY_BYTES: Final = 16
KEY: Final = np.dtype([("high", "<u8"), ("low", "<u8")])
"""The digest of a text."""
_CHECKED_BYTES: Final = 4 * 1024 * 1024

Keys = NDArray[Any]
"""An array of `KEY`."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorBlock:
    """Vectors as `codes` (rows of signed bytes) times their `scales`. They have length 1, or 0 where there is no meaning."""

    keys: Keys
    scales: NDArray[np.float32]
    codes: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.keys)


def quantized(keys: Keys, vectors: NDArray[np.float32]) -> VectorBlock:
    """Return vectors scaled to length 1, with components of one byte. The largest component is off by 0.4 % at most."""
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1, keepdims=True))
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors, dtype=np.float64), where=lengths > 0)
    largest = np.abs(unit).max(axis=1, keepdims=True)
    codes = np.divide(127 * unit, largest, out=np.zeros_like(unit), where=largest > 0)
    return VectorBlock(keys, (largest[:, 0] / 127).astype("<f4"), np.rint(codes).astype(np.int8))


def joined(blocks: list[VectorBlock]) -> VectorBlock:
    """Return the vectors of several blocks, in their order, as one block in memory."""
    return VectorBlock(
        np.concatenate([block.keys for block in blocks]),
        np.concatenate([block.scales for block in blocks]),
        np.concatenate([block.codes for block in blocks]),
    )


def generations(directory: Path) -> list[tuple[int, Path]]:
    """Return (number, file) of the generations in a directory, the newest first."""
    found = []
    for path in directory.glob("vectors-*.bin"):
        with contextlib.suppress(ValueError):
            found.append((int(path.stem.removeprefix("vectors-")), path))
    return sorted(found, reverse=True)


def write_generation(directory: Path, identity: str, block: VectorBlock) -> int:
    """Write the next generation, replace the others by it, and return its number. Who has mapped another one keeps that.

    Raises:
        OSError: it cannot be written.
    """
    before = generations(directory)
    number = before[0][0] + 1 if before else 1
    temporary = directory / "vectors.tmp"
    parts = [np.ascontiguousarray(part) for part in (block.keys, block.scales, block.codes)]
    head = {
        "identity": identity,
        "dimension": int(block.codes.shape[1]),
        "count": len(block),
        "crc": _checksum(parts),
    }
    described = json.dumps(head).encode()
    try:
        with temporary.open("wb") as file:
            file.write(HEAD.pack(MAGIC, len(described)) + described)
            for part in parts:
                file.write(part.data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / f"vectors-{number:08d}.bin")
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)  # it takes the room that is lacking
        raise
    for _, path in before:
        path.unlink(missing_ok=True)
    return number


def mapped_generation(directory: Path, identity: str) -> tuple[int, VectorBlock] | None:
    """Map the newest generation of this model; None if there is none that is whole.

    Raises:
        OSError: the directory cannot be read.
    """
    for number, path in generations(directory):
        try:
            block = _mapped(path, identity)
        except FileNotFoundError:
            continue  # replaced meanwhile
        except ValueError as error:
            log.warning("a file of vectors is not used", file=path.name, error=str(error))
            continue
        if block is not None:
            return number, block
    return None


def _mapped(path: Path, identity: str) -> VectorBlock | None:
    """Map a file, or return None if its vectors are of another model.

    Raises:
        ValueError: it is damaged.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    if len(data) < HEAD.size:
        raise ValueError("it is cut off")
    magic, length = HEAD.unpack(data[: HEAD.size].tobytes())
    if magic != MAGIC or length > MAX_HEAD_BYTES:
        raise ValueError("it is of another version, or no file of vectors")
    try:
        head = json.loads(data[HEAD.size : HEAD.size + length].tobytes())
        made_by, dimension, count, crc = (head[name] for name in ("identity", "dimension", "count", "crc"))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("its head is damaged") from error
    if made_by != identity:
        return None
    begin = HEAD.size + length
    if not (isinstance(dimension, int) and isinstance(count, int) and dimension > 0 and count >= 0):
        raise ValueError("its head is damaged")
    if len(data) != begin + count * (KEY_BYTES + 4 + dimension):
        raise ValueError("its size is not the one that its head says")
    if _checksum([data[begin:]]) != crc:
        raise ValueError("its checksum differs")
    at_scales = begin + count * KEY_BYTES
    at_codes = at_scales + 4 * count
    return VectorBlock(
        np.frombuffer(data, dtype=KEY, count=count, offset=begin),
        np.frombuffer(data, dtype="<f4", count=count, offset=at_scales),
        np.frombuffer(data, dtype=np.int8, count=count * dimension, offset=at_codes).reshape(
            count, dimension
        ),
    )


def _checksum(parts: list[NDArray[Any]]) -> int:
    value = 0
    for piece in (piece for part in parts for piece in _checked_pieces(part)):
        value = zlib.crc32(piece, value)
    return value


def _checked_pieces(part: NDArray[Any]) -> Iterator[memoryview]:
    whole = part.reshape(-1).view(np.uint8).data
    for at in range(0, len(whole), _CHECKED_BYTES):
        yield whole[at : at + _CHECKED_BYTES]
