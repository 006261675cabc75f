"""Where what the cluster tells comes in: into the cache, and from there to the keys that it concerns."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stoker_operator.cluster.cache import Cache, Change
from stoker_operator.cluster.keys import Key, all_keys, concerned
from stoker_operator.cluster.records import Custom, Ref, ref_of
from stoker_operator.cluster.waiting import Waiting
from stoker_operator.kube.paths import DEPLOYMENTS, GPU_POOLS, Collection
from stoker_operator.queue import Queue

logger = logging.getLogger(__name__)

# Counts of pools follow every pod: once per while is enough. Those who wait for room wait for pods to go first.
POOL_DELAY_S = 0.5
ROOM_DELAY_S = 0.1


@dataclass(slots=True)
class Spell:
    """A Deployment's spec since it was last changed.

    since_s       when it was first seen, by the monotonic clock
    told_already  another process has reported on it: how long it took is not known
    reached       rungs that were timed
    """

    since_s: float
    told_already: bool
    reached: set[str] = field(default_factory=set)


class Inbox:
    """The cache's one writer beside those who have just written an object and know the answer."""

    def __init__(self, cache: Cache, waiting: Waiting, queue: Queue[Key]) -> None:
        self._cache, self._waiting, self._queue = cache, waiting, queue
        self._spells: dict[str, Spell] = {}

    def spell(self, uid: str) -> Spell | None:
        """Since when the Deployment's spec is as it is; None if it has gone."""
        return self._spells.get(uid)

    def learn(self, collection: Collection, raw: Mapping[str, Any]) -> None:
        """An object is there, like this, and nothing follows from it yet."""
        self._put(collection, raw)

    def seen(self, collection: Collection, raw: Mapping[str, Any]) -> bool:
        """An object is there, like this; whether that was new."""
        return self._changed(self._put(collection, raw))

    def _put(self, collection: Collection, raw: Mapping[str, Any]) -> Change | None:
        try:
            change = self._cache.put(collection, raw)
        except (msgspec.ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
            logger.error("a %s cannot be read: %s", collection.kind, error)
            return None
        if change is not None and collection == DEPLOYMENTS:
            self._note_time(change.before, change.after)
        return change

    def gone(self, collection: Collection, ref: Ref) -> bool:
        """An object is there no more; whether that was new."""
        change = self._cache.remove(collection, ref)
        if change is not None:
            self._spells.pop(ref.uid, None)
        return self._changed(change)

    def event(self, collection: Collection, event: Mapping[str, Any]) -> None:
        """As a watch brings it; `type` is None for what was there when it began."""
        if event["type"] == "DELETED":
            self.gone(collection, ref_of(event["object"]))
        else:
            self.seen(collection, event["object"])

    def reconcile_all(self) -> None:
        """Every resource, whether something changed or not; whatever did change goes first."""
        for record in self._cache.customs(DEPLOYMENTS):
            if not record.is_told:
                self._queue.add(Key(DEPLOYMENTS, record.ref.namespace, record.ref.name))
        for key in all_keys(self._cache):
            self._queue.add_unhurried(key)

    def _changed(self, change: Change | None) -> bool:
        if change is None:
            return False
        found = concerned(change, self._cache)
        for key in found.keys:
            self._queue.add(key, POOL_DELAY_S if key.collection == GPU_POOLS else 0.0)
        for key in self._waiting.keys(found.topics):
            self._queue.add(key, ROOM_DELAY_S)
        return True

    def _note_time(self, before: Custom | None, after: Custom) -> None:
        if before is None or before.ref.uid != after.ref.uid or before.generation != after.generation:
            self._spells[after.ref.uid] = Spell(time.monotonic(), after.is_told)
