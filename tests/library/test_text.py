"""Plain text, whatever bytes it is made of."""
# ruff: noqa: RUF001  (other scripts are the point)

import codecs
import os
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from research_shared.reading.extraction import Extracted, Unreadable, read_text
from research_shared.reading.extraction.text import CHUNK
from research_shared.reading.limits import Limits

MIB = 1024 * 1024


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def read(path: Path, limits: Limits | None = None) -> Extracted:
    with opened(path) as fd:
        return read_text(fd, path.stat().st_size, limits or Limits())


def text_of(path: Path, content: bytes) -> Extracted:
    path.write_bytes(content)
    return read(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.md"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"one\r\ntwo\rthree\n\r", b"one\ntwo\nthree\n\n"),
        (codecs.BOM_UTF8 + b"one", b"one"),
        ("zwölf\u2028\x0bdreizehn".encode(), "zwölf\u2028\x0bdreizehn".encode()),
        (b"---\nkey: !!python/object/apply:os.system ['true']\n---\n", None),
        (b"[" * 100_000 + b"]" * 100_000, None),
        (b"x" * (CHUNK - 1) + b"\r\nnext\r\n", b"x" * (CHUNK - 1) + b"\nnext\n"),
        (b"x" * (CHUNK - 1) + "é".encode(), b"x" * (CHUNK - 1) + "é".encode()),
        (b"x" * (CHUNK - 1) + b"\r", b"x" * (CHUNK - 1) + b"\n"),
    ],
)
def test_lines_are_kept_and_their_ends_made_alike(file: Path, content: bytes, expected: bytes | None) -> None:
    extracted = text_of(file, content)
    assert extracted.data == (content if expected is None else expected)
    assert extracted.notes == ()


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
    ],
)
def test_utf16_and_utf32_are_recognised_and_noted(file: Path, encoding: str, mark: bytes) -> None:
    extracted = text_of(file, mark + "Zwölf\r\nBoxkämpfer 🥊".encode(encoding))
    assert extracted.data == "Zwölf\nBoxkämpfer 🥊".encode()
    assert extracted.notes == (f"decoded from {encoding[:6].upper()}",)


LEGACY = {
    "cp1252": ("Windows-1252", "Größe und Übermaß: “5 €” – naïve Café in Zürich"),
    "cp1250": ("Windows-1250", "Zażółć gęślą jaźń: sprawozdanie roczne spółki"),
    "cp1251": ("Windows-1251", "Рынок вырос на пять процентов в прошлом году"),
    "cp1253": ("Windows-1253", "Η αγορά αυξήθηκε κατά πέντε τοις εκατό"),
    "cp932": ("Shift-JIS", "市場調査の結果を報告する。対象は三百社であった。"),
    "euc_jp": ("EUC-JP", "市場調査の結果を報告する。対象は三百社であった。"),
    "gb18030": ("GB18030", "市场研究报告显示,公司收入增长百分之五。"),
    "big5": ("Big5", "市場研究報告顯示公司收入增長"),
    "cp949": ("EUC-KR", "한국 시장 조사 보고서"),
}


@pytest.mark.parametrize("encoding", LEGACY)
@pytest.mark.parametrize("before", ["", "Report, page 1\n", "x" * (CHUNK - 1), "y" * CHUNK + "\r"], ids=len)
def test_the_encodings_of_older_systems_are_recognised_and_noted(
    file: Path, encoding: str, before: str
) -> None:
    name, text = LEGACY[encoding]
    extracted = text_of(file, f"{before}{text}\r\n".encode(encoding))
    assert extracted.data.decode() == f"{before.rstrip(chr(13))}{chr(10) * before.endswith(chr(13))}{text}\n"
    assert extracted.notes == (f"decoded from {name}",)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "人工智能研究报告机器学习 zebra",
        "市場調査の結果を報告する。\n対象は三百社であった。\n",
        "한국 시장 조사 보고서",
        "Рынок вырос на пять процентов",
        "一丁七万丈三上下不与丐丑",
    ],
)
def test_utf16_without_a_mark_is_recognised_in_every_script(file: Path, encoding: str, text: str) -> None:
    extracted = text_of(file, text.encode(encoding))
    assert extracted.data.decode() == text
    assert extracted.notes == ("decoded from UTF-16",)


@pytest.mark.parametrize(
    ("rest", "note"),
    [
        (b"Hello, this is plain text.\n", "decoded from Windows-1252"),
        ("Grüße aus Köln, schöne Größe\n".encode(), "2 characters could not be decoded and are shown as U+FFFD"),
        ("Grüße aus Köln, schöne Größe. ".encode("cp1252") * 20, "decoded from Windows-1252"),
    ],
)  # fmt: skip
def test_a_file_that_begins_like_utf16_by_accident_is_read_as_what_it_is(
    file: Path, rest: bytes, note: str
) -> None:
    extracted = text_of(file, codecs.BOM_UTF16_LE + rest)
    assert rest.decode("utf-8" if "ü".encode() in rest else "cp1252") in extracted.data.decode()
    assert extracted.notes == (note,)


@pytest.mark.parametrize("text", ["中", "中国", "人工智能研究报告", "市場\n調査", "日本語" * 300 + "\n"])
def test_a_mark_is_believed_if_text_follows_it(file: Path, text: str) -> None:
    extracted = text_of(file, codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    assert extracted.data.decode() == text


def test_damaged_bytes_of_utf8_are_shown_and_counted(file: Path) -> None:
    extracted = text_of(file, b"Gr\xff\xc3\xb6\xc3\x9fe und \xc3\x9cberma\xc3")
    assert extracted.data.decode() == "Gr\ufffdöße und Überma\ufffd"
    assert extracted.notes == ("2 characters could not be decoded and are shown as U+FFFD",)


def test_damage_far_behind_valid_utf8_does_not_change_the_encoding(file: Path) -> None:
    extracted = text_of(file, "ö".encode() + b"x" * CHUNK + b"\xe9t\xe9")
    assert extracted.data.endswith("x\ufffdt\ufffd".encode())
    assert extracted.notes == ("2 characters could not be decoded and are shown as U+FFFD",)


def test_a_stray_nul_is_shown_and_counted(file: Path) -> None:
    extracted = text_of(file, b"x" * 70_000 + b"\0")
    assert extracted.data.endswith("x\ufffd".encode())
    assert extracted.notes == ("1 character could not be decoded and are shown as U+FFFD",)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\x7fELF\x02\x01\x01\0\0\0\0\0",
        bytes(range(256)) * 100,
        bytes(range(1, 32)) * 10,
        b"\0" * 1000,
    ],
)
def test_binary_content_behind_a_text_name_is_unreadable(file: Path, content: bytes) -> None:
    with pytest.raises(Unreadable) as refusal:
        text_of(file, content)
    assert refusal.value.reason == "binary content"


def test_a_sparse_file_of_ten_gigabytes_is_too_large_at_once(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(10 * 1024**3)
    started = time.process_time()
    with pytest.raises(Unreadable) as refusal:
        read(file)
    assert refusal.value.reason == "too large"
    assert time.process_time() - started < 1


def test_a_line_of_a_hundred_megabytes_is_cut_with_a_note_in_bounded_memory(file: Path) -> None:
    with file.open("wb") as out:
        for _ in range(100):
            out.write(b"\xc3\xa9" * (MIB // 2))
    tracemalloc.start()
    extracted = read(file, Limits(max_text_bytes=5 * MIB + 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert extracted.data == "é".encode() * (5 * MIB // 2)
    assert extracted.notes == (f"the text was cut after {5 * MIB} bytes of a file of {100 * MIB} bytes",)
    assert peak < 30 * MIB


def test_the_digest_is_that_of_the_whole_file(file: Path) -> None:
    extracted = text_of(file, b"abc")
    assert extracted.file_digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("size", [0, 10])
def test_a_file_that_ends_early_is_being_changed(file: Path, size: int) -> None:
    file.write_bytes(b"x" * size)
    with opened(file) as fd, pytest.raises(Unreadable) as refusal:
        read_text(fd, 20, Limits())
    assert refusal.value.reason == "changed while being read"


def test_reading_stops_when_it_is_told_to(file: Path) -> None:
    file.write_bytes(b"text")
    with opened(file) as fd, pytest.raises(Unreadable):
        read_text(fd, 4, Limits(), stopped=lambda: True)
