"""What is sent to which server, where to, and what its refusals mean."""

import json
from pathlib import Path
from typing import Any

import pytest

from research_reasoning.models.protocol import AttemptFailed, Body
from research_reasoning.models.provider.dialects import DIALECTS, dialect_of, endpoint
from research_reasoning.models.provider.refusals import (
    Refusal,
    error_status,
    output_cap,
    refusal_of,
    refused_parameters,
    shown_reason,
    too_long,
)
from research_reasoning.models.provider.wire import Options, Request, headers, request, response
from research_reasoning.models.thinking import without_thinking

ERRORS = Path(__file__).parents[1] / "data" / "models" / "errors"
SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
BODY = Body("system", "user", SCHEMA, brief=True)


def sent(name: str, url: str | None = None, **options: Any) -> dict[str, Any]:
    return request(dialect_of(name, url), "m", BODY, 100, options=Options(**options)).body


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("anthropic", None, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1/messages/", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "http://localhost:4000/anthropic", "http://localhost:4000/anthropic/v1/messages"),
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("openai", "http://localhost:8080/v1/", "http://localhost:8080/v1/chat/completions"),
        ("openai", "http://localhost:8080", "http://localhost:8080/v1/chat/completions"),
        ("openai", "http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        (
            "azure",
            "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        (
            "azure",
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1&a=b",
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1&a=b",
        ),
        (
            "azure",
            "https://x.openai.azure.com",
            "https://x.openai.azure.com/openai/v1/chat/completions",
        ),
        (
            "gemini",
            None,
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        ),
        ("openrouter", None, "https://openrouter.ai/api/v1/chat/completions"),
        ("ollama", None, "http://localhost:11434/v1/chat/completions"),
        ("lmstudio", None, "http://localhost:1234/v1/chat/completions"),
        ("llamacpp", "http://gpu:9000", "http://gpu:9000/v1/chat/completions"),
    ],
)
def test_the_address_is_completed_and_its_query_kept(name: str, url: str | None, expected: str) -> None:
    assert endpoint(dialect_of(name, url), url) == expected


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://API.OpenAI.com./v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://x.openai.azure.com/openai/v1", "azure"),
        ("https://api.mistral.ai/v1", "mistral"),
        ("http://localhost:8000/api.openai.com/v1", "openai-compatible"),
        ("https://api.openai.com.example/v1", "openai-compatible"),
        ("https://notapi.openai.com/v1", "openai-compatible"),
        ("https://api.openai.com@example.org/v1", "openai-compatible"),
    ],
)
def test_the_host_and_nothing_else_of_an_address_says_which_server_it_is(url: str, name: str) -> None:
    assert dialect_of("openai", url).name == name


def test_each_server_gets_the_parameters_that_it_knows() -> None:
    own, other = sent("openai"), sent("openai", "http://localhost:8080/v1")
    assert (own["max_completion_tokens"], own["reasoning_effort"]) == (100, "low")
    assert own["response_format"]["json_schema"]["schema"] == SCHEMA
    assert set(other) == {"model", "messages", "max_tokens"}
    anthropic = sent("anthropic")
    assert (anthropic["max_tokens"], anthropic["system"]) == (100, "system")
    assert anthropic["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": SCHEMA},
    }
    assert set(sent("anthropic", "http://localhost:4000")) == {"model", "messages", "max_tokens", "system"}
    for name, dialect in DIALECTS.items():
        body = sent(name, dialect.url or "https://x.openai.azure.com")
        assert not {"temperature", "top_p", "tools"} & set(body)


def test_the_operator_s_wishes_win() -> None:
    url = "http://localhost:8080/v1"
    body = sent(
        "openai",
        url,
        limit="max_completion_tokens",
        effort="medium",
        structured="on",
        extra={"temperature": 0.2, "chat_template_kwargs": {"enable_thinking": False}},
    )
    assert (body["max_completion_tokens"], body["reasoning_effort"], body["temperature"]) == (
        100,
        "medium",
        0.2,
    )
    assert "response_format" in body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert set(sent("openai", effort="off", structured="off")) == {
        "model",
        "messages",
        "max_completion_tokens",
    }
    merged = sent("anthropic", extra={"output_config": {"effort": "high"}})
    assert (merged["output_config"]["effort"], "format" in merged["output_config"]) == ("high", True)


def test_a_refused_limit_is_sent_under_its_other_name_and_then_not_at_all() -> None:
    dialect = dialect_of("openai", None)

    def limits(*refused: str) -> set[str]:
        made: Request = request(dialect, "m", Body("s", "u"), 100, refused=frozenset(refused))
        assert made.optional == set(made.body) - {"model", "messages"}
        return set(made.optional)

    assert limits() == {"max_completion_tokens"}
    assert limits("max_completion_tokens") == {"max_tokens"}
    assert limits("max_completion_tokens", "max_tokens") == set()


def test_the_key_goes_into_the_header_that_the_server_reads() -> None:
    assert headers(dialect_of("azure", None), "k")["api-key"] == "k"
    assert "authorization" not in headers(dialect_of("azure", None), "k")
    assert headers(dialect_of("anthropic", None), "k")["x-api-key"] == "k"
    assert headers(dialect_of("mistral", None), "k")["authorization"] == "Bearer k"
    assert (
        headers(dialect_of("openai", None), "k", {"Authorization": "Basic x"})["authorization"] == "Basic x"
    )


CONTEXT = {
    "OpenAI": ("This model's maximum context length is 4096 tokens.", 4096, None),
    "OpenAI, with sizes": (
        (
            "This model's maximum context length is 4097 tokens. However, you requested 5360 tokens "
            "(1360 in the messages, 4000 in the completion). Please reduce the length of the messages or completion."
        ),
        4097,
        1360,
    ),
    "OpenAI, resulted": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9012 tokens.",
        8192,
        9012,
    ),
    "Anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", 200_000, 210_000),
    "Anthropic, with the answer": (
        (
            "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or "
            "`max_tokens` and try again"
        ),
        200_000,
        190_000,
    ),
    "vLLM": (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.",
        4096,
        5000,
    ),
    "vLLM, with the answer": (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8192 "
            "tokens and your request has 1000 input tokens (9000 > 8192 - 1000)."
        ),
        8192,
        1000,
    ),
    "llama.cpp": (
        "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        4096,
        9000,
    ),
    "LM Studio": (
        (
            "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context "
            "length of only 4096 tokens, which is not enough."
        ),
        4096,
        5000,
    ),
    "LM Studio, newer": (
        "The number of tokens to keep from the initial prompt is greater than the context length.",
        None,
        None,
    ),
    "Ollama": ("the input length exceeds the context length", None, None),
    "Gemini": (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1_048_576,
        1_200_000,
    ),
    "Mistral": (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        32_768,
        40_000,
    ),
    "OpenRouter": (
        (
            "This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens "
            "(39000 of text input, 1000 in the output)."
        ),
        32_768,
        39_000,
    ),
    "LiteLLM": (
        (
            "litellm.ContextWindowExceededError: litellm.BadRequestError: ContextWindowExceededError: OpenAIException - "
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
        ),
        8192,
        9000,
    ),
    "TGI": (
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and "
            "900 `max_new_tokens`"
        ),
        4096,
        5000,
    ),
    "Bedrock": ("Input is too long for requested model.", None, None),
    "Groq": (
        "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce",
        6000,
        9000,
    ),
}


@pytest.mark.parametrize("server", CONTEXT)
def test_a_prompt_that_is_too_long_is_recognised_in_the_words_of_many_servers(server: str) -> None:
    message, limit, size = CONTEXT[server]
    assert too_long(Refusal(status=400, message=message)) == (limit, size)


def test_a_context_that_is_given_in_fields_is_read_from_there() -> None:
    error = {"code": 400, "message": "too big", "type": "exceed_context_size_error"}
    refusal = refusal_of(400, {"error": error | {"n_prompt_tokens": 9000, "n_ctx": 4096}})
    assert too_long(refusal) == (4096, 9000)
    assert too_long(refusal_of(400, {"error": {"code": "context_length_exceeded"}})) == (None, None)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("llama-server-400", (4096, 9000)), ("openai-400", (4096, None)), ("ollama-404", None)],
)
def test_recorded_error_responses_are_told_apart(name: str, sizes: tuple[int, int | None] | None) -> None:
    body = json.loads((ERRORS / f"{name}.json").read_text("utf-8"))
    assert too_long(refusal_of(int(name[-3:]), body)) == sizes


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        'model "local" not found, try pulling it first',
        "messages: at least one message is required",
        "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for this model",
    ],
)
def test_other_complaints_are_not_about_the_context(message: str) -> None:
    assert too_long(Refusal(status=400, message=message)) is None


@pytest.mark.parametrize(
    ("message", "cap"),
    [
        (
            "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens for this model",
            8192,
        ),
        (
            (
                "max_tokens is too large: 9000. This model supports at most 4096 completion tokens, whereas you "
                "provided 9000."
            ),
            4096,
        ),
        ("`max_tokens` must be less than or equal to `8192`, the maximum value for this model", 8192),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
        ("Unsupported parameter: 'max_tokens' is not supported", None),
    ],
)
def test_the_most_that_a_server_writes_is_read_from_its_complaint(message: str, cap: int | None) -> None:
    assert output_cap(Refusal(status=400, message=message)) == cap


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (
            {
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead.",
                    "param": "max_tokens",
                }
            },
            {"max_tokens"},
        ),
        (
            {"error": {"message": "Unrecognized request argument supplied: reasoning_effort"}},
            {"reasoning_effort"},
        ),
        ({"error": {"message": "This model does not support the effort parameter."}}, {"reasoning_effort"}),
        (
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "max_tokens"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
            {"max_tokens"},
        ),
        (
            [
                {
                    "error": {
                        "code": 400,
                        "message": 'Invalid JSON payload received. Unknown name "response_format"',
                    }
                }
            ],
            {"schema"},
        ),
        ({"error": "'response_format.type' must be 'json_schema' or 'text'"}, {"schema"}),
        ({"error": {"message": "temperature is not supported"}}, {"temperature"}),
        ({"error": {"message": "max_tokens must be at least 16"}}, set()),
        ({"error": {"message": "messages: roles must alternate"}}, set()),
    ],
)
def test_the_parameter_that_a_server_does_not_take_is_recognised(payload: object, named: set[str]) -> None:
    sent = {"max_tokens", "reasoning_effort", "schema", "temperature"}
    assert refused_parameters(refusal_of(400, payload), sent) == named


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"choices": [{"message": {"content": "x"}}]}, None),
        ({"error": {"code": 429, "message": "slow down"}}, 429),
        ({"error": {"code": "402", "message": "no credit"}}, 402),
        ({"choices": [{"error": {"code": 502, "message": "upstream"}}]}, 502),
        ({"error": {"message": "something"}}, 502),
        ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, 404),
        ({"error": None, "choices": []}, None),
        ("text", None),
    ],
)
def test_an_error_inside_an_answer_has_its_own_status(payload: object, status: int | None) -> None:
    assert error_status(payload) == status


def test_a_reason_is_shown_without_keys_addresses_and_markup() -> None:
    message = (
        "Incorrect API key provided: sk-abcdef1234567890. See https://u:p@host/x?key=secret.\n<b>[x]</b>\u200b "
        "operator-secret " + "z" * 500
    )
    shown = shown_reason(Refusal(status=401, message=message), ["operator-secret"])
    assert shown.startswith("Incorrect API key provided: (hidden) See (address) b x /b (hidden) zzz")
    assert len(shown) == 200
    assert not set("<>[]\n\u200b") & set(shown)


@pytest.mark.parametrize(
    ("text", "answer", "unclosed"),
    [
        ("<think>\ndraft {}\n</think>\n{}", "{}", False),
        ("draft\n</think>\n\n{}", "{}", False),
        ("<think>\nFirst I list", "", True),
        ("<think>a</think><think>b</think>c", "c", False),
        ("[THINK]a[/THINK]c", "c", False),
        ("The tags <think> and </think> hold drafts.", "The tags <think> and </think> hold drafts.", False),
        ("An answer that names </think> only.", "An answer that names </think> only.", False),
        ("plain", "plain", False),
    ],
)
def test_thinking_before_an_answer_is_removed(text: str, answer: str, *, unclosed: bool) -> None:
    assert without_thinking(text) == (answer, unclosed)


def test_what_a_provider_read_from_its_cache_counts_as_read() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 2_000,
        "cache_creation_input_tokens": 5,
        "output_tokens": 3,
    }
    answer = {
        "model": "m",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "end_turn",
        "usage": usage,
    }
    assert response(dialect_of("anthropic", None), answer).input_tokens == 2_015
    with pytest.raises(AttemptFailed):
        response(dialect_of("openai", None), {"choices": []})
