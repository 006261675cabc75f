"""Scales a deployment that somebody waits for from none to one. Everything beyond that is not a gateway's business."""

import asyncio
import logging

from stoker_gateway.routing.catalog import CatalogDeployment
from stoker_gateway.sources.api_client import ApiClient, ApiError
from stoker_gateway.sources.objects import Deployment
from stoker_gateway.sources.reflector import Reflector
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.pool import WorkerPool
from stoker_gateway.workers.signal import Signal

SCALE = "/apis/stoker.dev/v1alpha1/namespaces/{namespace}/deployments/{name}/scale"
AGAIN_S = 1.0  # after a failure, while somebody still waits

log = logging.getLogger(__name__)


class Waker:
    """Looks whenever the queue or the cluster has changed."""

    def __init__(
        self, client: ApiClient, pool: WorkerPool, held: HeldQueue, deployments: Reflector[Deployment]
    ) -> None:
        self._client = client
        self._pool = pool
        self._held = held
        self._deployments = deployments
        self._signal = Signal()
        self._woken: dict[str, str] = {}  # uid → the version that was scaled: not again before another is seen

    def look(self) -> None:
        """Something has changed."""
        self._signal.set()

    async def run(self) -> None:
        """Wake what is asked for, until cancelled."""
        while True:
            await self._signal.wait()
            for deployment in self._asleep():
                await self._wake(deployment)

    def _asleep(self) -> list[CatalogDeployment]:
        """Of each entry that somebody waits for and nobody serves, the oldest deployment."""
        entries = (self._pool.table.entry(key) for key in self._held.waiting())
        choices = [entry.deployments for entry in entries if entry and entry.deployments]
        return [of[0] for of in choices if all(deployment.replicas == 0 for deployment in of)]

    async def _wake(self, deployment: CatalogDeployment) -> None:
        known = self._deployments.objects.get(deployment.uid)
        if known is None or self._woken.get(deployment.uid) == known.metadata.resource_version:
            return
        version = known.metadata.resource_version
        path = SCALE.format(namespace=deployment.namespace, name=deployment.name)
        try:
            # Only this version: if somebody else has scaled it meanwhile, the patch is refused.
            await self._client.merge(path, {"metadata": {"resourceVersion": version}, "spec": {"replicas": 1}})
        except ApiError as error:
            log.warning("%s cannot be woken: %s", deployment.id, error)
            asyncio.get_running_loop().call_later(AGAIN_S, self.look)
            return
        self._woken[deployment.uid] = version
        log.info("%s: scaled from 0 to 1, a request waits for it", deployment.id)
