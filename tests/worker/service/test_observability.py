"""Metrics and traces: what is counted and what is recorded, and that prompts are in neither, nor in logs."""

import asyncio
import logging
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.errors import SettingsError
from stoker_worker.settings import Address

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
CANARY = 777


async def scrape(address: Address) -> dict[str, float]:
    """Each sample by its name with labels."""

    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    lines = (await asyncio.to_thread(get)).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def test_metrics_count_what_happened(run_worker: Any, free_port: int) -> None:
    address = Address.parse(f"127.0.0.1:{free_port}")
    async with run_worker(metrics_listen=address) as worker:
        gateway = await worker.connect()
        await gateway.submit(1, max_tokens=5)
        await gateway.submit(2, n=0)
        await gateway.submit(3, "hang")
        await gateway.until_ended(1)
        await gateway.until(lambda g: 2 in g.refused)
        samples = await scrape(address)
        assert samples['stoker_worker_requests_ended_total{reason="finished"}'] == 1
        assert samples['stoker_worker_requests_refused_total{code="invalid"}'] == 1
        assert samples["stoker_worker_tokens_total"] == 5
        assert samples["stoker_worker_engine_restarts_total"] == 0
        assert samples["stoker_worker_requests_open"] == 1
        assert samples["stoker_worker_gateways"] == 1
        assert samples["stoker_worker_kv_blocks"] == 256
        assert samples["stoker_worker_step_seconds_count"] == 5
        assert samples['stoker_worker_step_seconds_bucket{le="0.001"}'] == 0
        assert samples['stoker_worker_step_seconds_bucket{le="0.0025"}'] == 5
        assert samples["stoker_worker_step_seconds_sum"] == pytest.approx(0.01)


async def test_a_busy_metrics_port_is_told(run_worker: Any, free_port: int) -> None:
    address = Address.parse(f"127.0.0.1:{free_port}")
    taken = HTTPServer(("127.0.0.1", free_port), BaseHTTPRequestHandler)
    with taken, pytest.raises(SettingsError, match=f"--metrics-listen {address}: Address already in use"):
        async with run_worker(metrics_listen=address) as worker:
            await worker.task


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP collector that keeps what it gets: its address and the bodies."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def spans_of(bodies: list[bytes]) -> dict[str, Span]:
    """Spans by request id and name."""
    requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    spans = [
        s for r in requests for resource in r.resource_spans for scope in resource.scope_spans for s in scope.spans
    ]
    ids = {s.span_id: attributes_of(s).get("stoker.request_id", "") for s in spans}
    return {f"{ids[s.span_id] or ids.get(s.parent_span_id)} {s.name}": s for s in spans}


def attributes_of(span: Span) -> dict[str, Any]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


async def test_a_traced_request_leaves_two_spans_and_an_untraced_one_none(
    run_worker: Any, collector: tuple[str, list[bytes]]
) -> None:
    endpoint, bodies = collector
    async with run_worker(otlp_endpoint=endpoint) as worker:
        gateway = await worker.connect()
        traceparent = f"00-{TRACE_ID}-{PARENT}-01"
        await gateway.submit(1, "/traced", traceparent=traceparent, token_ids=[CANARY], max_tokens=2)
        await gateway.submit(2, "first/aborted", traceparent=traceparent)
        await gateway.submit(3, "/untraced")
        await gateway.until_ended(1, 3)
        await gateway.until(lambda g: (2, 0) in g.tokens)
        await gateway.abort(2)
        await gateway.until_ended(2)
        await gateway.submit(4, "die/died", traceparent=traceparent)
        await gateway.until_ended(4)
    spans = spans_of(bodies)
    assert {name for name in spans if name.endswith("worker")} == {
        "/traced worker",
        "first/aborted worker",
        "die/died worker",
    }
    span, queue = spans["/traced worker"], spans["/traced queue"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, PARENT)
    assert (queue.trace_id, queue.parent_span_id) == (span.trace_id, span.span_id)
    assert (queue.start_time_unix_nano, queue.end_time_unix_nano - queue.start_time_unix_nano) == (
        span.start_time_unix_nano,
        1_000_000,
    )
    attributes = attributes_of(span)
    assert (attributes["stoker.end_reason"], attributes["stoker.completion_tokens"]) == ("finished", 2)
    assert attributes_of(spans["first/aborted worker"])["stoker.end_reason"] == "aborted"
    assert spans["die/died worker"].status.code != span.status.code
    assert all(value != CANARY for span in spans.values() for value in attributes_of(span).values())


async def test_logs_hold_no_tokens_and_no_names_of_requests(run_worker: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with run_worker() as worker:
        gateway = await worker.connect()
        await gateway.submit(1, "die/secret-request", token_ids=[CANARY] * 3, account="secret-account")
        await gateway.submit(2, n=0, token_ids=[CANARY])
        await gateway.until_ended(1)
        await gateway.until(lambda g: g.load.state == pb.ENGINE_STATE_READY)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("stoker_worker")]
    assert any("engine down" in message for message in ours)
    assert not any(word in message for message in ours for word in ("secret", str(CANARY)))
