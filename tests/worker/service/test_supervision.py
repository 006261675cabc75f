"""Engines that die, never start, or load for ever: what gateways are told, and what comes back."""

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.errors import EngineFailure
from stoker_worker.service.engine_link import EXIT_GRACE_S, EngineLink, exit_in_words
from stoker_worker.service.supervisor import BackOff, Supervisor


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 10), (7, 10), (10_000, 10)]
)
def test_the_wait_doubles_up_to_a_limit(failures: int, delay_s: float) -> None:
    assert BackOff(first_s=0.5, most_s=10).delay_s(failures) == delay_s


@pytest.mark.parametrize(("ready_for_s", "failures"), [(0, 5), (59.9, 5), (60, 1)])
def test_a_healthy_while_is_a_new_beginning(ready_for_s: float, failures: int) -> None:
    assert BackOff(healthy_s=60).failures(4, ready_for_s) == failures


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "the engine process ended with exit code 0"),
        (-9, "the engine process was killed by SIGKILL"),
    ],
)
def test_exits_are_told_in_words(code: int, words: str) -> None:
    assert exit_in_words(code) == words


async def test_requests_of_a_dead_engine_end_retryable_and_new_ones_succeed(worker: Any) -> None:
    gateway, other = await worker.connect(), await worker.connect()
    await gateway.submit(1, "first")
    await gateway.submit(2, "hang")
    await other.submit(1, "hang")
    await other.until(lambda g: g.accepted)
    await gateway.until(lambda g: g.tokens)
    await gateway.submit(3, "die")
    await gateway.until_ended(1, 2, 3)
    await other.until_ended(1)
    assert gateway.tokens == {(1, 0): [1], (3, 0): [3]}, "what came before it died is delivered"
    for ended in [*gateway.ended.values(), *other.ended.values()]:
        assert (ended.reason, ended.retryable) == (pb.END_REASON_ENGINE_DIED, True)
        assert ended.message == "the engine process ended with exit code 7"
    await gateway.until(lambda g: g.load.state == pb.ENGINE_STATE_READY)
    gateway.ended.clear()
    await gateway.submit(1)
    await gateway.until_ended(1)
    assert gateway.tokens[1, 0] == [1, 1, 2, 3, 4, 5]
    assert worker.supervisor.restarts == 1


async def test_a_killed_engine_is_down_then_ready_again(worker: Any) -> None:
    gateway = await worker.connect()
    await gateway.submit(1, "hang", final_only=True)
    await gateway.until(lambda g: g.accepted)
    os.kill(worker.supervisor.pid, signal.SIGKILL)
    await gateway.until_ended(1)
    assert gateway.ended[1].message == "the engine process was killed by SIGKILL"
    await gateway.until(lambda g: g.load.state == pb.ENGINE_STATE_READY)
    states = [frame.loads[0].state for frame in gateway.frames]
    assert pb.ENGINE_STATE_DOWN in states or pb.ENGINE_STATE_STARTING in states
    info = await worker.info()
    assert (info.state, info.state_message, info.context_length) == (pb.ENGINE_STATE_READY, "", 4096)


async def test_nothing_is_taken_while_the_model_loads_and_the_progress_is_told(run_worker: Any) -> None:
    async with run_worker("--loads-for-ever") as worker:
        gateway = await worker.connect(ready=False)
        while (info := await worker.info()).state_message != "loading weights: 45 %":
            assert (info.state, info.context_length) == (pb.ENGINE_STATE_STARTING, 0)
        await gateway.submit(1)
        await gateway.until(lambda g: g.refused)
        refused = gateway.refused[1]
        assert (refused.code, refused.retryable) == (pb.REFUSAL_CODE_ENGINE_DOWN, True)
        assert refused.message == "loading weights: 45 %"


async def test_an_engine_that_dies_while_loading_is_tried_again_and_again(run_worker: Any) -> None:
    async with run_worker("--dies-while-loading") as worker:
        gateway = await worker.connect(ready=False)
        await gateway.until(lambda _: worker.supervisor.restarts >= 2)
        await gateway.until(lambda g: g.load.state == pb.ENGINE_STATE_DOWN)
        assert "ended with exit code 3" in (await worker.info()).state_message


async def test_a_broken_model_ends_the_worker_with_the_engines_words(run_worker: Any) -> None:
    with pytest.raises(EngineFailure, match=r"model\.gguf: it is truncated"):
        async with run_worker("--broken", "model.gguf: it is truncated") as worker:
            await worker.task


async def test_a_command_that_does_not_exist_is_a_failure_like_any_other() -> None:
    with pytest.raises(EngineFailure, match="cannot be started"):
        await EngineLink.spawn(["/no/such/program"], print)


async def test_an_engine_that_does_not_listen_is_killed() -> None:
    link = await EngineLink.spawn([sys.executable, "-c", "import signal; signal.pause()"], print)
    pid = link.pid
    async with asyncio.timeout(10):
        await link.close(grace_s=0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_stopping_worker_does_not_wait_for_an_engine_that_loads(run_worker: Any) -> None:
    async with run_worker("--deaf-while-loading") as worker:
        await worker.connect(ready=False)
        while not (await worker.info()).state_message.startswith("loading weights"):
            pass
        worker.stop.set()
        async with asyncio.timeout(EXIT_GRACE_S / 2):
            await worker.task


async def test_a_stopped_supervisor_leaves_no_process(run_worker: Any) -> None:
    async with run_worker() as worker:
        await worker.connect()
        pid = worker.supervisor.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert isinstance(worker.supervisor, Supervisor)
