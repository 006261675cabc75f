"""The operator's process: everything is built here, once, and handed down."""

import asyncio
import datetime as dt
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from stoker_core.api_server import Access
from stoker_operator.cluster.cache import Cache
from stoker_operator.cluster.keys import Key
from stoker_operator.cluster.waiting import Waiting
from stoker_operator.demand.book import DemandBook
from stoker_operator.demand.service import serving as serving_demand
from stoker_operator.errors import Conflict, KubeError
from stoker_operator.events import watch
from stoker_operator.health import Health, serving
from stoker_operator.inbox import Inbox
from stoker_operator.kube.client import Client, connected
from stoker_operator.kube.paths import ADAPTERS, DEPLOYMENTS, GPU_POOLS, MODELS, Collection
from stoker_operator.leader import Leader
from stoker_operator.metrics import Metrics
from stoker_operator.pki.authority import Authority
from stoker_operator.pki.store import Certificates, gateway_holder, open_authority
from stoker_operator.planning.pod import Platform
from stoker_operator.queue import Queue
from stoker_operator.reconcile import deployment, others
from stoker_operator.reconcile.context import Context
from stoker_operator.reconcile.downloads import Downloads
from stoker_operator.reconcile.notes import Notes
from stoker_operator.reconcile.secrets import Presence
from stoker_operator.resync import Resync
from stoker_operator.settings import Settings, Workers

logger = logging.getLogger(__name__)

MEASURE_S = 1.0
DEMAND_S = 0.5
CERTIFICATE_CHECK_S = 3600.0
RETRY_S = 1.0

RECONCILES: Mapping[Collection, Callable[[Context, Key], Awaitable[float | None]]] = {
    DEPLOYMENTS: deployment.reconcile,
    MODELS: others.reconcile_model,
    ADAPTERS: others.reconcile_adapter,
    GPU_POOLS: others.reconcile_pool,
}


def platform(workers: Workers) -> Platform:
    """What the settings decide for every worker pod."""
    endpoints = {scheme: url for scheme, url in (("hf", workers.hf_endpoint), ("s3", workers.s3_endpoint)) if url}
    return Platform(workers.images, endpoints, workers.drain_timeout_s, workers.image_pull_policy)


async def run(settings: Settings, access: Access) -> None:
    """Lead, or wait to, until SIGTERM or SIGINT. Raises LeadershipLost, OperatorError."""
    stop = asyncio.Event()
    metrics, health = Metrics(CollectorRegistry()), Health()
    async with (
        connected(access, settings.concurrency * 2) as client,
        serving(settings.listen, health, metrics) as port,
    ):
        logger.info("http on port %d", port)
        _stop_on_signals(stop)
        await _until(stop, _standby_and_lead(settings, access, client, health, metrics, stop))


async def _standby_and_lead(
    settings: Settings, access: Access, client: Client, health: Health, metrics: Metrics, stop: asyncio.Event
) -> None:
    leader = Leader(client, settings.namespace, settings.identity, settings.leadership)
    await _retried(leader.look)
    health.standing_by = True
    await leader.win()
    metrics.leading.set(1)
    try:
        operator = Operator(settings, access, client, metrics)
        health.stale, health.oldest_s = operator.stale, operator.oldest_s
        await _together(leader.keep(), operator.run(lambda: _stop_on_signals(stop)))
    finally:
        metrics.leading.set(0)
        await asyncio.shield(leader.release())


class Operator:
    """What acts while this process leads."""

    def __init__(self, settings: Settings, access: Access, client: Client, metrics: Metrics) -> None:
        self._settings, self._access, self._client, self._metrics = settings, access, client, metrics
        self._cache, self._waiting = Cache(), Waiting()
        self._queue: Queue[Key] = Queue()
        self._demand = DemandBook(_now().timestamp())
        self._downloads = Downloads(self._cache.workers, self._queue.add)
        self._inbox = Inbox(self._cache, self._waiting, self._queue)
        self._resync = Resync(client, self._cache, self._inbox, metrics)

    def stale(self) -> frozenset[str]:
        """Kinds whose watches have missed changes."""
        return self._resync.stale

    def oldest_s(self) -> float:
        """Age of the first key that waits to be reconciled."""
        return self._queue.depth().oldest_s

    async def run(self, started: Callable[[], None]) -> None:
        """Watch and reconcile until cancelled. Nothing is decided before everything was listed. Raises KubeError, OperatorError."""
        authority = await _retried(self._authority)
        context = self._context(authority)
        await _retried(self._resync.fill)

        async def work(key: Key) -> float | None:
            return await self._reconcile(context, key)

        await _together(
            watch(self._access, self._settings.watching, self._inbox, self._metrics, started),
            self._queue.run(work, self._settings.concurrency),
            self._resync_for_ever(),
            self._certify_gateways(context.certificates),
            self._hear_demand(authority),
            self._downloads.run(),
            self._measure(),
        )

    async def _authority(self) -> Authority:
        settings = self._settings
        return await open_authority(self._client, settings.namespace, settings.identities.pki_secret, _now())

    def _context(self, authority: Authority) -> Context:
        settings, client, metrics = self._settings, self._client, self._metrics
        lifetime = dt.timedelta(days=settings.identities.certificate_days)
        return Context(
            client=client,
            cache=self._cache,
            inbox=self._inbox,
            waiting=self._waiting,
            platform=platform(settings.workers),
            certificates=Certificates(client, authority, lifetime, _now),
            presence=Presence(client),
            demand=self._demand,
            downloads=self._downloads,
            notes=Notes(client, settings.identity, metrics, _now),
            metrics=metrics,
            now=_now,
        )

    async def _reconcile(self, context: Context, key: Key) -> float | None:
        try:
            with self._metrics.reconciling(key.collection.kind):
                return await RECONCILES[key.collection](context, key)
        except Conflict:
            raise  # the object has changed meanwhile: the next try sees it
        except KubeError as error:
            logger.warning("%s: %s", key, error)
            raise
        except Exception:
            logger.exception("%s: this is a fault of the operator's", key)
            raise

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.watching.resync_s)
            try:
                await self._resync.check()
            except KubeError as error:
                logger.warning("the resync failed: %s", error)

    async def _certify_gateways(self, certificates: Certificates) -> None:
        holder = gateway_holder(self._settings.namespace, self._settings.identities)
        while True:
            await _retried(lambda: certificates.ensure(holder, 0.0))
            await asyncio.sleep(CERTIFICATE_CHECK_S)

    async def _hear_demand(self, authority: Authority) -> None:
        async with serving_demand(self._settings.demand_listen, authority, self._demand, _now) as port:
            logger.info("demand on port %d", port)
            while True:
                await asyncio.sleep(DEMAND_S)
                if due := self._demand.due(_now().timestamp()):
                    refs = self._cache.refs(DEPLOYMENTS)
                    for ref in (refs[uid] for uid in due if uid in refs):
                        self._queue.add(Key(DEPLOYMENTS, ref.namespace, ref.name))

    async def _measure(self) -> None:
        while True:
            depth = self._queue.depth()
            for state in ("ready", "later", "working"):
                self._metrics.queue.labels(state).set(getattr(depth, state))
            self._metrics.queue_age.set(depth.oldest_s)
            await asyncio.sleep(MEASURE_S)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def _retried(step: Callable[[], Awaitable[Any]]) -> Any:
    """Try until the API server lets it succeed."""
    while True:
        began = time.monotonic()
        try:
            return await step()
        except KubeError as error:
            logger.warning("%s", error)
            await asyncio.sleep(max(0.0, RETRY_S - (time.monotonic() - began)))


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run them beside each other; whichever ends, by itself or with an error, ends all."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        await task


async def _until(stop: asyncio.Event, part: Coroutine[Any, Any, None]) -> None:
    async def stopped() -> None:
        await stop.wait()

    await _together(stopped(), part)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Called again after kopf has put its own handlers in place: the Lease is given back before anything else."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
