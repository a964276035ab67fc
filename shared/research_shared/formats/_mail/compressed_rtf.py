"""The compression of RTF bodies in messages of Outlook ([MS-OXRTFCP])."""

import struct

_RTF_HEADER = struct.Struct("<IIII")
_LZFU = 0x75465A4C
_UNCOMPRESSED = 0x414C454D
_WINDOW = 4096
_START = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab"
    rb"\tx"
)
"""What the window begins with, so that common words are short from the first one on."""


def decompressed_rtf(data: bytes, most: int) -> bytes:
    """Return an RTF text of at most `most` bytes; what there is of a damaged one, nothing when it is something else."""
    if len(data) < _RTF_HEADER.size:
        return b""
    _, size, kind, _ = _RTF_HEADER.unpack_from(data)
    body = data[_RTF_HEADER.size :]
    if kind == _UNCOMPRESSED:
        return body[: min(size, most)]
    return _expanded(body, min(size, most)) if kind == _LZFU else b""


def _expanded(body: bytes, size: int) -> bytes:
    window = bytearray(_START.ljust(_WINDOW, b"\0"))
    write = len(_START)
    out = bytearray()
    at = 0
    while at < len(body) and len(out) < size:
        flags = body[at]
        at += 1
        for bit in range(8):
            if not flags >> bit & 1:
                taken = body[at : at + 1]
                at += 1
            else:
                if at + 2 > len(body):
                    return bytes(out)
                pair = int.from_bytes(body[at : at + 2], "big")
                at += 2
                start, length = pair >> 4, (pair & 15) + 2
                if start == write % _WINDOW:
                    return bytes(out[:size])
                taken = b""
                for step in range(length):
                    letter = window[(start + step) % _WINDOW]
                    window[(write + step) % _WINDOW] = letter
                    taken += bytes((letter,))
                write += length
                out += taken
                continue
            if not taken:
                return bytes(out[:size])
            window[write % _WINDOW] = taken[0]
            write += 1
            out += taken
    return bytes(out[:size])
