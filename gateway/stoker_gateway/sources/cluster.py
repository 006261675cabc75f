"""A cluster as a source of workers: what is watched becomes the pool's targets and catalog."""

import asyncio

from stoker_gateway.routing.catalog import Catalog
from stoker_gateway.sources import objects
from stoker_gateway.sources.api_client import ApiClient
from stoker_gateway.sources.objects import Deployment, Model, Namespace, Pod
from stoker_gateway.sources.reflector import Reflector
from stoker_gateway.sources.waker import Waker
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.pool import WorkerPool
from stoker_gateway.workers.target import Target

SOURCE = "cluster"
GATHER_S = 0.02  # changes within so long become one new table


class ClusterSource:
    """Follows one cluster. When its API server is away, the pool keeps what it has."""

    def __init__(self, client: ApiClient, pool: WorkerPool, held: HeldQueue) -> None:
        self._models: Reflector[Model] = Reflector(client, objects.MODELS, self._changed)
        self._deployments: Reflector[Deployment] = Reflector(client, objects.DEPLOYMENTS, self._changed)
        self._namespaces: Reflector[Namespace] = Reflector(client, objects.NAMESPACES, self._changed)
        self._pods: Reflector[Pod] = Reflector(client, objects.PODS, self._changed)
        self._pool = pool
        self._waker = Waker(client, pool, held, self._deployments)
        self._catalog = Catalog()
        self._targets: list[Target] = []
        self._scheduled = False
        held.on_change = self._waker.look

    @property
    def synced(self) -> bool:
        """Everything has been listed once."""
        return all(each.synced for each in (self._models, self._deployments, self._namespaces, self._pods))

    async def run(self) -> None:
        """Follow it until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for each in (self._models, self._deployments, self._namespaces, self._pods):
                tasks.create_task(each.run())
            tasks.create_task(self._waker.run())

    def _changed(self) -> None:
        if self.synced and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(GATHER_S, self._publish)

    def _publish(self) -> None:
        """Tell the pool, if there is anything new for it: most changes are of things that routing does not look at."""
        self._scheduled = False
        catalog = objects.catalog_of(
            self._models.objects.values(), self._deployments.objects.values(), self._namespaces.objects.values()
        )
        targets = objects.targets_of(self._pods.objects.values(), catalog)
        if catalog != self._catalog:
            self._catalog = catalog
            self._pool.set_catalog(catalog)
        if targets != self._targets:
            self._targets = targets
            self._pool.set_targets(SOURCE, targets)
        self._waker.look()
