"""Everything a gateway process owns, built once and passed down."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
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
from stoker_gateway.rpc.cancellation import heed_cancellation
from stoker_gateway.rpc.tls import ClientTls
from stoker_gateway.settings import Settings
from stoker_gateway.sources import endpoints_file
from stoker_gateway.sources.demand import DemandReporter
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.pool import WorkerPool
from stoker_gateway.workers.signal import Signal
from stoker_gateway.workers.texts import TextStore

RESTART_S = 1.0

log = logging.getLogger(__name__)


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
        self._cluster_seen: Callable[[], bool] | None = None
        self._add_gauges()

    @property
    def ready(self) -> bool:
        """Requests can be answered, or held: a cluster's deployments may all be asleep, but they must be known."""
        return self._cluster_seen() if self._cluster_seen else self.pool.ready

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

    async def model(self, name: str, account: str) -> ModelEntry:
        """The model that an account means by a name; waits a while if no worker of it was ever heard from.

        The entry has a variant. Raises ModelNotFound, NoWorker, Overloaded.
        """
        entry = self._look_up(name, account)
        if entry is not None and entry.variants:
            return entry
        signal, limit_s = Signal(), self.settings.limits.hold_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                while entry is None or not entry.variants:
                    self.held.enter(signal, entry.key if entry else "")
                    await signal.wait()
                    entry = self._look_up(name, account)
        except TimeoutError:
            raise no_worker(limit_s) from None
        finally:
            self.held.leave(signal)
        return entry

    def _look_up(self, name: str, account: str) -> ModelEntry | None:
        """None while nothing is known of any model. Raises ModelNotFound."""
        table = self.pool.table
        entry = table.resolve(name, account)
        if entry is None and not table.empty:
            raise ModelNotFound(
                f"The model '{name[:128]}' does not exist here. GET /v1/models lists those that do.", param="model"
            )
        return entry

    async def __aenter__(self) -> Self:
        tasks = [asyncio.create_task(self._sink.run()), asyncio.create_task(self.auth.watch())]
        self._stack.callback(self.tracer.close)
        self._stack.push_async_callback(self._sink.aclose)
        self._stack.push_async_callback(_cancel, tasks)
        self._stack.push_async_callback(self.pool.aclose)
        self.pool.start()
        await self._follow_sources()
        return self

    async def _follow_sources(self) -> None:
        """Begin to look for workers in a file and a cluster. Raises SettingsError."""
        tasks = []
        if (path := self.settings.endpoints_file) is not None:
            self.pool.set_targets("file", endpoints_file.read(path))
            follow = partial(endpoints_file.follow, path, partial(self.pool.set_targets, "file"))
            tasks.append(asyncio.create_task(self._kept_up(follow)))
        if self.settings.api_server is not None:
            # Without a cluster, its client is not even loaded.
            from stoker_gateway.sources.api_client import connected
            from stoker_gateway.sources.cluster import ClusterSource

            client = await self._stack.enter_async_context(connected(self.settings.api_server))
            source = ClusterSource(client, self.pool, self.held)
            self._cluster_seen = lambda: source.synced
            tasks.append(asyncio.create_task(self._kept_up(source.run)))
            if self.settings.operator and self.settings.tls:
                tls = ClientTls(self.settings.tls)
                reporter = DemandReporter(self.settings.operator, tls, self.pool.instance, self.pool, self.held)
                tasks.append(asyncio.create_task(self._kept_up(reporter.run)))
        self._stack.push_async_callback(_cancel, tasks)

    async def _kept_up(self, run: Callable[[], Awaitable[None]]) -> None:
        """What runs for ever begins anew after a defect, which is counted: without it the gateway would grow blind."""
        while True:
            try:
                await run()
            except Exception:
                self.metrics.defect()
                log.exception("a source of workers failed")
            heed_cancellation()
            await asyncio.sleep(RESTART_S)

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
