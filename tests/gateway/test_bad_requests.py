"""Every way to ask for something impossible, and what the client is told."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

ALIAS = "smollm2-135m-instruct"
MESSAGES = [{"role": "user", "content": "hi"}]
Front = Callable[..., Awaitable[Any]]


def chat(**changes: Any) -> bytes:
    return json.dumps({"model": ALIAS, "messages": MESSAGES, **changes}).encode()


def raw(more: str) -> bytes:
    return chat()[:-1] + b"," + more.encode() + b"}"


def message(**changes: Any) -> bytes:
    return chat(messages=[{"role": "user", "content": "hi", **changes}])


CHATS: dict[str, tuple[bytes, int, str | None, str, str]] = {
    # situation: body, status, param, code, words of the message
    "no body": (b"", 400, None, "invalid_json", "JSON object"),
    "not JSON": (b"{model: 1}", 400, None, "invalid_json", "JSON"),
    "a list": (b"[]", 400, None, "invalid_type", "expected an object"),
    "not UTF-8": (b'{"model":"\xff"}', 400, None, "invalid_json", "UTF-8"),
    "a lone surrogate": (message(content="X").replace(b"X", b"\\ud800"), 400, None, "invalid_json", "surrogates"),
    "nested deeply where anything may stand": (raw('"metadata":' + "[" * 20_000), 400, None, "invalid_json", "deep"),
    "nested deeply in an unknown field": (raw('"foo":' + "[" * 20_000), 400, "foo", "unknown_parameter", "foo"),
    "an unknown field": (chat(foo=1), 400, "foo", "unknown_parameter", "Unknown parameter: 'foo'"),
    "an unknown field of a message": (message(foo=1), 400, "messages[0].foo", "unknown_parameter", "messages[0].foo"),
    "no model": (
        b'{"messages":[{"role":"user","content":"x"}]}',
        400,
        "model",
        "missing_required_parameter",
        "'model'",
    ),
    "an unknown model": (chat(model="gpt-9"), 404, "model", "model_not_found", "gpt-9"),
    "a model that is a number": (chat(model=4), 400, "model", "invalid_type", "expected a string"),
    "no messages": (b'{"model":"m"}', 400, "messages", "missing_required_parameter", "'messages'"),
    "empty messages": (chat(messages=[]), 400, "messages", "array_length_out_of_range", "at least 1"),
    "messages that are a text": (chat(messages="hi"), 400, "messages", "invalid_type", "expected an array"),
    "an unknown role": (message(role="boss"), 400, "messages[0].role", "invalid_value", "system, developer, user"),
    "a message without content": (message(content=None), 400, "messages[0].content", "invalid_type", "needs content"),
    "content that is a number": (
        message(content=5),
        400,
        "messages[0].content",
        "invalid_type",
        "a string or an array",
    ),
    "an image": (
        message(content=[{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "data:x"}}]),
        400,
        "messages[0].content[1]",
        "unsupported_media",
        "Images are not supported",
    ),
    "a part of no known kind": (
        message(content=[{"type": "smell"}]),
        400,
        "messages[0].content[0].type",
        "invalid_value",
        "text",
    ),
    "n of 0": (chat(n=0), 400, "n", "value_out_of_range", "at least 1"),
    "n of 1000": (chat(n=1000), 400, "n", "value_out_of_range", "at most 128"),
    "n that is a fraction": (chat(n=1.5), 400, "n", "invalid_type", "an integer"),
    "a negative temperature": (chat(temperature=-0.1), 400, "temperature", "value_out_of_range", "at least 0"),
    "too high a temperature": (chat(temperature=2.1), 400, "temperature", "value_out_of_range", "at most 2"),
    "a temperature that is a text": (chat(temperature="1"), 400, "temperature", "invalid_type", "a number"),
    "NaN": (raw('"temperature":NaN'), 400, None, "invalid_json", "JSON"),
    "infinity": (raw('"temperature":1e999'), 400, "temperature", "invalid_value", "temperature"),
    "top_p above 1": (chat(top_p=1.1), 400, "top_p", "value_out_of_range", "at most 1"),
    "a repetition penalty of 0": (
        chat(repetition_penalty=0),
        400,
        "repetition_penalty",
        "value_out_of_range",
        "than 0",
    ),
    "10,000 stop strings": (chat(stop=["x"] * 10_000), 400, "stop", "array_length_out_of_range", "at most 16"),
    "an empty stop string": (chat(stop=[""]), 400, "stop[0]", "str_length_out_of_range", "at least 1"),
    "a bias out of range": (chat(logit_bias={"1": 101}), 400, "logit_bias[...]", "value_out_of_range", "at most 100"),
    "a bias for no token": (chat(logit_bias={"x": 1}), 400, "logit_bias", "invalid_value", "token ids from 0"),
    "both limits": (chat(max_tokens=1, max_completion_tokens=1), 400, "max_tokens", "invalid_value", "not both"),
    "no tokens wanted": (chat(max_tokens=0), 400, "max_tokens", "integer_below_min_value", "1 or more"),
    "alternatives without logprobs": (chat(top_logprobs=2), 400, "top_logprobs", "invalid_value", "'logprobs': true"),
    "too many alternatives": (chat(logprobs=True, top_logprobs=21), 400, "top_logprobs", "value_out_of_range", "20"),
    "options of no stream": (chat(stream_options={}), 400, "stream_options", "invalid_value", "'stream': true"),
    "tools": (chat(tools=[{"type": "function"}]), 400, "tools", "unsupported_parameter", "not supported yet"),
    "a tool choice": (chat(tool_choice="required"), 400, "tool_choice", "unsupported_parameter", "'none'"),
    "JSON mode": (
        chat(response_format={"type": "json_object"}),
        400,
        "response_format",
        "unsupported_parameter",
        "text",
    ),
    "an audio answer": (chat(modalities=["audio"]), 400, "modalities", "unsupported_parameter", "text"),
    "reasoning": (chat(reasoning_effort="high"), 400, "reasoning_effort", "unsupported_parameter", "'none'"),
    "echo": (chat(echo=True), 400, "echo", "unsupported_parameter", "completions"),
    "a prompt beyond the context": (
        message(content="word " * 600),
        400,
        "messages",
        "context_length_exceeded",
        "maximum context length is 512 tokens",
    ),
    "an overlong answer where that is an error": (
        chat(max_tokens=512, context_length_exceeded_behavior="error"),
        400,
        "max_tokens",
        "context_length_exceeded",
        "at most",
    ),
    "a body over the limit": (message(content="x" * 70_000), 413, None, "request_too_large", "65536 bytes"),
}


def completion(**changes: Any) -> bytes:
    return json.dumps({"model": ALIAS, "prompt": "hi", **changes}).encode()


COMPLETIONS: dict[str, tuple[bytes, int, str | None, str, str]] = {
    "no prompt": (b'{"model":"m"}', 400, "prompt", "missing_required_parameter", "'prompt'"),
    "an empty prompt": (completion(prompt=""), 400, "prompt", "empty_prompt", "at least one token"),
    "an empty list": (completion(prompt=[]), 400, "prompt", "array_length_out_of_range", "at least 1"),
    "an empty list of token ids": (completion(prompt=[[]]), 400, "prompt", "empty_prompt", "at least one token"),
    "a mixture": (completion(prompt=["a", 1]), 400, "prompt", "invalid_type", "not a mixture"),
    "a mixture of lists": (completion(prompt=[[1], "a"]), 400, "prompt", "invalid_type", "not a mixture"),
    "an unknown token": (completion(prompt=[49_152]), 400, "prompt", "invalid_value", "end at 49151"),
    "a negative token": (completion(prompt=[-1]), 400, "prompt[0]", "value_out_of_range", "at least 0"),
    "too many choices": (completion(prompt=["a"] * 3, n=100), 400, "prompt", "too_many_choices", "256"),
    "best_of": (completion(best_of=2), 400, "best_of", "unsupported_parameter", "equal 'n'"),
    "a suffix": (completion(suffix="end"), 400, "suffix", "unsupported_parameter", "suffix"),
    "too many logprobs": (completion(logprobs=21), 400, "logprobs", "value_out_of_range", "at most 20"),
    "messages": (completion(messages=MESSAGES), 400, "messages", "unknown_parameter", "messages"),
}


async def test_bad_requests_are_refused_by_name_and_the_server_goes_on(front: Front) -> None:
    from stoker_gateway.settings import Limits

    worker, served = await front(limits=Limits(max_body_bytes=65_536))
    http = await served.http()
    told = {}
    for path, table in (("/v1/chat/completions", CHATS), ("/v1/completions", COMPLETIONS)):
        for situation, (body, *_) in table.items():
            answer = await http.post(path, content=body)
            told[path, situation] = answer.status_code, answer.json()["error"]
            assert answer.headers["content-type"] == "application/json"
    for path, table in (("/v1/chat/completions", CHATS), ("/v1/completions", COMPLETIONS)):
        for situation, (_, status, param, code, words) in table.items():
            got, error = told[path, situation]
            assert (got, error["param"], error["code"]) == (status, param, code), (situation, error)
            assert words in error["message"], situation
            assert error["type"] == "invalid_request_error", situation
    assert not worker.submits
    assert (await http.post("/v1/chat/completions", content=chat())).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": None, "n": None, "stop": None, "max_tokens": None, "logprobs": None, "stream": None},
        {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "modalities": ["text"]},
        {"temperature": 2, "top_p": 0, "top_k": -1, "min_p": 0, "repetition_penalty": 2, "presence_penalty": -2},
        {"seed": -(2**70), "logit_bias": {"5": -100}, "ignore_eos": True, "min_tokens": 3},
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
            ]
        },
        {"metadata": {"a": "b"}, "store": True, "service_tier": "auto", "prediction": {"type": "content"}},
        {"stop": ["x"] * 16, "max_tokens": 2**31 - 1, "logprobs": True, "top_logprobs": 20, "n": 128},
        {"messages": [{"role": "assistant", "content": None, "refusal": "no"}, {"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "<|im_end|> \x00 🙂"}]},
    ],
    ids=[
        "every null",
        "refused fields that ask for nothing",
        "the ends of ranges",
        "odd but legal numbers",
        "a developer who speaks in parts",
        "fields without effect",
        "as much as is allowed",
        "history with a refusal",
        "control tokens and Unicode",
    ],
)
async def test_unusual_requests_are_answered(front: Front, changes: Any) -> None:
    _, served = await front()
    answer = await (await served.http()).post("/v1/chat/completions", content=chat(**changes))
    assert answer.status_code == 200, answer.text


async def test_duplicate_keys_take_the_last_and_no_content_type_is_needed(front: Front) -> None:
    worker, served = await front()
    answer = await (await served.http()).post("/v1/chat/completions", content=raw('"max_tokens":3,"max_tokens":5'))
    assert answer.status_code == 200
    assert worker.submits[0].max_tokens == 5


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/models/unheard/of", 404, "model_not_found"),
    ],
)
async def test_paths_and_methods_that_do_not_exist(
    front: Front, method: str, path: str, status: int, code: str
) -> None:
    _, served = await front()
    answer = await (await served.http()).request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
