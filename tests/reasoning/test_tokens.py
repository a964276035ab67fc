"""The estimate against tokenizers. The counts were measured with o200k_base, cl100k_base and Anthropic's tokenizer."""

import json
from pathlib import Path

import pytest

from research_shared.tokens import estimate_tokens

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
