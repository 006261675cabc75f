"""Keeps one engine process alive: starts it, learns when it is ready, starts it again with back-off when it dies."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from stoker_worker.engine.messages import EngineFailed, EngineReady, FromEngine, LoadProgress, StepReport, ToEngine
from stoker_worker.errors import EngineFailure
from stoker_worker.service.engine_link import EXIT_GRACE_S, EngineLink

logger = logging.getLogger(__name__)


class EngineState(Enum):
    """Of the engine process."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"


MOVES = {
    EngineState.STARTING: {EngineState.READY, EngineState.DOWN},
    EngineState.READY: {EngineState.DOWN},
    EngineState.DOWN: {EngineState.STARTING},
}


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before the next start: doubled from `first_s` up to `most_s`, forgotten after `healthy_s`."""

    first_s: float = 0.2
    most_s: float = 30.0
    healthy_s: float = 60.0

    def failures(self, before: int, ready_for_s: float) -> int:
        """Failures in a row, after a life in which the engine was ready for so long."""
        return 1 if ready_for_s >= self.healthy_s else before + 1

    def delay_s(self, failures: int) -> float:
        """The wait after so many failures in a row, from 1."""
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))


class Listener(Protocol):
    """Whoever owns the engine's requests. All calls come from the event loop and must not wait."""

    def on_report(self, report: StepReport) -> None:
        """A step was done."""
        ...

    def on_lost(self, message: str) -> None:
        """The engine is gone with all its requests."""
        ...

    def on_change(self) -> None:
        """The state has changed."""
        ...


class Supervisor:
    """One engine, over as many processes as it takes.

    state    what the engine can do now
    message  why it is not ready, for a person; empty if it is
    ready    what the last ready engine said of itself; None before the first
    """

    def __init__(self, command: Sequence[str], back_off: BackOff) -> None:
        self.state = EngineState.STARTING
        self.message = "starting"
        self.ready: EngineReady | None = None
        self.restarts = 0
        self._command = command
        self._back_off = back_off
        self._listener: Listener | None = None
        self._link: EngineLink | None = None
        self._failure: EngineFailed | None = None
        self._ready_since: float | None = None

    def attach(self, listener: Listener) -> None:
        """From now on `listener` is told. The engine's state is there to be read before, too."""
        self._listener = listener

    @property
    def pid(self) -> int | None:
        """The engine's process id, while there is one."""
        return self._link.pid if self._link else None

    def send(self, message: ToEngine) -> None:
        """Give the engine a message; lost if it is down, as `on_lost` tells."""
        if self._link:
            self._link.send(message)

    async def run(self) -> None:
        """Keep the engine alive until cancelled. Raises EngineFailure if it can never be ready (a broken model file)."""
        failures = 0
        while True:
            ready_for_s = await self._one_life()
            if self._failure and self._failure.fatal and self.ready is None:
                raise EngineFailure(self._failure.message)
            failures = self._back_off.failures(failures, ready_for_s)
            delay_s = self._back_off.delay_s(failures)
            logger.error("engine down: %s; starting it again in %.1f s", self.message, delay_s)
            await asyncio.sleep(delay_s)
            self.restarts += 1
            self._move(EngineState.STARTING, "starting again: " + self.message)

    async def _one_life(self) -> float:
        """From the start of a process to its end; returns for how many seconds it was ready."""
        self._failure = self._ready_since = None
        try:
            self._link = await EngineLink.spawn(self._command, self._on_message)
            try:
                how = await self._link.ended()
            finally:
                link, self._link = self._link, None
                await link.close(EXIT_GRACE_S if self.state is EngineState.READY else 0.0)  # loading hears nothing
        except EngineFailure as error:
            how = str(error)
        message = self._failure.message if self._failure else how
        self._move(EngineState.DOWN, message)
        if self._listener:
            self._listener.on_lost(message)
        return asyncio.get_running_loop().time() - self._ready_since if self._ready_since is not None else 0.0

    def _on_message(self, message: FromEngine) -> None:
        match message:
            case StepReport():
                if self._listener:
                    self._listener.on_report(message)
            case LoadProgress(done, total):
                self.message = f"loading weights: {100 * done // max(total, 1)} %"
            case EngineReady():
                self.ready = message
                self._ready_since = asyncio.get_running_loop().time()
                logger.info("engine ready after %.1f s: %s", message.load_s, _in_words(message))
                self._move(EngineState.READY, "")
            case EngineFailed():
                self._failure = message

    def _move(self, state: EngineState, message: str) -> None:
        assert state in MOVES[self.state], f"{self.state} → {state}"
        self.state, self.message = state, message
        if self._listener:
            self._listener.on_change()


def _in_words(ready: EngineReady) -> str:
    return (
        f"{ready.precision}, {ready.context_length} tokens of context, "
        f"{ready.total_blocks} KV blocks of {ready.block_size} tokens"
    )
