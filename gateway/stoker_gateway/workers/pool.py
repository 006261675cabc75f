"""All workers of this process, and the routing table they make up together."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stoker_gateway.routing.catalog import Catalog
from stoker_gateway.routing.choose import NOT_READY, Load
from stoker_gateway.routing.table import Endpoint, ModelEntry, RoutingTable, build_table
from stoker_gateway.rpc.tls import ClientTls
from stoker_gateway.settings import Settings
from stoker_gateway.workers.connection import State, WorkerConnection
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.target import Target
from stoker_gateway.workers.texts import TextStore


@dataclass(slots=True)
class _Member:
    connection: WorkerConnection
    task: asyncio.Task[None]


class WorkerPool:
    """Owns the connections, and makes a new table whenever one of them or the catalog changes.

    instance  names this process to workers and the operator

    Sources of workers (the settings, a file, a cluster) each name all of theirs by `set_targets`.
    """

    def __init__(self, settings: Settings, held: HeldQueue, texts: TextStore) -> None:
        self.table = RoutingTable()
        self.texts = texts
        self.on_change: Callable[[], None] = lambda: None  # after every new table
        self._held = held
        self._aliases = settings.aliases
        self._tls = ClientTls(settings.tls) if settings.tls else None
        self._heartbeat_timeout_s = settings.limits.heartbeat_timeout_s
        self.instance = secrets.token_hex(8)
        self._catalog = Catalog()
        self._targets: dict[str, tuple[Target, ...]] = {"settings": tuple(map(Target, settings.workers))}
        self._members: dict[Target, _Member] = {}
        self._by_address: dict[str, WorkerConnection] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to connect."""
        self._update()

    async def aclose(self) -> None:
        """Close every stream; the workers end what is left of our requests."""
        self._targets.clear()
        for target in tuple(self._members):
            self._drop(target)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def set_targets(self, source: str, targets: Iterable[Target]) -> None:
        """These are all workers that a source knows of now. Those it knew before and are not among them are dropped."""
        self._targets[source] = tuple(targets)
        self._update()

    def set_catalog(self, catalog: Catalog) -> None:
        """Models and deployments have changed."""
        self._catalog = catalog
        self._changed()

    def connection(self, address: str) -> WorkerConnection:
        """The connection of a ready endpoint's address."""
        return self._by_address[address]

    def loads(self, endpoints: Iterable[Endpoint]) -> dict[Endpoint, Load]:
        """How loaded endpoints are now; those of workers that are gone are not ready."""
        return {endpoint: self._load(endpoint) for endpoint in endpoints}

    def _load(self, endpoint: Endpoint) -> Load:
        connection = self._by_address.get(endpoint.address)
        return connection.load(endpoint) if connection else NOT_READY

    def entry_loads(self, entry: ModelEntry) -> dict[Endpoint, Load]:
        """How loaded all endpoints of a model are now."""
        return self.loads(endpoint for variant in entry.variants for endpoint in variant.endpoints)

    @property
    def ready(self) -> bool:
        """Some worker can be sent requests."""
        return any(load.ready for entry in self.table.entries for load in self.entry_loads(entry).values())

    def states(self) -> dict[str, int]:
        """Connections by state, every state named."""
        counted = Counter(member.connection.state.value for member in self._members.values())
        return {state.value: counted[state.value] for state in State}

    def engines(self) -> list[dict[str, str | int]]:
        """The last load report of every engine."""
        return [engine for member in self._members.values() for engine in member.connection.engines()]

    def in_flight(self) -> Counter[str]:
        """Requests that workers have of this process, by deployment uid."""
        counted: Counter[str] = Counter()
        for target, member in self._members.items():
            counted[target.deployment_uid] += member.connection.in_flight
        return counted

    def _update(self) -> None:
        wanted = {target.address: target for targets in self._targets.values() for target in targets}
        for target in self._members.keys() - wanted.values():
            self._drop(target)
        for target in wanted.values():
            if target not in self._members:
                self._add(target)
        self._changed()

    def _add(self, target: Target) -> None:
        connection = WorkerConnection(
            target, self._tls, self.instance, self.texts, self._changed, self._heartbeat_timeout_s
        )
        self._members[target] = _Member(connection, asyncio.create_task(connection.run()))
        self._by_address[target.address] = connection

    def _drop(self, target: Target) -> None:
        """Close the stream: its requests go on elsewhere."""
        member = self._members.pop(target)
        del self._by_address[target.address]
        member.task.cancel()
        self._leaving.add(member.task)
        member.task.add_done_callback(self._leaving.discard)

    def _changed(self) -> None:
        endpoints = (e for member in self._members.values() for e in member.connection.endpoints)
        self.table = build_table(endpoints, self._aliases, self._catalog, self.table)
        self._held.wake()
        self.on_change()
