"""The estimate against tokenizers. The counts were measured with o200k_base, cl100k_base and Anthropic's tokenizer."""

import json
import random
import string
from base64 import b64encode
from pathlib import Path

import pytest

from research_shared.text.tokens import ceiling_tokens, estimate_tokens

SAMPLES = json.loads((Path(__file__).parent / "token_samples.json").read_text("utf-8"))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_estimate_is_within_a_fifth_of_every_tokenizer(name: str) -> None:
    sample = SAMPLES[name]
    estimate = estimate_tokens(sample["text"])
    for tokenizer, count in sample["tokens"].items():
        assert abs(estimate / count - 1) <= 0.20, (tokenizer, estimate, count)


def test_nothing_costs_nothing_and_more_costs_more() -> None:
    assert estimate_tokens("") == 0
    text = SAMPLES["english prose"]["text"]
    assert estimate_tokens(text * 3) == pytest.approx(3 * estimate_tokens(text), rel=0.02)


def test_no_script_is_free() -> None:
    for text in ("漢字かな交じり文です", "Привет, как дела сегодня", "مرحبا بالعالم الجميل", "🙂🙂🙂🙂"):
        assert estimate_tokens(text) >= 4


def test_long_runs_of_blanks_are_charged_by_their_length() -> None:
    assert estimate_tokens("a" + " " * 3_000_000 + "b") > 100_000
    assert estimate_tokens("a" + "\n" * 3_000_000 + "b") > 100_000


def odd_texts() -> dict[str, str]:
    """Texts that are no words, the same in every run."""
    dice = random.Random(7)
    return {
        "encoded data": b64encode(dice.randbytes(3000)).decode(),
        "digests": "\n".join(dice.randbytes(32).hex() for _ in range(40)),
        "a sequence": " ".join("".join(dice.choices("ACGT", k=10)) for _ in range(300)),
        "codes": " ".join("".join(dice.choices(string.ascii_uppercase, k=6)) for _ in range(400)),
        "a table": "\n".join(
            "| " + " | ".join(f"{dice.random():.4f}" for _ in range(8)) + " |" for _ in range(60)
        ),
        "marks": "".join(dice.choices(string.punctuation, k=3000)),
        "prose": "The committee met on 12 March and heard three witnesses about the harbour, none of whom agreed. "
        * 40,
    }


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        ("encoded data", 2710),
        ("digests", 1505),
        ("a sequence", 1591),
        ("codes", 1437),
        ("a table", 2940),
        ("marks", 2024),
        ("prose", 801),
    ],
)
def test_the_estimate_for_limits_is_not_far_below_what_o200k_base_counts(kind: str, tokens: int) -> None:
    assert ceiling_tokens(odd_texts()[kind]) >= 0.75 * tokens


def test_the_estimate_for_limits_of_prose_is_about_the_other() -> None:
    prose = odd_texts()["prose"]
    assert estimate_tokens(prose) <= ceiling_tokens(prose) <= 1.1 * estimate_tokens(prose)
