"""Everything a gateway process owns, built once and passed down."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from hashlib import sha256
from types import TracebackType
from typing import Self

from stoker_core.usage import UsageEvent
from stoker_gateway.auth import Authenticator
from stoker_gateway.errors import ModelNotFound, Overloaded, SettingsError, no_worker
from stoker_gateway.metering.sink import DiscardSink, JsonlSink, UsageSink
from stoker_gateway.observability.metrics import Metrics
from stoker_gateway.observability.tracing import tracer_for
from stoker_gateway.routing.table import ModelEntry
from stoker_gateway.settings import Settings
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.pool import WorkerPool
from stoker_gateway.workers.signal import Signal
from stoker_gateway.workers.texts import TextStore


class Gateway:
    """The state of a process. Use as `async with`: entering connects to workers, leaving makes usage safe."""

    def __init__(self, settings: Settings, texts: TextStore) -> None:
        """Open the files that settings name. Raises SettingsError."""
        self.settings = settings
        self.auth = Authenticator(settings.keys_file)
        self.secret = _secret(settings)
        self.held = HeldQueue(settings.limits.max_held)
        self.pool = WorkerPool(settings, self.held, texts)
        self.metrics = Metrics()
        self.tracer = tracer_for(settings.otlp_endpoint)
        self.in_flight = 0
        self._sink: UsageSink = JsonlSink(settings.usage_file) if settings.usage_file else DiscardSink()
        self._stack = AsyncExitStack()
        self._add_gauges()

    def record(self, event: UsageEvent) -> None:
        """Take note of an attempt that ended."""
        self._sink.record(event)
        self.metrics.used(event)

    async def accounted(self) -> None:
        """Wait until what was recorded survives the process: an answer ends after its usage is written."""
        await self._sink.written()

    def enter(self) -> None:
        """Count a request in; `leave` must follow. Raises Overloaded."""
        if self.in_flight >= self.settings.limits.max_concurrent:
            raise Overloaded("This gateway has as many requests as it takes. Try again shortly.", retry_after_s=1)
        self.in_flight += 1

    def leave(self) -> None:
        """Count a request out."""
        self.in_flight -= 1

    async def model(self, name: str) -> ModelEntry:
        """The model of an id or alias; waits a while if no worker was ever heard from. Raises ModelNotFound, NoWorker, Overloaded."""
        if not self.pool.table.models:
            await self._first_worker()
        entry = self.pool.table.resolve(name)
        if entry is None:
            raise ModelNotFound(
                f"The model '{name[:128]}' does not exist here. GET /v1/models lists those that do.", param="model"
            )
        return entry

    async def _first_worker(self) -> None:
        signal = Signal()
        self.held.enter(signal)
        try:
            async with asyncio.timeout(self.settings.limits.hold_timeout_s):
                while not self.pool.table.models:
                    await signal.wait()
        except TimeoutError:
            raise no_worker(self.settings.limits.hold_timeout_s) from None
        finally:
            self.held.leave(signal)

    async def __aenter__(self) -> Self:
        tasks = [asyncio.create_task(self._sink.run()), asyncio.create_task(self.auth.watch())]
        self._stack.callback(self.tracer.close)
        self._stack.push_async_callback(self._sink.aclose)
        self._stack.push_async_callback(_cancel, tasks)
        self._stack.push_async_callback(self.pool.aclose)
        self.pool.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _add_gauges(self) -> None:
        gauges = self.metrics.gauges
        gauges["stoker_gateway_in_flight"] = "Requests in the process.", "", lambda: {"": self.in_flight}
        gauges["stoker_gateway_held"] = "Requests that wait for a worker.", "", lambda: {"": len(self.held)}
        gauges["stoker_gateway_workers"] = "Workers by state of the connection.", "state", self.pool.states


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _secret(settings: Settings) -> bytes:
    """The key of cache salts: the shared one, or one of this process."""
    if settings.salt_secret_file is None:
        return secrets.token_bytes(32)
    try:
        secret = settings.salt_secret_file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"{settings.salt_secret_file}: {error.strerror}") from None
    if len(secret) < 16:
        raise SettingsError(f"{settings.salt_secret_file}: the secret must have 16 bytes or more")
    return sha256(secret).digest()  # of any length as given, of one length as a key
