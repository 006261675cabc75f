"""The ground truth: everything is listed now and then, and compared with what the watches have brought.

kopf's watches have been reported to fall silent without an error. A list finds what they missed: it is put right at once, and a kind
whose changes were missed makes the process unhealthy, so that it is started anew.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

from stoker_operator.cluster.cache import Cache
from stoker_operator.cluster.records import Ref, ref_of
from stoker_operator.inbox import Inbox
from stoker_operator.kube.client import Client
from stoker_operator.kube.paths import WATCHED, Collection
from stoker_operator.metrics import Metrics

logger = logging.getLogger(__name__)

GRACE_S = 5.0  # an event may take so long longer than a list


@dataclass(frozen=True, slots=True)
class Missed:
    """What a list has and the cache has not: objects that are newer, and objects that are no more."""

    newer: list[dict[str, Any]] = field(default_factory=list)
    gone: list[Ref] = field(default_factory=list)


def compare(listed: list[dict[str, Any]], version: int, cached: dict[str, Ref]) -> Missed:
    """A list, its version, and the cache's objects by uid. What the cache knows better is passed over."""
    refs = [(ref_of(item), item) for item in listed]
    newer = [item for ref, item in refs if ref.uid not in cached or cached[ref.uid].version < ref.version]
    present = {ref.uid for ref, _ in refs}
    gone = [ref for uid, ref in cached.items() if uid not in present and ref.version <= version]
    return Missed(newer, gone)


class Resync:
    """Fills the cache in the beginning, and checks it from then on. `stale` names kinds whose watches have missed changes."""

    def __init__(self, client: Client, cache: Cache, inbox: Inbox, metrics: Metrics) -> None:
        self._client, self._cache, self._inbox, self._metrics = client, cache, inbox, metrics
        self.stale: frozenset[str] = frozenset()

    async def fill(self) -> None:
        """List everything. Raises KubeError."""
        for collection in WATCHED:
            for item in (await self._client.list_all(collection))[0]:
                self._inbox.learn(collection, item)
        self._inbox.reconcile_all()

    async def check(self, grace_s: float = GRACE_S) -> None:
        """Compare every kind with a list, put right what was missed, and reconcile everything. Raises KubeError."""
        stale = {collection.kind for collection in WATCHED if await self._check(collection, grace_s)}
        self.stale = frozenset(stale)
        self._cache.forget_the_gone()
        self._metrics.resync.set_to_current_time()
        self._inbox.reconcile_all()

    async def _check(self, collection: Collection, grace_s: float) -> bool:
        items, version = await self._client.list_all(collection)
        missed = compare(items, int(version), self._cache.refs(collection))
        if not (missed.newer or missed.gone):
            return False
        await asyncio.sleep(grace_s)  # whatever is only late has come by now
        late = [self._inbox.seen(collection, item) for item in missed.newer]
        ghosts = [self._inbox.gone(collection, ref) for ref in missed.gone]
        if any(late) or any(ghosts):
            logger.error("%d changes of %s came to light by a list only", sum(late) + sum(ghosts), collection.plural)
            self._metrics.missed.labels(collection.kind).inc(sum(late) + sum(ghosts))
        return any(late)
