"""The words of a question that a search looks for."""

import re
from functools import cache
from typing import Final

from research_shared.text.analysis import STOP_WORDS, stems, unspaced

MAX_ASKED_WORDS: Final = 60
"""Words of a question that are searched for; a longer one is a text, and its first words stand for it."""

_QUESTION_WORDS: Final = (
    "about after all also any because been before between both can could did do does each from had has have how its may "
    "more most only other our over same should so some than them those through under up use used using we were what when "
    "where which while who whom whose why would you your "
    "aber auch auf aus bei das dem den der des die ein eine einem einen einer eines für gibt hat haben ich im ist kann "
    "können man mit nach nicht oder sich sind über um und unter von vor wann warum was welche welchem welchen welcher "
    "welches wem wen wer werden wie wird wo wurde wurden zu zum zur "
    "au aux avec ce ces cette comment dans de des du elle en est et la le les leur ont ou où par pour pourquoi quand que "
    "quel quelle quelles quels qui quoi sont sur un une "
    "como con cual cuando cuál cuándo cómo de del dónde el ella en es esta este la las los para por qué quién se son "
    "sobre su sus un una y"
)
_ASKED_WORD: Final = re.compile(r"[^\W_]+")


@cache
def common_stems() -> frozenset[str]:
    """Return the stems of words that say nothing of what a question is about, in English, German, French and Spanish."""
    return frozenset(stems(f"{_QUESTION_WORDS} {' '.join(sorted(STOP_WORDS))}"))


def asked_words(question: str) -> list[str]:
    """Return the words of a question that tell what it is about, in lower case, each once; all words if none does.

    >>> asked_words("How does latency affect the users of a mix network?")
    ['latency', 'affect', 'users', 'mix', 'network']
    """
    words = list(
        dict.fromkeys(part for run in _ASKED_WORD.findall(question) for part in _run_words(run.lower()))
    )
    common = common_stems()
    telling = [word for word in words if not common.issuperset(stems(word))]
    return (telling or words)[:MAX_ASKED_WORDS]


def _run_words(run: str) -> list[str]:
    """Return a run of letters and digits as words: pairs of characters where its script has no spaces between words."""
    if not any(map(unspaced, run)):
        return [run]
    return [run[at : at + 2] for at in range(max(1, len(run) - 1))]
