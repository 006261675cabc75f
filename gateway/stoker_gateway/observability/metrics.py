"""Prometheus metrics. What counts tokens is plain arithmetic, turned into Prometheus's objects only when scraped."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stoker_core.usage import UsageEvent

TTFT_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
ITL_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Histogram:
    """Counts per bucket; `observe` costs a bisection."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, help_text: str) -> HistogramMetricFamily:
        """Prometheus's form: cumulative buckets and the sum."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((str(bound) if bound != float("inf") else "+Inf", float(total)))
        return HistogramMetricFamily(name, help_text, buckets=buckets, sum_value=self._sum)


class Metrics(Collector):
    """All metrics of one process, in a registry of its own.

    `gauges` are read when scraped: name → (help, label or "", values by label value).
    """

    def __init__(self) -> None:
        self.ttft = Histogram(TTFT_BOUNDS_S)
        self.itl = Histogram(ITL_BOUNDS_S)
        self.gauges: dict[str, tuple[str, str, Callable[[], Mapping[str, float]]]] = {}
        self._tokens = {"prompt": 0, "cached": 0, "completion": 0}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._requests = Counter(
            "stoker_gateway_requests", "Answered requests.", ("route", "status"), registry=self._registry
        )
        self._attempts = Counter(
            "stoker_gateway_attempts", "Attempts at workers by how they ended.", ("outcome",), registry=self._registry
        )
        self._defects = Counter(
            "stoker_gateway_internal_errors", "Defects that a handler was saved from.", registry=self._registry
        )

    def answered(self, route: str, status: int) -> None:
        """A request has its status."""
        self._requests.labels(route, str(status)).inc()

    def used(self, event: UsageEvent) -> None:
        """An attempt has ended."""
        self._attempts.labels(event.outcome.value).inc()
        self._tokens["prompt"] += event.counts.prompt
        self._tokens["cached"] += event.counts.cached
        self._tokens["completion"] += event.counts.completion

    def defect(self) -> None:
        """A handler failed in a way that nobody foresaw."""
        self._defects.inc()

    def collect(self) -> Iterator[Metric]:
        """Prometheus's view of what is kept in plain numbers."""
        tokens = CounterMetricFamily("stoker_gateway_tokens", "Tokens of ended attempts.", labels=["kind"])
        for kind, count in self._tokens.items():
            tokens.add_metric([kind], count)
        yield tokens
        yield self.ttft.family("stoker_gateway_ttft_seconds", "From request to first streamed piece.")
        yield self.itl.family("stoker_gateway_itl_seconds", "Between streamed pieces of one request.")
        for name, (help_text, label, read) in self.gauges.items():
            family = GaugeMetricFamily(name, help_text, labels=[label] if label else None)
            for value, number in read().items():
                family.add_metric([value] if label else [], number)
            yield family

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)
