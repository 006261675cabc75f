"""Text ends where the client said, wherever token borders lie, and the worker is told."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

ALIAS = "smollm2-135m-instruct"
QUESTION: Any = [{"role": "user", "content": "Count, please."}]
Front = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("per_step", [1, 3, 100])
@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (["ree f"], " one two th"),
        ([" two", " three"], " one"),
        (["never said"], " one two three four five six seven"),
        ("seven", " one two three four five six "),
        ([" one"], ""),
    ],
    ids=["inside two tokens", "the first of several", "a stop that does not come", "at the very end", "at the start"],
)
async def test_a_stop_string_cuts_the_text(
    front: Front, plays: Any, stream: bool, per_step: int, stop: Any, said: str
) -> None:
    worker, served = await front(plays(per_step=per_step))
    text, reason, usage = await ask(served, stop=stop, stream=stream)
    assert (text, reason) == (said, "stop")
    row = served.usage()[0]
    assert usage.completion_tokens == row["completion"]
    assert row["outcome"] == "completed"
    assert not worker.submits[0].final_only


async def test_the_worker_is_told_to_stop_and_what_it_made_is_counted(front: Front, plays: Any) -> None:
    worker, served = await front(plays(wait_after=4))
    text, reason, usage = await ask(served, stop=[" three"])
    assert (text, reason) == (" one two", "stop")
    assert worker.aborts == [worker.submits[0].handle]
    assert usage.completion_tokens == served.usage()[0]["completion"] == 4


async def test_one_stopped_choice_waits_for_the_others(front: Front, plays: Any) -> None:
    worker, served = await front(plays(says=" one two three four"))
    client = await served.openai()
    answer = await client.completions.create(model=ALIAS, prompt=["a", "b"], n=2, stop=["two"])
    assert [choice.text for choice in answer.choices] == [" one "] * 4
    assert len(worker.submits) == 2


async def test_text_before_min_tokens_is_not_searched(front: Front) -> None:
    worker, served = await front()
    text, _, _ = await ask(served, stop=[" one", " six"], extra_body={"min_tokens": 3})
    assert text == " one two three four five"
    assert worker.submits[0].min_tokens == 3


async def test_the_limit_cuts_too_and_says_so(front: Front) -> None:
    worker, served = await front()
    assert (await ask(served, max_tokens=2))[:2] == (" one two", "length")
    assert (await ask(served, max_completion_tokens=2))[:2] == (" one two", "length")
    assert (await ask(served, max_tokens=100_000))[1] == "stop", "cut to what fits"
    assert worker.submits[2].max_tokens == 512 - len(worker.submits[2].token_ids)


async def test_half_characters_are_never_sent(front: Front, plays: Any) -> None:
    _, served = await front(plays(says="a🙂b🙃<eos>"))
    client = await served.openai()
    pieces = []
    async for chunk in await client.chat.completions.create(model=ALIAS, messages=QUESTION, stream=True):
        pieces.append(chunk.choices[0].delta.content or "")
    assert "".join(pieces) == "a🙂b🙃"
    assert all("\ufffd" not in piece for piece in pieces)


async def ask(served: Any, *, stream: bool = False, **changes: Any) -> tuple[str, str, Any]:
    client = await served.openai()
    wish: dict[str, Any] = {"model": ALIAS, "messages": QUESTION, **changes}
    if not stream:
        answer = await client.chat.completions.create(**wish)
        return answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage
    text, reason, usage = "", "", None
    async for chunk in await client.chat.completions.create(**wish, stream=True):
        text += chunk.choices[0].delta.content or ""
        reason += chunk.choices[0].finish_reason or ""
        usage = chunk.usage or usage
    return text, reason, usage
