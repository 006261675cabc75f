"""Draining: new requests go elsewhere, running ones finish or are handed over, and a stopping worker does the same."""

import asyncio
import os
import signal
from typing import Any

import grpc

from stoker.worker.v1 import worker_pb2 as pb


def drain(worker: Any, deadline_ms: int) -> "asyncio.Task[pb.DrainResponse]":
    async def call() -> pb.DrainResponse:
        return await worker.admin.Drain(pb.DrainRequest(deadline_ms=deadline_ms))

    return asyncio.create_task(call())


async def test_a_draining_worker_refuses_what_is_new_and_waits_for_what_runs(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "first")
    await gateway.until(lambda g: g.tokens)
    draining = drain(worker, 60_000)
    await gateway.until(lambda g: g.load.state == pb.ENGINE_STATE_DRAINING)
    await gateway.submit(2)
    await gateway.until(lambda g: g.refused)
    assert (gateway.refused[2].code, gateway.refused[2].retryable) == (pb.REFUSAL_CODE_DRAINING, True)
    assert not draining.done()
    await gateway.abort(1)
    await gateway.until_ended(1)
    assert gateway.ended[1].reason == pb.END_REASON_ABORTED
    assert await draining == pb.DrainResponse(finished=1, ended=0)
    assert (await worker.info()).state == pb.ENGINE_STATE_DRAINING


async def test_what_runs_at_the_deadline_is_ended_for_another_worker(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "first")
    await gateway.submit(2, "first", final_only=True)
    await gateway.until(lambda g: g.tokens and g.load.running == 2)
    assert await drain(worker, 1) == pb.DrainResponse(finished=0, ended=2)
    await gateway.until_ended(1, 2)
    assert gateway.tokens == {(1, 0): [1], (2, 0): [2]}, "also of the one that waited for its end"
    for ended in gateway.ended.values():
        assert (ended.reason, ended.retryable) == (pb.END_REASON_DRAINED, True)


async def test_an_idle_worker_drains_at_once_and_as_often_as_asked(worker: Any) -> None:
    await worker.connect()
    for _ in range(2):
        assert await drain(worker, 60_000) == pb.DrainResponse()


async def test_a_stopping_worker_hands_over_and_ends_the_stream_in_order(run_worker: Any) -> None:
    async with run_worker(drain_timeout_s=0.01) as worker:
        gateway = await worker.connect()
        await gateway.submit(1, "first")
        await gateway.until(lambda g: g.tokens)
        worker.stop.set()
        await gateway.until_ended(1)
        assert (gateway.ended[1].reason, gateway.ended[1].retryable) == (pb.END_REASON_DRAINED, True)
        while (frame := await gateway.call.read()) is not grpc.aio.EOF:
            gateway.take(frame)
        assert await gateway.call.code() is grpc.StatusCode.OK
        await worker.task
        assert worker.supervisor.pid is None


async def test_a_stopping_worker_lets_requests_finish(run_worker: Any) -> None:
    async with run_worker(drain_timeout_s=60.0) as worker:
        gateway = await worker.connect()
        await gateway.submit(1, max_tokens=3000)
        await gateway.until(lambda g: g.tokens)
        worker.stop.set()
        await gateway.until_ended(1)
        assert gateway.ended[1].reason == pb.END_REASON_FINISHED
        assert len(gateway.tokens[1, 0]) == 3000


async def test_requests_of_an_engine_that_dies_while_draining_are_handed_over(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "first")
    await gateway.until(lambda g: g.tokens)
    draining = drain(worker, 60_000)
    await gateway.until(lambda g: g.load.state == pb.ENGINE_STATE_DRAINING)
    os.kill(worker.supervisor.pid, signal.SIGKILL)
    await gateway.until_ended(1)
    assert (gateway.ended[1].reason, gateway.ended[1].retryable) == (pb.END_REASON_DRAINED, True)
    await draining
