"""Letters of fonts that have no letters: what people see for a code of the font Symbol, and some of Wingdings."""
# ruff: noqa: RUF001, RUF002  (letters that look like others are what this is about)

_FIRST = 0x41
_SYMBOL_LETTERS = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_SYMBOL = {_FIRST + number: letter for number, letter in enumerate(_SYMBOL_LETTERS)} | {
    0x22: "∀", 0x24: "∃", 0x27: "∋", 0x2A: "∗", 0x2D: "−", 0x40: "≅", 0xA1: "ϒ", 0xA2: "′", 0xA3: "≤", 0xA5: "∞",
    0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xB0: "°", 0xB1: "±", 0xB2: "″", 0xB3: "≥", 0xB4: "×",
    0xB5: "∝", 0xB6: "∂", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBA: "≡", 0xBB: "≈", 0xBC: "…", 0xC5: "⊕", 0xC6: "∅",
    0xC7: "∩", 0xC8: "∪", 0xCC: "⊂", 0xC9: "⊃", 0xCD: "⊆", 0xCA: "⊇", 0xCE: "∈", 0xCF: "∉", 0xD0: "∠", 0xD1: "∇",
    0xD2: "®", 0xD3: "©", 0xD4: "™", 0xD5: "∏", 0xD6: "√", 0xD7: "⋅", 0xD8: "¬", 0xD9: "∧", 0xDA: "∨", 0xDB: "⇔",
    0xDC: "⇐", 0xDE: "⇒", 0xE5: "∑", 0xF2: "∫",
}  # fmt: skip
_WINGDINGS = {
    0x4A: "☺", 0x6C: "●", 0x6E: "■", 0x6F: "□", 0xA7: "▪", 0xA8: "◻", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑",
    0xE2: "↓", 0xE8: "➔", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip
_PRIVATE = 0xF000
_LATIN_LIMIT = 0x100


def symbol(font: str, code: str) -> str:
    """Return the letter that a font shows for a code (hexadecimal); an empty string when nobody knows.

    >>> symbol("Symbol", "F061"), symbol("Wingdings", "F0FC"), symbol("Segoe UI Symbol", "2611")
    ('α', '✓', '☑')
    """
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    known = {"symbol": _SYMBOL, "wingdings": _WINGDINGS}.get(font.lower())
    if known is not None:
        number -= _PRIVATE if number >= _PRIVATE else 0
        return known.get(number, chr(number) if font.lower() == "symbol" and number < _LATIN_LIMIT else "")
    return chr(number) if 0x20 <= number < 0xD800 else ""  # noqa: PLR2004  (no control characters, no surrogates)
