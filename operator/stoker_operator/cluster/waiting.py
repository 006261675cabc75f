"""Who waits for what: resources that a topic wakes."""

from collections import defaultdict
from collections.abc import Iterable

from stoker_operator.cluster.keys import Key, Topic


class Waiting:
    """Each resource's topics, as its last reconcile left them."""

    def __init__(self) -> None:
        self._topics: dict[Key, frozenset[Topic]] = {}
        self._keys: dict[Topic, set[Key]] = defaultdict(set)

    def wait(self, key: Key, topics: Iterable[Topic]) -> None:
        """From now on `key` waits for these and nothing else."""
        new = frozenset(topics)
        for topic in self._topics.pop(key, frozenset()) - new:
            self._keys[topic].discard(key)
            if not self._keys[topic]:
                del self._keys[topic]
        for topic in new:
            self._keys[topic].add(key)
        if new:
            self._topics[key] = new

    def keys(self, topics: Iterable[Topic]) -> set[Key]:
        """Whoever waits for any of these."""
        return {key for topic in topics for key in self._keys.get(topic, ())}
