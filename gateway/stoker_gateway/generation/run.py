"""One HTTP request's generation: its jobs, its clock and its client, driven by one task and one signal."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from stoker_core.usage import Outcome, TokenCounts
from stoker_gateway.errors import ClientGone, DeadlineExceeded, no_worker
from stoker_gateway.generation.choice import Choice
from stoker_gateway.generation.counts import add_up
from stoker_gateway.generation.job import Job, State
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.signal import Signal

SETTLE_TIMEOUT_S = 5.0  # for last words after an abort; a worker gives them within a step


class Run:
    """Use as `async with`: whatever ends the block, every worker is told and every attempt accounted for.

    signal  set by workers, by the held queue, and by whoever calls `client_gone`
    """

    def __init__(
        self, jobs: Sequence[Job], signal: Signal, held: HeldQueue, entry_key: str, hold_timeout_s: float
    ) -> None:
        self.jobs = jobs
        self.choices: list[Choice] = [choice for job in jobs for choice in job.choices]
        self._live = list(jobs)
        self._signal = signal
        self._held = held
        self._entry_key = entry_key
        self._hold_timeout_s = hold_timeout_s
        self._hold_until: float | None = None
        self._gone = False
        self._loop = asyncio.get_running_loop()

    def client_gone(self) -> None:
        """The client has closed the connection: the waiting task learns of it at once."""
        self._gone = True
        self._signal.set()

    @property
    def counts(self) -> TokenCounts:
        """What the client is told it used: all prompts and all completions."""
        return add_up(job.counts for job in self.jobs)

    async def accepted(self) -> None:
        """Place every job, and wait until workers have accepted all. Raises ApiError, ClientGone."""
        self._advance()
        while not all(job.accepted for job in self.jobs):
            await self.step()

    async def step(self) -> bool:
        """Wait for news and take it in; False when everything has ended. Raises ApiError, ClientGone."""
        if not self._live:
            return False
        await self._signal.wait()
        self._advance()
        return True

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` whenever there is news for `take`, in place of `step`; None ends that. It must not raise."""
        self._signal.listen(listener)

    def take(self) -> bool:
        """Take in the news there is; False when everything has ended. Raises ApiError, ClientGone."""
        self._advance()
        return bool(self._live)

    def _advance(self) -> None:
        if self._gone:
            raise ClientGone
        done = unplaced = False
        for job in self._live:
            job.advance()
            if job.state is State.DONE:
                done = True
            elif job.state is State.UNPLACED:
                unplaced = True
        if done:
            self._live = [job for job in self._live if job.state is not State.DONE]
        if unplaced or self._hold_until is not None:
            self._hold(unplaced)

    def _hold(self, unplaced: bool) -> None:
        """Wait in the held queue while a job has no worker. Raises NoWorker when that took too long, Overloaded."""
        now = self._loop.time()
        if not unplaced:
            self._held.leave(self._signal)
            self._hold_until = None
        elif self._hold_until is None:
            self._held.enter(self._signal, self._entry_key)
            self._hold_until = now + self._hold_timeout_s
            self._loop.call_at(self._hold_until, self._signal.set)
        elif now >= self._hold_until:
            raise no_worker(self._hold_timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.leave(self._signal)
        if not self._live:
            return
        outcome = _outcome(error)
        if outcome is Outcome.SHUTDOWN:
            self._abandon(outcome)
            return
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await self._settle(outcome)
        except TimeoutError:
            self._abandon(outcome)
        except asyncio.CancelledError:
            self._abandon(outcome)
            raise

    async def _settle(self, outcome: Outcome) -> None:
        for job in self._live:
            if job.state is not State.DONE:
                job.stop(outcome)
        while True:
            self._live = [job for job in self._live if job.state is not State.DONE]
            if not self._live:
                return
            await self._signal.wait()
            for job in self._live:
                job.advance()

    def _abandon(self, outcome: Outcome) -> None:
        for job in self._live:
            if job.state is not State.DONE:
                job.abandon(outcome)
        self._live = []


def _outcome(error: BaseException | None) -> Outcome:
    match error:
        case ClientGone():
            return Outcome.CLIENT_GONE
        case DeadlineExceeded() | TimeoutError():
            return Outcome.DEADLINE
        case asyncio.CancelledError():
            return Outcome.SHUTDOWN
        case _:
            return Outcome.FAILED
