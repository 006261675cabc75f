"""Tells the operator how many requests want which deployment. No request waits for it."""

import asyncio
import logging
import random
from collections.abc import Callable

from stoker.operator.v1 import demand_pb2 as pb
from stoker_core import identity
from stoker_gateway.rpc.call import Method
from stoker_gateway.rpc.cancellation import heed_cancellation
from stoker_gateway.rpc.channel import connect
from stoker_gateway.rpc.errors import RpcError
from stoker_gateway.rpc.tls import ClientTls
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.pool import WorkerPool

REPORT = Method("/stoker.operator.v1.Demand/Report", pb.DemandReport, pb.DemandReceipt)
PERIOD_S = 0.5  # changes are told at most so often
CONNECT_TIMEOUT_S = 5.0
PAUSE_S = 2.0

log = logging.getLogger(__name__)


class DemandReporter:
    """One stream to the operator that leads; a standby does not listen, so it is tried again until that one is met."""

    def __init__(self, address: str, tls: ClientTls, gateway: str, pool: WorkerPool, held: HeldQueue) -> None:
        self._address = address
        self._tls = tls
        self._gateway = gateway
        self._pool = pool
        self._held = held

    async def run(self) -> None:
        """Report until cancelled."""
        known = ""
        while True:
            try:
                await self._session()
            except* RpcError as group:
                if (why := str(group.exceptions[0])) != known:
                    log.warning("the operator at %s gets no demand: %s", self._address, why)
                known = why
            else:
                known = ""
            heed_cancellation()
            await asyncio.sleep(PAUSE_S * (0.5 + random.random()))

    async def _session(self) -> None:
        opened = connect(self._address, CONNECT_TIMEOUT_S, self._tls, identity.OPERATOR)
        async with opened as channel, asyncio.TaskGroup() as tasks:
            call = channel.call(REPORT, lambda receipt: None)
            reports = tasks.create_task(self._report(call.send))
            try:
                await call.finished()
            finally:
                reports.cancel()

    async def _report(self, send: Callable[[pb.DemandReport], None]) -> None:
        told = pb.DemandReport()
        while True:
            report = self._current()
            if report != told or not told.gateway:
                send(report)
                told = report
            await asyncio.sleep(PERIOD_S)

    def _current(self) -> pb.DemandReport:
        """By deployment: of an entry with several, those who wait are the first one's."""
        found: dict[str, pb.DeploymentDemand] = {}
        for uid, count in self._pool.in_flight().items():
            if uid and count:
                found[uid] = pb.DeploymentDemand(deployment_uid=uid, in_flight=count)
        now_s = asyncio.get_running_loop().time()
        for key, waiting in self._held.waiting().items():
            entry = self._pool.table.entry(key)
            if entry is None or not entry.deployments:
                continue
            uid = entry.deployments[0].uid
            demand = found.setdefault(uid, pb.DeploymentDemand(deployment_uid=uid))
            demand.held = waiting.held
            demand.oldest_ms = max(0, round((now_s - waiting.oldest_s) * 1000))
        return pb.DemandReport(gateway=self._gateway, deployments=[found[uid] for uid in sorted(found)])
