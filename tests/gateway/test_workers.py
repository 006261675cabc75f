"""Connections to workers: what is learned, when it is learned again, and frames to inboxes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.text import TextBundle
from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.workers.connection import back_off_s
from stoker_gateway.workers.dispatch import Told, dispatch
from stoker_gateway.workers.inbox import EndReason, Finish, Inbox, RefusalReason
from stoker_gateway.workers.signal import Signal
from stoker_gateway.workers.texts import TextStore

MODEL = "accounts/stoker/models/smollm2-135m-instruct"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Count, please."}]}
Front = Callable[..., Awaitable[Any]]


async def test_a_text_bundle_is_fetched_tried_and_kept_by_its_digest(stage: Any) -> None:
    workers = [await stage.worker(), await stage.worker()]
    served = await stage.serve(texts=TextStore())
    await served.ready(2)
    assert sum(worker.tokenizer_requests for worker in workers) == 1
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert answer.json()["choices"][0]["message"]["content"] == " one two three four five six seven"


@pytest.mark.parametrize("spoil", ["other bytes", "no bundle", "a template that runs away"])
async def test_a_bundle_that_is_no_good_is_not_served(
    stage: Any, smollm2_bundle: TextBundle, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    worker = await stage.worker()
    worker.spoil(spoil, smollm2_bundle)
    served = await stage.serve(texts=TextStore())
    await worker.until(lambda: worker.greeted)
    assert not served.gateway.pool.table.shared
    assert "not used" in caplog.text


async def test_an_engine_that_becomes_ready_later_is_learned_then(stage: Any) -> None:
    worker = await stage.worker()
    worker.model, ready = "", worker.model
    served = await stage.serve()
    await worker.until(lambda: worker.greeted)
    assert not served.gateway.pool.table.shared
    worker.model = ready
    await served.ready(1)


async def test_another_protocol_is_refused_by_name(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    worker = await stage.worker()
    worker.protocol = 2
    served = await stage.serve()
    await served.eventually(lambda: "speaks protocol 2" in caplog.text)
    assert not served.gateway.pool.ready


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.05, 0.1), (2, 0.1, 0.2), (7, 2.5, 5.0), (1000, 2.5, 5.0)]
)
def test_pauses_grow_to_a_bound(failures: int, least: float, most: float) -> None:
    assert back_off_s(failures, 0.0) == pytest.approx(least)
    assert back_off_s(failures, 1.0) == pytest.approx(most)


async def test_a_frame_is_sorted_into_inboxes() -> None:
    inboxes = {handle: Inbox(Signal()) for handle in (1, 2, 3)}
    one, two, three = inboxes.values()
    tokens = pb.Tokens(handles=[1, 9, 2, 1], choices=[0, 0, 0, 1], counts=[2, 1, 0, 1], token_ids=[5, 6, 7, 8])
    tokens.finish.extend([0, 0, pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_STOP])
    tokens.logprobs.add(entry=3, logprobs=[-1.0], top=1, top_token_ids=[8], top_logprobs=[-1.0])
    tokens.prompt_logprobs.add(handle=2, logprobs=[-2.0])
    counters = pb.Counters(handles=[1], prompt_tokens=[4], cached_tokens=[3], completion_tokens=[2])
    counters.queue_us.append(1)
    counters.prefill_us.append(1)
    counters.decode_us.append(1)
    frame = pb.Frame(
        accepted=[pb.Accepted(handle=1)],
        refused=[pb.Refused(handle=3, code=pb.REFUSAL_CODE_QUEUE_FULL)],
        tokens=tokens,
        counters=counters,
        ended=[pb.Ended(handle=2, reason=pb.END_REASON_ENGINE_DIED, retryable=True), pb.Ended(handle=77)],
    )
    told: Told = {}
    dispatch(frame, inboxes, told)
    assert list(told) == [one, three, two], "each once, however much news it has"
    assert list(inboxes) == [1], "refused and ended requests are forgotten"
    assert one.accepted
    assert [(d.choice, d.token_ids, d.finish) for d in one.deltas] == [(0, [5, 6], None), (1, [8], Finish.STOP)]
    assert one.deltas[1].logprobs
    assert (one.counts.prompt, one.counts.cached, one.counts.completion) == (4, 3, 2)
    assert [d.finish for d in two.deltas] == [Finish.LENGTH]
    assert two.prompt_logprobs
    assert two.end
    assert (two.end.reason, two.end.retryable) == (EndReason.BROKEN_OFF, True)
    assert three.refusal
    assert three.refusal.reason is RefusalReason.BUSY


async def test_a_signal_is_kept_until_it_is_waited_for() -> None:
    signal = Signal()
    signal.set()
    signal.set()
    async with asyncio.timeout(10):
        await signal.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await signal.wait()


async def test_a_connection_ends_when_it_is_cancelled_in_the_turn_in_which_it_fails(stage: Any) -> None:
    await stage.worker()
    served = await stage.serve()
    await served.ready(1)
    (member,) = served.gateway.pool._members.values()
    (call,) = [member.connection._call]
    call.close(RpcError(Code.UNAVAILABLE, "lost"))  # the session's task fails in its next turn …
    await asyncio.sleep(0)
    member.task.cancel()  # … while its group waits for the others to end
    done, _ = await asyncio.wait([member.task], timeout=10)
    assert done, "it went on connecting"
