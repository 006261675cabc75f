"""A gateway's stream from end to end: a real gRPC server, a real socket, an engine in a process of its own."""

import asyncio
from typing import Any

import grpc
import pytest

from stoker.worker.v1 import worker_pb2 as pb


async def test_a_request_is_accepted_then_gets_tokens_then_ends(worker: Any) -> None:
    gateway = await worker.connect()
    assert (gateway.hello.protocol, gateway.hello.instance, list(gateway.hello.features)) == (1, "one", [])
    await gateway.submit(7, n=2, max_tokens=3)
    await gateway.until_ended(7)
    assert gateway.accepted == {7: 3}
    assert gateway.tokens == {(7, 0): [7, 8, 9], (7, 1): [7, 8, 9]}
    assert gateway.finish == {(7, 0): pb.FINISH_REASON_LENGTH, (7, 1): pb.FINISH_REASON_LENGTH}
    assert gateway.counters[7] == {
        "handles": 7, "prompt_tokens": 3, "cached_tokens": 1, "completion_tokens": 6,
        "queue_us": 1000, "prefill_us": 2000, "decode_us": 30,
    }  # fmt: skip
    assert (gateway.ended[7].reason, gateway.ended[7].retryable) == (pb.END_REASON_FINISHED, False)
    assert [what for what, _ in gateway.log] in (
        ["accepted", *["tokens"] * entries, "ended"] for entries in (2, 4, 6)
    ), "steps may have been merged"


async def test_acceptance_does_not_wait_for_the_engine(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "hang", max_tokens=100_000)
    await gateway.until(lambda g: g.accepted)
    assert gateway.accepted == {1: 4093}, "cut to what fits the context"
    assert not gateway.tokens


async def test_every_frame_tells_the_load_and_one_comes_each_second(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1)
    await gateway.until_ended(1)
    quiet = len(gateway.frames)
    async with asyncio.timeout(5):
        await gateway.read()
    assert all(len(frame.loads) == 1 for frame in gateway.frames)
    beat = gateway.frames[quiet]
    assert beat == pb.Frame(loads=beat.loads)
    load = gateway.load
    assert (load.state, load.total_blocks, load.step_us) == (pb.ENGINE_STATE_READY, 256, 2000)


async def test_a_request_that_wants_one_final_frame_gets_one(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, max_tokens=50, final_only=True, n=2)
    await gateway.submit(2, max_tokens=50)
    await gateway.until_ended(1, 2)
    with_output = [frame for frame in gateway.frames if 1 in frame.tokens.handles or 1 in frame.counters.handles]
    assert len(with_output) == 1
    assert 1 in [ended.handle for ended in with_output[0].ended]
    assert gateway.tokens[1, 0] == gateway.tokens[1, 1] == list(range(1, 51))
    assert gateway.counters[1]["completion_tokens"] == 100


async def test_logprobs_come_with_their_tokens(worker: Any) -> None:
    gateway = await worker.connect()
    wanted = pb.LogprobsRequest(output=True, output_top=3, prompt=True)
    await gateway.submit(1, logprobs=wanted, max_tokens=4)
    await gateway.submit(2, max_tokens=4)
    await gateway.submit(3, logprobs=wanted, max_tokens=4, final_only=True)
    await gateway.until_ended(1, 2, 3)
    assert gateway.logprobs == {(1, 0): [-0.5] * 4, (3, 0): [-0.5] * 4}
    assert gateway.prompt_logprobs == {1: [-1.0, -1.0], 3: [-1.0, -1.0]}


async def test_a_resumed_request_goes_on_where_it_was(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, resumed=[pb.ResumedChoice(choice=0, token_ids=[1, 2])], attempt=2, max_tokens=5)
    await gateway.until(lambda g: len(g.tokens.get((1, 0), [])) >= 3)
    assert gateway.tokens[1, 0][:3] == [3, 4, 5]


async def test_an_aborted_request_ends_and_unknown_handles_are_ignored(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "first")
    await gateway.until(lambda g: g.tokens)
    await gateway.abort(99, 1, 1)
    await gateway.until_ended(1)
    assert gateway.tokens == {(1, 0): [1]}
    assert (gateway.ended[1].reason, gateway.ended[1].retryable) == (pb.END_REASON_ABORTED, False)
    await gateway.abort(1)
    await gateway.submit(2)
    await gateway.until_ended(2)


@pytest.mark.parametrize(("script", "reason"), [("deadline", pb.END_REASON_DEADLINE), ("failed", pb.END_REASON_FAILED)])
async def test_what_the_engine_ends_is_not_to_be_retried(worker: Any, script: str, reason: int) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, script, max_tokens=100)
    await gateway.until_ended(1)
    assert (gateway.ended[1].reason, gateway.ended[1].retryable) == (reason, False)


async def test_a_live_handle_is_refused_and_free_again_after_the_end(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "hang")
    await gateway.submit(1)
    await gateway.until(lambda g: g.refused)
    assert (gateway.refused[1].code, gateway.refused[1].field) == (pb.REFUSAL_CODE_INVALID, "handle")
    await gateway.abort(1)
    await gateway.until_ended(1)
    gateway.ended.clear()
    await gateway.submit(1)
    await gateway.until_ended(1)
    assert gateway.tokens[1, 0] == [1, 2, 3, 4, 5]


async def test_unfinished_requests_are_bounded(run_worker: Any) -> None:
    async with run_worker(max_queue=2) as worker:
        gateway = await worker.connect()
        for handle in (1, 2, 3):
            await gateway.submit(handle, "hang")
        await gateway.until(lambda g: g.refused)
        assert gateway.accepted.keys() == {1, 2}
        assert (gateway.refused[3].code, gateway.refused[3].retryable) == (pb.REFUSAL_CODE_QUEUE_FULL, True)
        await gateway.abort(2)
        await gateway.until_ended(2)
        await gateway.submit(4)
        await gateway.until_ended(4)


async def test_streams_share_the_engine_and_not_their_handles(worker: Any) -> None:
    one, two = await worker.connect(), await worker.connect()
    await one.submit(1, token_ids=[100], max_tokens=300)
    await two.submit(1, token_ids=[500], max_tokens=300, final_only=True)
    await two.submit(2, token_ids=[600], max_tokens=300)
    await one.until_ended(1)
    await two.until_ended(1, 2)
    assert one.tokens == {(1, 0): list(range(100, 400))}
    assert two.tokens == {(1, 0): list(range(500, 800)), (2, 0): list(range(600, 900))}


async def test_a_lost_stream_aborts_its_requests_and_no_others(worker: Any) -> None:
    lost, other = await worker.connect(), await worker.connect()
    await lost.submit(1, "first")
    await lost.until(lambda g: g.tokens)
    await other.submit(1, "first")
    await other.until(lambda g: g.load.running == 2)
    lost.call.cancel()
    for handle in range(2, 1000):
        await other.submit(handle, max_tokens=1)
        await other.until_ended(handle)
        if other.load.running == 1:
            break
    assert 1 not in other.ended
    assert other.load.running == 1


async def test_a_slow_reader_gets_merged_output_and_all_of_it(worker: Any) -> None:
    slow, watcher = await worker.connect(), await worker.connect()
    length = 1500
    handles = range(1, 33)
    for handle in handles:
        await slow.submit(handle, max_tokens=length, n=2)
    await watcher.submit(1, max_tokens=length)
    await watcher.until_ended(1)
    await watcher.until(lambda g: g.load.running == 0)
    await slow.until_ended(*handles)
    for handle in handles:
        assert slow.tokens[handle, 0] == slow.tokens[handle, 1] == [(handle + i) % 1000 for i in range(length)]
        assert slow.counters[handle]["completion_tokens"] == 2 * length
    with_output = [frame for frame in slow.frames if frame.tokens.handles]
    assert len(with_output) < length / 4, "a frame per step would be 1500"


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (pb.Command(hello=pb.Hello(protocol=2)), "this worker speaks protocol 1, the gateway 2"),
        (pb.Command(aborts=[pb.Abort(handle=1)]), "the first message must be a hello"),
    ],
)
async def test_a_stream_must_begin_with_a_hello_of_the_same_protocol(
    worker: Any, first: pb.Command, sentence: str
) -> None:
    call = worker.stub.Serve(wait_for_ready=True)
    await call.write(first)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, sentence)


async def test_info_tells_what_is_served(worker: Any, bundle: bytes) -> None:
    await worker.connect()
    info = await worker.stub.GetInfo(pb.GetInfoRequest())
    assert (info.protocol, info.instance) == (1, "one")
    (engine,) = info.engines
    assert engine.model == "accounts/local/models/fake@0123456789ab"
    assert (list(engine.aliases), list(engine.tasks)) == (["fake"], [pb.TASK_GENERATE])
    assert (engine.context_length, engine.vocab_size, engine.block_size, engine.max_logprobs) == (4096, 1000, 16, 20)
    assert (engine.state, engine.state_message, engine.created_unix_s) == (pb.ENGINE_STATE_READY, "", 1_700_000_000)
    chunks = [
        chunk.data async for chunk in worker.stub.GetTokenizer(pb.GetTokenizerRequest(digest=engine.tokenizer_digest))
    ]
    assert b"".join(chunks) == bundle
    assert len(chunks) > 1


async def test_an_unknown_tokenizer_and_media_are_told_so(worker: Any) -> None:
    await worker.connect()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker.stub.GetTokenizer(pb.GetTokenizerRequest(digest=b"?")).read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await worker.stub.PutMedia(iter([pb.MediaChunk(media_type="image/png", data=b"x")]))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    for call, request in (
        (worker.admin.LoadAdapter, pb.LoadAdapterRequest()),
        (worker.admin.UnloadAdapter, pb.UnloadAdapterRequest()),
        (worker.admin.Sleep, pb.SleepRequest()),
        (worker.admin.Wake, pb.WakeRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
