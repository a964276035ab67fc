"""Tell in which encoding a plain text was written, from a sample of its bytes."""

import codecs
import unicodedata
from typing import Final

from research_shared.reading.extraction.result import BINARY, Unreadable

SAMPLE_BYTES: Final = 64 * 1024
NAMES: Final = {
    "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-32-le": "UTF-32", "utf-32-be": "UTF-32",
    "cp932": "Shift-JIS", "gb18030": "GB18030", "cp949": "EUC-KR", "big5hkscs": "Big5", "euc_jp": "EUC-JP",
    "cp1250": "Windows-1250", "cp1251": "Windows-1251", "cp1252": "Windows-1252", "cp1253": "Windows-1253",
    "cp1254": "Windows-1254", "cp1255": "Windows-1255", "cp1256": "Windows-1256", "cp1257": "Windows-1257",
    "cp1258": "Windows-1258", "cp874": "Windows-874", "cp866": "IBM866", "koi8_u": "KOI8-U",
}  # fmt: skip
"""What people call the encodings other than UTF-8, by the names of Python's codecs."""

# Python's codecs for the labels of the WHATWG that Python does not know, or knows as a smaller set of characters.
_CODECS: Final = {
    "shift_jis": "cp932", "gbk": "gb18030", "euc-kr": "cp949", "big5": "big5hkscs", "koi8-u": "koi8_u",
    "euc-jp": "euc_jp", "windows-874": "cp874", "ibm866": "cp866",
}  # fmt: skip
_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, because it begins with its mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS: Final = bytes(code for code in range(32) if chr(code) not in "\t\n\r\f\x1b")
_MAX_CONTROLS: Final = 0.05
_FEW_CONTROLS: Final = 8
_NUL_SHARE: Final = 0.8
_FEW_PAIRS: Final = 4
_TELLING_BYTES: Final = 256
"""So many bytes of UTF-16 have a NUL or another control character among them: a space, or an ideograph's second byte."""
_LIKELY_SHARE: Final = 0.9
_LIKELY: Final = (
    (0x20, 0x24F), (0x370, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1E00, 0x1FFF), (0x2000, 0x22FF), (0x3000, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFF00, 0xFFEF), (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF),
)  # fmt: skip
"""The characters of living languages that most text consists of; pairs of arbitrary bytes are often others."""


def encoding_of(sample: bytes) -> tuple[str, int]:
    """Return the encoding and the length of its byte order mark, from the first bytes of a file.

    What has no sign of UTF-16 or UTF-32 counts as UTF-8; `legacy_encoding` tells what it is if it is not.

    Raises:
        Unreadable: it is no text.
    """
    for mark, encoding in _BOMS:
        if sample.startswith(mark) and not _by_accident(sample[len(mark) :], encoding):
            return encoding, len(mark)
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls and (kind := _utf16_without_mark(sample)):
        return kind, 0
    if b"\0" in sample or controls > max(_MAX_CONTROLS * len(sample), _FEW_CONTROLS):
        raise Unreadable(BINARY)
    return "utf-8", 0


def legacy_encoding(data: bytes) -> str | None:
    """Return the encoding of text that is not valid UTF-8, as Python's codec; None for UTF-8 with a few damaged bytes.

    `data` begins at or before the first byte that is not ASCII. The detector is that of Firefox.
    """
    from chardetng_py import EncodingDetector

    sample = data[:SAMPLE_BYTES]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)
    damaged = text.count("\ufffd")
    if sum(1 for char in text if not char.isascii()) - damaged > damaged:
        return None
    detector = EncodingDetector()
    detector.feed(sample, last=len(data) <= SAMPLE_BYTES)
    label: str = detector.guess(tld=None, allow_utf8=False).lower()
    return _CODECS.get(label, label.replace("windows-", "cp"))


def _by_accident(rest: bytes, encoding: str) -> bool:
    """Return whether a file begins like UTF-16 and goes on like something else."""
    if not encoding.startswith("utf-16") or len(rest) < 2 * _FEW_PAIRS:
        return False
    if not _may_be_utf16(rest, encoding):
        return True
    has_controls = len(rest.translate(None, _CONTROLS)) < len(rest)
    return not has_controls and (len(rest) > _TELLING_BYTES or _is_utf8(rest))


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


def _utf16_without_mark(sample: bytes) -> str | None:
    """Return the kind of UTF-16 if a sample without a mark is that."""
    pairs = len(sample) // 2
    if pairs < _FEW_PAIRS:
        return None
    # In Western text nearly every other byte is NUL.
    low, high = sample[0::2].count(0) / pairs, sample[1::2].count(0) / pairs
    if high > _NUL_SHARE and low < 1 - _NUL_SHARE:
        return "utf-16-le"
    if low > _NUL_SHARE and high < 1 - _NUL_SHARE:
        return "utf-16-be"
    # In other text a space or the end of a line has one, and each of them in the same half.
    kinds = ("utf-16-be", "utf-16-le") if low > high else ("utf-16-le", "utf-16-be")
    return next((kind for kind in kinds if _may_be_utf16(sample, kind)), None)


def _may_be_utf16(data: bytes, encoding: str) -> bool:
    """Return whether the bytes are valid UTF-16, and text of the living languages."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    likely = 0
    for char in text:
        point = ord(char)
        if any(first <= point <= last for first, last in _LIKELY):
            likely += 1
        elif char not in "\t\n\r\f\ufeff" and unicodedata.category(char) in {"Cc", "Co", "Cn"}:
            return False
    breaks = sum(map(text.count, "\t\n\r\f\ufeff"))
    return likely + breaks >= _LIKELY_SHARE * len(text)
