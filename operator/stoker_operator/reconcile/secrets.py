"""Whether Secrets that Models name are there. Their content is never asked for, and nobody may list them."""

import time
from collections.abc import Callable, Iterable

from stoker_operator.kube.client import Client
from stoker_operator.pki.store import find

BELIEVED_FOR_S = 300.0


class Presence:
    """Asks for single Secrets' metadata. That one is there is believed for a while; that one is missing never is."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._seen: dict[tuple[str, str], float] = {}

    async def present(self, namespace: str, names: Iterable[str]) -> frozenset[str]:
        """Those that exist. Raises KubeError."""
        return frozenset([name for name in set(names) if await self._is_there(namespace, name)])

    async def _is_there(self, namespace: str, name: str) -> bool:
        key = (namespace, name)
        if self._clock() - self._seen.get(key, float("-inf")) < BELIEVED_FOR_S:
            return True
        self._seen.pop(key, None)
        if await find(self._client, namespace, name) is None:
            return False
        self._seen[key] = self._clock()
        return True
