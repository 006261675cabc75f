"""The worker's counts as Prometheus reads them, over HTTP on a thread of their own."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_worker.engine.messages import Load
from stoker_worker.errors import SettingsError
from stoker_worker.service.metrics import STEP_BUCKETS_S, WorkerMetrics
from stoker_worker.settings import Address


class Gauges(NamedTuple):
    """What is so at the moment of a scrape."""

    load: Load
    open_requests: int
    gateways: int
    restarts: int


def serve_metrics(address: Address, metrics: WorkerMetrics, gauges: Callable[[], Gauges]) -> WSGIServer:
    """Serve until the server's `shutdown` and `server_close`. Raises SettingsError if the address cannot be had."""
    registry = CollectorRegistry()
    registry.register(_WorkerCollector(metrics, gauges))
    try:
        server, _ = start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise SettingsError(f"--metrics-listen {address}: {error.strerror}; choose another address") from None
    return server


class _WorkerCollector(Collector):
    def __init__(self, metrics: WorkerMetrics, gauges: Callable[[], Gauges]) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Part of prometheus_client's Collector."""
        yield from self._counters()
        yield from self._gauge_values()
        yield self._step_seconds()

    def _counters(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "stoker_worker_requests_refused", "Requests that were not taken.", labels=["code"]
        )
        for code, count in dict(self._metrics.refused).items():
            refused.add_metric([code], count)
        yield refused
        ended = CounterMetricFamily(
            "stoker_worker_requests_ended", "Accepted requests that have ended.", labels=["reason"]
        )
        for reason, count in dict(self._metrics.ended).items():
            ended.add_metric([reason], count)
        yield ended
        yield CounterMetricFamily("stoker_worker_tokens", "Tokens made.", value=self._metrics.tokens)
        restarts = self._gauges().restarts
        yield CounterMetricFamily("stoker_worker_engine_restarts", "Engine starts after the first.", value=restarts)

    def _gauge_values(self) -> Iterator[Metric]:
        now = self._gauges()
        for name, text, value in (
            ("requests_open", "Accepted requests whose end has not been delivered.", now.open_requests),
            ("gateways", "Gateway streams attached.", now.gateways),
            ("sequences_running", "Sequences that hold KV blocks.", now.load.running),
            ("sequences_waiting", "Sequences that wait for KV blocks or their turn.", now.load.waiting),
            ("kv_blocks_free", "KV blocks unused or evictable.", now.load.free_blocks),
            ("kv_blocks", "KV blocks in all.", now.load.total_blocks),
        ):
            yield GaugeMetricFamily(f"stoker_worker_{name}", text, value=value)

    def _step_seconds(self) -> Metric:
        bounds = [*(str(bound) for bound in STEP_BUCKETS_S), "+Inf"]
        return HistogramMetricFamily(
            "stoker_worker_step_seconds",
            "Duration of the engine's steps.",
            buckets=list(zip(bounds, accumulate(self._metrics.steps_by_bucket), strict=True)),
            sum_value=self._metrics.steps_s,
        )
