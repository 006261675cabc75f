"""Processes kept running and stopped in order: real ones, small enough to read."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker_cli.errors import BadInput, ServerFailure
from stoker_cli.up.child import Log
from stoker_cli.up.plan import ChildPlan, ServerPlan
from stoker_cli.up.supervisor import Supervisor

PRELUDE = """
import os, signal, sys, time
def note(text):
    with open("events", "a") as file: file.write(text + "\\n")
"""
# Notes its start and its end, and ends on SIGTERM like a server does.
STEADY = """
def leave(*_):
    note(NAME + " stops"); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
note(NAME + " runs")
while True: signal.pause()
"""
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
note(NAME + " runs")
while True: signal.pause()
"""


def child(name: str, body: str, folder: Path, grace_s: float = 20.0) -> ChildPlan:
    code = f"{PRELUDE}\nos.chdir({str(folder)!r}); NAME = {name!r}\n{body}"
    return ChildPlan(name, (sys.executable, "-c", code), grace_s)


class Scene:
    """A supervisor over two processes in a folder, and what happened there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Log(folder / "log")
        self.announced: list[str] = []
        self.changed = asyncio.Event()

    def supervisor(self, worker: str, gateway: str = STEADY, grace_s: float = 20.0) -> Supervisor:
        plan = ServerPlan((child("worker", worker, self.folder, grace_s),), child("gateway", gateway, self.folder))
        return Supervisor(plan, self.log, self.announced.append)

    def events(self) -> list[str]:
        path = self.folder / "events"
        return path.read_text().splitlines() if path.exists() else []

    async def until(self, *wanted: str) -> None:
        """Return when each of `wanted` has been noted, as often as it is named."""
        async with asyncio.timeout(30):
            while any(self.events().count(event) < wanted.count(event) for event in wanted):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)


@pytest.fixture
def scene(tmp_path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.log.close()


async def test_the_gateway_stops_before_its_workers(scene):
    supervisor = scene.supervisor(STEADY)

    async def ready() -> None:
        await scene.until("worker runs", "gateway runs")

    await supervisor.serve(ready(), on_ready=supervisor.ask_to_stop)
    assert scene.events()[2:] == ["gateway stops", "worker stops"]


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (2, BadInput, r"^m\.gguf: no such file$"),
        (
            1,
            ServerFailure,
            r"worker could not start \(exit code 1\):\n  Traceback\n  stoker worker: m\.gguf: no such file",
        ),
        (-9, ServerFailure, r"worker could not start \(signal 9\):"),
    ],
)
async def test_a_process_that_cannot_start_ends_everything_with_its_last_words(scene, code, error, message):
    leave = f"print('Traceback\\nstoker worker: m.gguf: no such file', flush=True); {'os.kill(os.getpid(), 9)' if code < 0 else f'sys.exit({code})'}"
    supervisor = scene.supervisor(leave)
    with pytest.raises(error, match=message):
        await supervisor.serve(scene.until("never"), on_ready=lambda: None)
    assert "gateway runs" not in scene.events() or scene.events()[-1] == "gateway stops"
    assert b"worker   | stoker worker: m.gguf: no such file" in scene.log.path.read_bytes()


async def test_a_worker_that_dies_later_is_started_again(scene):
    supervisor = scene.supervisor("note('pid ' + str(os.getpid()))" + STEADY)
    serving = asyncio.create_task(supervisor.serve(scene.until("worker runs"), on_ready=scene.changed.set))
    await scene.changed.wait()
    pid = next(int(event.split()[1]) for event in scene.events() if event.startswith("pid"))
    os.kill(pid, 9)
    await scene.until("worker runs", "worker runs")
    supervisor.ask_to_stop()
    await serving
    assert scene.announced[0] == "worker ended (signal 9); starting it again in 1 s"


async def test_a_process_that_does_not_finish_in_its_time_is_killed(scene):
    supervisor = scene.supervisor(STUBBORN, grace_s=0.2)
    await supervisor.serve(scene.until("worker runs", "gateway runs"), on_ready=supervisor.ask_to_stop)
    assert "worker did not finish within 0.2 s and is killed" in scene.announced


async def test_asked_twice_it_kills_at_once(scene):
    supervisor = scene.supervisor(STUBBORN)

    def twice() -> None:
        supervisor.ask_to_stop()
        supervisor.ask_to_stop()

    async with asyncio.timeout(10):
        await supervisor.serve(scene.until("worker runs", "gateway runs"), on_ready=twice)
    assert "gateway stops" not in scene.events()


async def test_asked_before_it_is_ready_it_stops_all_the_same(scene):
    supervisor = scene.supervisor(STEADY)

    async def never() -> None:
        await scene.until("worker runs", "gateway runs")
        supervisor.ask_to_stop()
        await asyncio.Event().wait()

    await supervisor.serve(never(), on_ready=lambda: pytest.fail("it was never ready"))
    assert scene.events()[-1] == "worker stops"
