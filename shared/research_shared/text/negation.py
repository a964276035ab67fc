"""Words that turn a statement into its opposite, in the languages that research folders hold most."""

import re
from typing import Final

NEGATIONS: Final = frozenset({
    # English
    "no", "not", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "without", "cannot", "cant", "dont",
    "doesnt", "didnt", "isnt", "wasnt", "arent", "werent", "wont", "wouldnt", "shouldnt", "couldnt", "hasnt", "havent", "hadnt",
    # German
    "nicht", "nichts", "nie", "niemals", "niemand", "kein", "keine", "keinen", "keinem", "keiner", "keines", "weder", "ohne",
    # French, Spanish, Italian, Portuguese, Dutch
    "ne", "pas", "jamais", "aucun", "aucune", "sans", "ningún", "ninguna", "ninguno", "nunca", "jamás", "sin", "nadie", "non",
    "nessun", "nessuno", "nessuna", "senza", "não", "nenhum", "nenhuma", "nem", "sem", "niet", "geen", "nooit", "zonder",
})  # fmt: skip
_NEGATION_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_NUMBER_SIGN: Final = re.compile(r"\b[Nn]o\.\s?\d")
_FILLER_WORDS: Final = frozenset({
    "a", "all", "an", "any", "der", "des", "die", "du", "of", "de", "la", "le", "les", "los", "the",
})  # fmt: skip


def is_negation(word: str) -> bool:
    """Whether a word negates; `n't` at its end does."""
    word = word.lower().replace("\u2019", "'")
    return word in NEGATIONS or word.endswith("n't")


def words(text: str) -> list[str]:
    """Return the words of a text in small letters, with the apostrophes in them."""
    return [match[0].lower().replace("\u2019", "'") for match in _NEGATION_WORD.finditer(text)]


def negates(text: str) -> bool:
    """Whether a text holds a negation. `No. 5` is none."""
    return any(map(is_negation, words(_NUMBER_SIGN.sub(" ", text))))


def only_negates(text: str) -> bool:
    """Whether a text says nothing but a negation, such as `Not`, `None of the`."""
    said = [word for word in words(text) if word not in _FILLER_WORDS]
    return bool(said) and all(map(is_negation, said))
