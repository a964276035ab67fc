"""Sizes and numbers as people write them."""

from typing import Final

_KILO: Final = 1_000


def one_or_many(number: int, one: str, many: str) -> str:
    """Return the words that agree with a number."""
    return one if number == 1 else many


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with the words that it counts; `many` is the plural if that is not `one` and an s.

    >>> counted(1, "page"), counted(0, "page"), counted(2, "match", "matches"), counted(1, "file is", "files are")
    ('1 page', '0 pages', '2 matches', '1 file is')
    """
    return f"{number} {one_or_many(number, one, many or f'{one}s')}"


def size_text(size: int) -> str:
    """Format a size in bytes, kB or MB, with two digits below ten.

    >>> [size_text(size) for size in (0, 999, 1_000, 9_949, 12_499, 7_350_000)]
    ['0 B', '999 B', '1 kB', '9.9 kB', '12 kB', '7.3 MB']
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if round(value) < _KILO:
            break
        value, unit = value / _KILO, larger
    text = f"{value:.1f}" if value < 10 and unit != "B" else f"{value:.0f}"  # noqa: PLR2004  (two digits)
    return f"{text.removesuffix('.0')} {unit}"
