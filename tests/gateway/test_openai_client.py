"""The openai SDK in its strict mode, over real HTTP."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

MODEL = "accounts/stoker/models/smollm2-135m-instruct"
ALIAS = "smollm2-135m-instruct"
QUESTION: Any = [{"role": "user", "content": "Count, please."}]
SAID = " one two three four five six seven"

Front = Callable[..., Awaitable[Any]]


async def test_a_chat_is_answered_with_its_usage(front: Front) -> None:
    worker, served = await front()
    client = await served.openai()
    answer = await client.chat.completions.create(model=MODEL, messages=QUESTION)
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (SAID, "assistant", "stop")
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.usage
    assert answer.usage.prompt_tokens == len(worker.submits[0].token_ids)
    assert answer.usage.completion_tokens == 8, "the stop token counts"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert answer.usage.prompt_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens == 16
    assert worker.submits[0].final_only


async def test_a_streamed_chat_has_role_first_text_then_reason_with_usage(front: Front) -> None:
    worker, served = await front()
    client = await served.openai()
    stream = await client.chat.completions.create(model=ALIAS, messages=QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 8
    assert len({chunk.id for chunk in chunks}) == 1
    assert not worker.submits[0].final_only


async def test_include_usage_adds_a_chunk_without_choices_and_null_elsewhere(front: Front) -> None:
    _, served = await front()
    http = await served.http()
    body = {"model": ALIAS, "messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    answer = await http.post("/v1/chat/completions", json=body)
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert [bool(chunk["choices"]) for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_several_choices_stream_side_by_side(front: Front) -> None:
    worker, served = await front()
    client = await served.openai()
    stream = await client.chat.completions.create(model=ALIAS, messages=QUESTION, stream=True, n=3)
    texts, reasons, usages = [""] * 3, [""] * 3, 0
    async for chunk in stream:
        usages += chunk.usage is not None
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] += choice.finish_reason or ""
    assert texts == [SAID] * 3
    assert reasons == ["stop"] * 3
    assert usages == 1
    assert worker.submits[0].n == 3


async def test_chat_logprobs_name_tokens_bytes_and_alternatives(front: Front) -> None:
    _, served = await front()
    client = await served.openai()
    wish: Any = {"model": ALIAS, "messages": QUESTION, "logprobs": True, "top_logprobs": 2}
    answer = await client.chat.completions.create(**wish)
    assert answer.choices[0].logprobs
    content = answer.choices[0].logprobs.content
    assert content
    assert "".join(entry.token for entry in content) == SAID, "the stop token is no part of the text"
    assert bytes(byte for entry in content for byte in entry.bytes or []) == SAID.encode()
    assert [len(entry.top_logprobs) for entry in content] == [2] * 7
    assert content[0].logprob == content[0].top_logprobs[0].logprob == -0.5
    streamed = []
    async for chunk in await client.chat.completions.create(**wish, stream=True):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content or []
    assert [entry.model_dump() for entry in streamed] == [entry.model_dump() for entry in content]


async def test_a_completion_with_logprobs(front: Front) -> None:
    _, served = await front()
    client = await served.openai()
    answer = await client.completions.create(model=MODEL, prompt="zero", logprobs=2, max_tokens=3)
    choice = answer.choices[0]
    assert (choice.text, choice.finish_reason) == (" one two three", "length")
    assert choice.logprobs
    assert choice.logprobs.tokens == [" one", " two", " three"]
    assert choice.logprobs.token_logprobs == [-0.5] * 3
    assert choice.logprobs.text_offset == [0, 4, 8]
    assert choice.logprobs.top_logprobs
    assert [len(top) for top in choice.logprobs.top_logprobs] == [2] * 3
    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"


@pytest.mark.parametrize("stream", [False, True])
async def test_echo_gives_the_prompt_back_with_its_logprobs(front: Front, stream: bool) -> None:
    worker, served = await front()
    http = await served.http()
    body = {"model": ALIAS, "prompt": "zero and one", "echo": True, "logprobs": 1, "max_tokens": 1, "stream": stream}
    answer = await http.post("/v1/completions", json=body)
    documents = _events(answer.text) if stream else [answer.json()]
    choices = [choice for document in documents for choice in document["choices"]]
    assert "".join(choice["text"] for choice in choices) == "zero and one one"
    tables = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    tokens = [token for table in tables for token in table["tokens"]]
    assert "".join(tokens) == "zero and one one"
    logprobs = [value for table in tables for value in table["token_logprobs"]]
    assert logprobs == [None] + [-2.0] * (len(tokens) - 2) + [-0.5]
    offsets = [value for table in tables for value in table["text_offset"]]
    assert offsets == [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    assert worker.submits[0].logprobs.prompt


async def test_echo_without_tokens_scores_a_prompt(front: Front) -> None:
    worker, served = await front()
    client = await (await served.http()).post(
        "/v1/completions", json={"model": ALIAS, "prompt": "zero and one", "echo": True, "logprobs": 0, "max_tokens": 0}
    )
    choice = client.json()["choices"][0]
    assert choice["text"] == "".join(choice["logprobs"]["tokens"]) == "zero and one"
    assert worker.submits[0].max_tokens == 1, "a worker makes at least one"


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a text", 1),
        ([504, 2430, 282], 1),
        (["a text", "another", "a third"], 3),
        ([[504, 2430], [282]], 2),
    ],
    ids=["a text", "token ids", "texts", "lists of token ids"],
)
async def test_every_form_of_prompt_is_answered(front: Front, prompt: Any, prompts: int) -> None:
    worker, served = await front()
    client = await served.openai()
    answer = await client.completions.create(model=ALIAS, prompt=prompt, n=2)
    assert [choice.index for choice in answer.choices] == list(range(2 * prompts))
    assert {choice.text for choice in answer.choices} == {SAID}
    assert answer.usage
    assert answer.usage.prompt_tokens == sum(len(submit.token_ids) for submit in worker.submits)
    assert answer.usage.completion_tokens == 2 * 8 * prompts
    assert len({row["request_id"] for row in served.usage()}) == prompts == len(served.usage())


async def test_a_streamed_completion_says_the_same(front: Front) -> None:
    _, served = await front()
    http = await served.http()
    body = {"model": ALIAS, "prompt": ["a", "b"], "stream": True}
    answer = await http.post("/v1/completions", json=body)
    texts = ["", ""]
    for chunk in _events(answer.text):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == [SAID, SAID]


async def test_models_are_listed_and_found_by_id_and_alias(front: Front) -> None:
    _, served = await front(aliases={"gpt-4o": ALIAS})
    client = await served.openai()
    assert [model.id async for model in client.models.list()] == [MODEL]
    for name in (MODEL, ALIAS, "gpt-4o"):
        model = await client.models.retrieve(name)
        assert (model.id, model.owned_by, model.created) == (MODEL, "stoker", 1_700_000_000)
    http = await served.http()
    assert (await http.get("/v1/models/" + MODEL)).json()["id"] == MODEL, "with plain slashes"
    assert (await http.get("/v1/models/none")).json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("prefix", ["/v1", "/inference/v1", "/inference/v1/v1"])
async def test_every_prefix_that_clients_make_serves_the_same(front: Front, prefix: str) -> None:
    _, served = await front(aliases={"gpt-4o": MODEL})
    client = await served.openai(prefix)
    answer = await client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert answer.choices[0].message.content == SAID
    assert answer.model == MODEL
    assert [model.id async for model in client.models.list()] == [MODEL]
    assert (await client.completions.create(model=ALIAS, prompt="a")).choices[0].text == SAID


async def test_answers_name_the_request_and_fields_without_effect(front: Front) -> None:
    _, served = await front()
    client = await served.openai()
    raw = await client.chat.completions.with_raw_response.create(
        model=ALIAS, messages=QUESTION, store=False, user="somebody", extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-stoker-fields-without-effect"] == "store, user"
    plain = await client.chat.completions.with_raw_response.create(model=ALIAS, messages=QUESTION)
    assert plain.headers["x-request-id"] == plain.parse().id
    assert "x-stoker-fields-without-effect" not in plain.headers


def _events(text: str) -> list[dict[str, Any]]:
    *events, done, _ = text.split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]
