"""Workers that refuse, break off, are late or are gone, and what the client and the books see of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker_gateway.settings import Limits

ALIAS = "smollm2-135m-instruct"
QUESTION: Any = [{"role": "user", "content": "Count, please."}]
SAID = " one two three four five six seven"
BODY = {"model": ALIAS, "messages": QUESTION}
Front = Callable[..., Awaitable[Any]]

BUSY = pb.Refused(code=pb.REFUSAL_CODE_QUEUE_FULL, message="full", retryable=True)
DRAINING = pb.Refused(code=pb.REFUSAL_CODE_DRAINING, message="draining", retryable=True)


async def two_workers(stage: Any, first: Any, second: Any, **settings: Any) -> tuple[list[Any], Any]:
    """The first is the one that gets requests first: whichever that is, both play as told by order of arrival."""
    workers = [await stage.worker(), await stage.worker()]
    served = await stage.serve(**settings)
    await served.ready(2)
    probe = await served.openai()
    await probe.chat.completions.create(model=ALIAS, messages=QUESTION)
    workers.sort(key=lambda worker: -len(worker.submits))
    workers[0].submits.clear()
    workers[0].play, workers[1].play = first, second
    served.settings.usage_file.write_text("")
    return workers, served


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "broken",
    [{"lose_after": 3}, {"end_after": (3, pb.END_REASON_ENGINE_DIED)}],
    ids=["the stream is lost", "the engine dies"],
)
async def test_a_broken_off_request_goes_on_elsewhere_as_one_text(
    stage: Any, plays: Any, stream: bool, broken: Any
) -> None:
    (lost, other), served = await two_workers(stage, plays(**broken), plays())
    client = await served.openai()
    if stream:
        text = ""
        async for chunk in await client.chat.completions.create(**BODY, stream=True, n=2, stop=["no"]):
            text += "".join(choice.delta.content or "" for choice in chunk.choices if choice.index == 1)
            usage = chunk.usage
    else:
        answer = await client.chat.completions.create(**BODY, n=2, stop=["no"])
        text, usage = answer.choices[1].message.content, answer.usage
    assert text == SAID
    (resumed,) = other.submits
    assert (resumed.attempt, resumed.request_id) == (2, lost.submits[0].request_id)
    assert [len(part.token_ids) for part in resumed.resumed] == [3, 3]
    assert resumed.sampling.seed == lost.submits[0].sampling.seed
    rows = served.usage()
    assert [(row["attempt"], row["outcome"]) for row in rows] == [(1, "moved"), (2, "completed")]
    assert [row["completion"] for row in rows] == [6, 10]
    assert usage.completion_tokens == 16


async def test_with_nobody_to_go_on_the_stream_ends_in_an_error_without_done(front: Front, plays: Any) -> None:
    _, served = await front(plays(lose_after=3))
    http = await served.http()
    answer = await http.post("/v1/chat/completions", json={**BODY, "stream": True})
    events = answer.text.strip().split("\n\n")
    assert "[DONE]" not in answer.text
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "worker_failed"
    assert [row["outcome"] for row in served.usage()] == ["failed"]
    with pytest.raises(openai.APIError, match="broke off"):
        async for _ in await (await served.openai()).chat.completions.create(**BODY, stream=True):
            pass


async def test_with_nobody_to_go_on_a_whole_answer_is_502(front: Front, plays: Any) -> None:
    _, served = await front(plays(end_after=(2, pb.END_REASON_ENGINE_DIED)))
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "true"


async def test_a_request_that_makes_the_engine_fail_is_not_tried_again(stage: Any, plays: Any) -> None:
    workers, served = await two_workers(stage, plays(end_after=(0, pb.END_REASON_FAILED)), plays())
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert answer.status_code == 502
    assert not workers[1].submits
    assert [row["outcome"] for row in served.usage()] == ["failed"]


async def test_three_attempts_are_all(stage: Any, plays: Any) -> None:
    for _ in range(4):
        await stage.worker(plays(lose_after=2))
    served = await stage.serve()
    await served.ready(4)
    answer = await (await served.http()).post("/v1/chat/completions", json={**BODY, "stream": True})
    assert "worker_failed" in answer.text
    assert [(row["attempt"], row["outcome"]) for row in served.usage()] == [(1, "moved"), (2, "moved"), (3, "failed")]
    assert sum(len(worker.submits) for worker in stage.workers) == 3


@pytest.mark.parametrize("refusal", [BUSY, DRAINING], ids=["full", "draining"])
async def test_a_refusal_is_tried_on_another_worker(stage: Any, plays: Any, refusal: Any) -> None:
    (first, second), served = await two_workers(stage, plays(refuse=refusal), plays())
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert answer.json()["choices"][0]["message"]["content"] == SAID
    assert (len(first.submits), len(second.submits)) == (1, 1)
    assert [(row["attempt"], row["outcome"]) for row in served.usage()] == [(1, "completed")]


async def test_when_all_are_busy_the_client_shall_come_back(front: Front, plays: Any) -> None:
    _, served = await front(plays(refuse=BUSY))
    answer = await (await served.http()).post("/v1/chat/completions", json={**BODY, "stream": True})
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-should-retry"]) == (429, "1", "true")
    assert answer.json()["error"]["code"] == "overloaded"
    assert served.usage() == []


@pytest.mark.parametrize(
    ("refusal", "status", "param", "code"),
    [
        (pb.Refused(code=pb.REFUSAL_CODE_INVALID, field="top_k", message="too big"), 400, "top_k", "invalid_value"),
        (pb.Refused(code=pb.REFUSAL_CODE_TOO_LONG, message="shorten"), 400, None, "context_length_exceeded"),
    ],
    ids=["invalid", "too long"],
)
async def test_a_refusal_for_good_is_the_clients_to_mend(
    front: Front, plays: Any, refusal: Any, status: int, param: Any, code: str
) -> None:
    _, served = await front(plays(refuse=refusal))
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)


async def test_a_held_request_is_answered_when_a_worker_comes(stage: Any) -> None:
    worker = await stage.worker()
    worker.state = pb.ENGINE_STATE_STARTING
    served = await stage.serve()
    await served.until(lambda: bool(served.gateway.pool.table.shared))
    http = await served.http()
    assert (await http.get("/ready")).status_code == 503
    assert (await http.get("/health")).status_code == 200
    asked = asyncio.create_task(http.post("/v1/chat/completions", json=BODY))
    await served.eventually(lambda: len(served.gateway.held))
    worker.state = pb.ENGINE_STATE_READY
    assert (await asked).status_code == 200
    assert len(served.gateway.held) == 0
    ready = await http.get("/ready")
    assert (ready.status_code, ready.json()["workers"]["connected"]) == (200, 1)
    assert ready.json()["engines"][0]["waiting"] == 0


@pytest.mark.parametrize("known", [True, False], ids=["its engine is starting", "never seen"])
async def test_a_request_without_a_worker_ends_in_503_at_its_deadline(stage: Any, known: bool) -> None:
    if known:
        worker = await stage.worker()
        worker.state = pb.ENGINE_STATE_STARTING
        served = await stage.serve(limits=Limits(hold_timeout_s=0.05))
        await served.until(lambda: bool(served.gateway.pool.table.shared))
    else:
        served = await stage.serve(limits=Limits(hold_timeout_s=0.05), workers=(f"unix:{stage.folder}/none",))
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"]["code"] == "no_ready_worker"
    assert len(served.gateway.held) == 0


async def test_the_held_queue_is_bounded(stage: Any) -> None:
    served = await stage.serve(limits=Limits(max_held=1, hold_timeout_s=0.3), workers=(f"unix:{stage.folder}/none",))
    http = await served.http()
    answers = await asyncio.gather(*(http.post("/v1/chat/completions", json=BODY) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [429, 429, 503]


async def test_requests_in_the_process_are_bounded(front: Front, plays: Any) -> None:
    worker, served = await front(plays(wait_after=1), limits=Limits(max_concurrent=1))
    client = await served.openai()
    stream = await client.chat.completions.create(**BODY, stream=True)
    http = await served.http()
    assert (await http.post("/v1/chat/completions", json=BODY)).status_code == 429
    await stream.close()
    await worker.until(lambda: bool(worker.aborts))


async def test_a_worker_that_comes_back_is_used_again(stage: Any) -> None:
    worker = await stage.worker()
    served = await stage.serve()
    await served.ready(1)
    await worker.stop()
    await served.until(lambda: not served.gateway.pool.ready)
    await worker.start()
    await served.ready(1)
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert answer.status_code == 200


async def test_a_silent_worker_is_given_up(stage: Any, plays: Any) -> None:
    worker = await stage.worker(plays(wait_after=1))
    served = await stage.serve(limits=Limits(heartbeat_timeout_s=0.5))
    await served.ready(1)
    worker.heartbeat_s = 3600.0
    answer = await (await served.http()).post("/v1/chat/completions", json={**BODY, "stream": True})
    assert "worker_failed" in answer.text


async def test_the_deadline_ends_a_request_and_is_told_to_the_worker(front: Front, plays: Any) -> None:
    worker, served = await front(plays(end_after=(2, pb.END_REASON_DEADLINE)), limits=Limits(request_timeout_s=7.0))
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")
    assert 6000 < worker.submits[0].time_left_ms <= 7000
    assert [row["outcome"] for row in served.usage()] == ["deadline"]


async def test_a_worker_that_overlooks_the_deadline_is_stopped(front: Front, plays: Any) -> None:
    worker, served = await front(plays(wait_after=2), limits=Limits(request_timeout_s=0.05))
    answer = await (await served.http()).post("/v1/chat/completions", json={**BODY, "stream": True})
    assert "deadline_exceeded" in answer.text
    assert "[DONE]" not in answer.text
    assert worker.aborts
    assert [(row["outcome"], row["completion"]) for row in served.usage()] == [("deadline", 2)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_aborted_at_once_and_counted(front: Front, plays: Any, stream: bool) -> None:
    worker, served = await front(plays(wait_after=3))
    reader, writer = await asyncio.open_connection(*served.url.removeprefix("http://").split(":"))
    body = json.dumps({**BODY, "stream": stream, "stop": ["no"]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    await worker.until(lambda: bool(worker.submits))
    if stream:
        await reader.readuntil(b" three")
    writer.close()
    await writer.wait_closed()
    await worker.until(lambda: bool(worker.aborts))
    await served.eventually(served.usage)
    (row,) = served.usage()
    assert row["outcome"] == "client_gone"
    if stream:
        assert row["completion"] == 3
    assert served.gateway.in_flight == 0


async def test_what_a_stopping_gateway_leaves_is_accounted_for(stage: Any, plays: Any) -> None:
    worker = await stage.worker(plays(wait_after=2))
    served = await stage.serve(limits=Limits(drain_timeout_s=1.0))
    await served.ready(1)
    client = await served.openai()
    stream = await client.chat.completions.create(**BODY, stream=True)
    assert await anext(aiter(stream))
    await worker.until(lambda: bool(worker.submits))
    await stage.stack.aclose()
    assert [row["outcome"] for row in served.usage()] in (["shutdown"], ["client_gone"])
