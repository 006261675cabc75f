"""How long Deployments take from a changed spec to each rung."""

import time
from collections.abc import Callable, Sequence

from stoker_operator.api.conditions import Condition, ConditionStatus
from stoker_operator.cluster.records import Custom
from stoker_operator.metrics import Metrics


class RungClock:
    """Remembers when it first saw each Deployment's generation; those that were there when it began are not timed."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._seen: dict[str, tuple[int, float, set[str]]] = {}

    def reached(self, record: Custom, now: Sequence[Condition]) -> None:
        """Observe the rungs that a generation reaches for the first time."""
        generation, since, done = self._seen.get(record.ref.uid, (0, 0.0, set()))
        if generation != record.generation:
            if any(one.observed_generation == record.generation for one in record.conditions):
                return
            since, done = self._clock(), set()
            self._seen[record.ref.uid] = (record.generation, since, done)
        for one in now:
            if one.status is ConditionStatus.TRUE and one.type not in done:
                done.add(one.type)
                self._metrics.rung_seconds.labels(one.type).observe(self._clock() - since)

    def forget(self, uid: str) -> None:
        """The Deployment is gone."""
        self._seen.pop(uid, None)
