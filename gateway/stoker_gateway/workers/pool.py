"""All workers of this process, and the routing table they make up together."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable

from stoker_gateway.routing.choose import Load
from stoker_gateway.routing.table import Endpoint, ModelEntry, RoutingTable, build_table
from stoker_gateway.settings import Settings
from stoker_gateway.workers.connection import State, WorkerConnection
from stoker_gateway.workers.held import HeldQueue
from stoker_gateway.workers.texts import TextStore


class WorkerPool:
    """Owns the connections, and makes a new table whenever one of them changes."""

    def __init__(self, settings: Settings, held: HeldQueue, texts: TextStore) -> None:
        self.table = RoutingTable()
        self.texts = texts
        self._held = held
        self._aliases = settings.aliases
        instance = secrets.token_hex(8)
        self._connections = {
            address: WorkerConnection(address, instance, self.texts, self._changed, settings.limits.heartbeat_timeout_s)
            for address in settings.workers
        }
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to connect."""
        self._tasks = [asyncio.create_task(connection.run()) for connection in self._connections.values()]

    async def aclose(self) -> None:
        """Close every stream; the workers end what is left of our requests."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def connection(self, address: str) -> WorkerConnection:
        """The connection of an endpoint's address."""
        return self._connections[address]

    def loads(self, endpoints: Iterable[Endpoint]) -> dict[Endpoint, Load]:
        """How loaded endpoints are now."""
        return {endpoint: self._connections[endpoint.address].load(endpoint) for endpoint in endpoints}

    def entry_loads(self, entry: ModelEntry) -> dict[Endpoint, Load]:
        """How loaded all endpoints of a model are now."""
        return self.loads(endpoint for variant in entry.variants for endpoint in variant.endpoints)

    @property
    def ready(self) -> bool:
        """Some worker can be sent requests."""
        return any(load.ready for entry in self.table.models.values() for load in self.entry_loads(entry).values())

    def states(self) -> dict[str, int]:
        """Connections by state, every state named."""
        counted = Counter(connection.state.value for connection in self._connections.values())
        return {state.value: counted[state.value] for state in State}

    def engines(self) -> list[dict[str, str | int]]:
        """The last load report of every engine."""
        return [engine for connection in self._connections.values() for engine in connection.engines()]

    def _changed(self) -> None:
        endpoints = (e for connection in self._connections.values() for e in connection.endpoints)
        self.table = build_table(endpoints, self._aliases)
        self._held.wake()
