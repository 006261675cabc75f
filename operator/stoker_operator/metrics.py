"""What the operator tells Prometheus. Nothing in it names an account, a prompt or a key."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

RUNG_BUCKETS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class Metrics:
    """One process's. Built once, passed down."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reconciles = Counter(
            "stoker_operator_reconciles", "Reconciles that ended.", ["kind", "outcome"], registry=registry
        )
        self.seconds = Histogram(
            "stoker_operator_reconcile_seconds", "How long they took.", ["kind"], registry=registry
        )
        self.writes = Counter("stoker_operator_writes", "Objects written.", ["kind", "verb"], registry=registry)
        self.notes_lost = Counter(
            "stoker_operator_events_lost", "Events that could not be recorded.", registry=registry
        )
        self.queue = Gauge("stoker_operator_queue_keys", "Keys in the queue.", ["state"], registry=registry)
        self.queue_age = Gauge(
            "stoker_operator_queue_oldest_seconds", "Age of the first key that is ready.", registry=registry
        )
        self.leading = Gauge("stoker_operator_leading", "1 while this process holds the Lease.", registry=registry)
        self.watch_events = Counter("stoker_operator_watch_events", "Events received.", ["kind"], registry=registry)
        self.missed = Counter(
            "stoker_operator_missed_changes", "Changes that only a list brought to light.", ["kind"], registry=registry
        )
        self.resync = Gauge(
            "stoker_operator_last_resync_seconds", "When everything was last listed and compared.", registry=registry
        )
        self.rung_seconds = Histogram(
            "stoker_operator_rung_seconds",
            "From a change of a Deployment's spec until a rung of its ladder was reached.",
            ["rung"],
            buckets=RUNG_BUCKETS,
            registry=registry,
        )

    @contextmanager
    def reconciling(self, kind: str) -> Iterator[None]:
        """Count and time what happens inside."""
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            self.reconciles.labels(kind, type(error).__name__).inc()
            raise
        else:
            self.reconciles.labels(kind, "Done").inc()
        finally:
            self.seconds.labels(kind).observe(time.monotonic() - began)
