"""Starts the processes of a server, keeps them running, and stops them in order."""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any

from stoker_cli.errors import BadInput, CommandError, ServerFailure
from stoker_cli.up.backoff import STEADY_S, Backoff
from stoker_cli.up.child import Child, Log
from stoker_cli.up.plan import ChildPlan, ServerPlan

BAD_INPUT_CODE = 2

Announce = Callable[[str], None]


class Keeper:
    """Keeps one process running: starts it again with back-off whenever it ends, once `proven` is set.

    Before that its end is the end of `run`: a process that never worked would not work the second time either.
    """

    def __init__(self, plan: ChildPlan, log: Log, announce: Announce) -> None:
        self.plan = plan
        self.proven = False
        self._log = log
        self._announce = announce
        self._child: Child | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. Raises BadInput or ServerFailure with the process's last words if it ends before `proven`."""
        backoff = Backoff()
        while not self._stopping.is_set():
            began = time.monotonic()
            self._child = await Child.start(self.plan, self._log)
            if self._stopping.is_set():  # asked while it was being started
                self._child.terminate()
            code = await self._child.wait()
            if self._stopping.is_set():
                return
            if not self.proven:
                raise _death(self._child, code)
            lived_s = time.monotonic() - began
            if lived_s >= STEADY_S:
                backoff = Backoff()
            self._announce(f"{self.plan.name} ended ({_how(code)}); starting it again in {backoff.delay_s:g} s")
            await self._pause(backoff.delay_s)
            backoff = backoff.after(lived_s)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Ask the process to finish and wait for `running` (the task of `run`), at most the plan's grace."""
        self._stopping.set()
        if self._child is not None:
            self._child.terminate()
        done, _ = await asyncio.wait({running}, timeout=self.plan.grace_s)
        if not done:
            self._announce(f"{self.plan.name} did not finish within {self.plan.grace_s:g} s and is killed")
            self.kill()
            await asyncio.wait({running})

    def kill(self) -> None:
        """End the process at once."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


class Supervisor:
    """All processes of one server. `serve` is its whole life."""

    def __init__(self, plan: ServerPlan, log: Log, announce: Announce) -> None:
        self._workers = [Keeper(worker, log, announce) for worker in plan.workers]
        self._gateway = Keeper(plan.gateway, log, announce)
        self._announce = announce
        self._stop_asked = asyncio.Event()
        self._tasks: dict[Keeper, asyncio.Task[None]] = {}

    def ask_to_stop(self) -> None:
        """Finish what is under way and stop; asked a second time, kill."""
        if self._stop_asked.is_set():
            self._announce("killing")
            for keeper in self._keepers:
                keeper.kill()
        self._stop_asked.set()

    async def serve(self, ready: Coroutine[Any, Any, None], on_ready: Callable[[], None]) -> None:
        """Start everything; once `ready` returns, call `on_ready`; keep everything running until asked to stop.

        Raises BadInput or ServerFailure if a process ends before that.
        """
        self._tasks = {keeper: asyncio.create_task(keeper.run()) for keeper in self._keepers}
        try:
            if await self._first(asyncio.create_task(ready)):
                for keeper in self._keepers:
                    keeper.proven = True
                on_ready()
                await self._first(asyncio.create_task(asyncio.Event().wait()))
        finally:
            await self._stop()

    @property
    def _keepers(self) -> list[Keeper]:
        return [*self._workers, self._gateway]

    async def _first(self, awaited: asyncio.Task[Any]) -> bool:
        """Wait for `awaited`; False if asked to stop before. Raises what ended a keeper."""
        asked = asyncio.create_task(self._until_asked())
        try:
            done, _ = await asyncio.wait({awaited, asked, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            asked.cancel()
            awaited.cancel()
        return awaited in done

    async def _until_asked(self) -> None:
        await self._stop_asked.wait()
        self._announce("finishing what runs; Ctrl-C again kills")

    async def _stop(self) -> None:
        """The gateway finishes first, while its workers still work; then they."""
        await self._gateway.stop(self._tasks[self._gateway])
        await asyncio.gather(*(worker.stop(self._tasks[worker]) for worker in self._workers))


def _death(child: Child, code: int) -> CommandError:
    """The error for a process that ended before it was ready. One that blames its input has said why in its last line."""
    lines = [line for line in child.tail if line]
    if code == BAD_INPUT_CODE and lines:
        return BadInput(re.sub(r"^stoker[a-z -]*: ", "", lines[-1]))
    words = "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"
    return ServerFailure(f"{child.plan.name} could not start ({_how(code)}):\n{words}")


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
