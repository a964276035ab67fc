"""The estimate against tokenizers: what those of current models count for the samples, measured once."""

import json
import random
import string
import tracemalloc
from base64 import b64encode
from pathlib import Path

import pytest

from research_shared.text.tokens import ceiling_tokens, estimate_tokens, estimator_for

SAMPLES = json.loads((Path(__file__).parent / "token_samples.json").read_text("utf-8"))


NAMED = {
    "o200k_base": "gpt-5",
    "llama 3": "llama3.3:70b",
    "qwen 3": "qwen3-8b",
    "gemma 3": "gemma3:4b",
    "claude 4.6": "claude-opus-4-6",
    "claude 5": "claude-sonnet-5",
}
"""A model for each tokenizer that was counted with."""

FOREIGN = {"german prose", "chinese prose"}


@pytest.mark.parametrize("tokenizer", NAMED)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_estimate_for_a_known_model_is_near_its_tokenizer(name: str, tokenizer: str) -> None:
    sample = SAMPLES[name]
    estimate, count = estimator_for(NAMED[tokenizer])(sample["text"]), sample["tokens"][tokenizer]
    assert abs(estimate / count - 1) <= (0.30 if name in FOREIGN else 0.20), (estimate, count)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_estimate_for_an_unknown_model_is_between_the_known_ones(name: str) -> None:
    text = SAMPLES[name]["text"]
    known = [estimator_for(model)(text) for model in NAMED.values()]
    assert min(known) <= estimate_tokens(text) <= max(known)


@pytest.mark.parametrize(
    ("model", "like"),
    [
        ("claude-opus-4-8", "claude-sonnet-5"),
        ("anthropic/claude-opus-4.7", "claude-sonnet-5"),
        ("us.anthropic.claude-opus-4-7-v1:0", "claude-sonnet-5"),
        ("claude-mythos-preview", "claude-sonnet-5"),
        ("claude-3-5-sonnet-20241022", "claude-opus-4-6"),
        ("claude-sonnet-4-20250514", "claude-opus-4-6"),
        ("anthropic/claude-haiku-4.5", "claude-opus-4-6"),
        ("openai/o4-mini", "gpt-5"),
        ("Meta-Llama-3.1-8B-Instruct.Q4_K_M.gguf", "gpt-5"),
        ("models/gemini-3-pro", "gpt-5"),
        ("phi-4", None),
        ("photo4", None),
        (None, None),
    ],
)
def test_a_model_is_known_by_the_names_that_providers_give_it(model: str | None, like: str | None) -> None:
    text = SAMPLES["scientific abstract"]["text"]
    assert estimator_for(model)(text) == estimator_for(like)(text)
    assert (
        len({estimator_for(name)(text) for name in ("claude-sonnet-5", "claude-opus-4-6", "gpt-5", None)})
        == 4
    )


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


@pytest.mark.parametrize(
    "text", ["é" * 3_000_000, "漢" * 300_000, "é漢" * 500_000, "1" * 3_000_000, "\x0b" * 300_000]
)
def test_a_run_of_any_length_is_charged_by_it(text: str) -> None:
    assert estimate_tokens(text) > 50_000


def test_random_tokens_in_texts_take_no_memory_for_good_and_change_no_estimate() -> None:
    estimate = estimator_for("gpt-5")
    prose = odd_texts()["prose"]
    before = estimate(prose)
    seeded = random.Random(5)
    tracemalloc.start()
    try:
        for _ in range(40_000):
            estimate(f"{seeded.getrandbits(40)} {b64encode(seeded.randbytes(12)).decode()}")
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 1_500_000
    assert estimate(prose) == before
