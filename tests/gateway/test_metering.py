"""Usage lines: one per attempt, in the file within a turn of the loop."""

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest

from stoker_core.usage import Outcome, TokenCounts, UsageEvent
from stoker_gateway.errors import SettingsError
from stoker_gateway.metering.sink import JsonlSink


def event(number: int) -> UsageEvent:
    return UsageEvent(
        request_id=f"r{number}",
        attempt=1,
        account="a",
        key_id="k",
        model="m@r",
        outcome=Outcome.COMPLETED,
        started_unix_ms=1,
        ended_unix_ms=2,
        counts=TokenCounts(prompt=3, completion=number),
    )


def lines(path: Path) -> list[UsageEvent]:
    return [UsageEvent.from_json(json.loads(line)) for line in path.read_text().splitlines()]


async def test_events_are_in_the_file_after_one_turn_of_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    sink = JsonlSink(path)
    for number in range(3):
        sink.record(event(number))
    await sink.written()
    assert lines(path) == [event(0), event(1), event(2)]
    await sink.aclose()


async def test_a_line_says_what_the_event_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "usage.jsonl"
    sink = JsonlSink(path)
    sink.record(event(7))
    await sink.aclose()
    assert json.loads(path.read_text()) == event(7).to_json()


async def test_one_turn_is_one_write_and_writers_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "usage.jsonl"
    writes: list[int] = []
    real = os.write

    def counted(file: int, data: bytes) -> int:
        writes.append(len(data))
        return real(file, data)

    monkeypatch.setattr(os, "write", counted)
    first, second = JsonlSink(path), JsonlSink(path)
    for number in range(100):
        (first if number % 2 else second).record(event(number))
    await first.aclose()
    await second.aclose()
    assert len(writes) == 2
    assert {e.request_id for e in lines(path)} == {f"r{n}" for n in range(100)}


async def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "usage.jsonl"
    sink = JsonlSink(path)
    real = os.write
    room = 10

    def nearly_full(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(file, bytes(data[:room]))
        room -= written
        return written

    monkeypatch.setattr(os, "write", nearly_full)
    sink.record(event(1))
    await asyncio.sleep(0)
    room = 1_000_000
    sink.record(event(2))
    await asyncio.sleep(0)
    assert lines(path) == [event(1), event(2)]
    await sink.aclose()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        JsonlSink(tmp_path / "nowhere" / "usage.jsonl")


async def test_the_background_work_syncs_and_ends_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(os, "fsync", lambda file: loop.call_soon_threadsafe(synced.set))
    sink = JsonlSink(tmp_path / "usage.jsonl")
    task = asyncio.create_task(sink.run())
    sink.record(event(1))
    async with asyncio.timeout(10):
        await synced.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sink.aclose()
