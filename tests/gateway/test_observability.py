"""What operators see: metrics, trace contexts, request ids. And what nobody may see: prompts, outputs, keys."""

from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stoker_core.principals import Scope
from stoker_gateway import keys
from stoker_gateway.observability.metrics import Histogram, Metrics
from stoker_gateway.observability.request_ids import echoed, traceparent

ALIAS = "smollm2-135m-instruct"
QUESTION: Any = [{"role": "user", "content": "Count, please."}]
BODY = {"model": ALIAS, "messages": QUESTION}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANARY = "canary-5e1f"
Front = Callable[..., Awaitable[Any]]


async def test_metrics_count_requests_tokens_attempts_and_workers(front: Front) -> None:
    _, served = await front()
    http = await served.http()
    await http.post("/v1/chat/completions", json=BODY)
    await http.post("/v1/chat/completions", json={**BODY, "stream": True})
    await http.post("/v1/completions", json={})
    text = (await http.get("/metrics")).text
    for line in (
        'stoker_gateway_requests_total{route="chat",status="200"} 2.0',
        'stoker_gateway_requests_total{route="completions",status="400"} 1.0',
        'stoker_gateway_attempts_total{outcome="completed"} 2.0',
        'stoker_gateway_tokens_total{kind="completion"} 16.0',
        'stoker_gateway_tokens_total{kind="cached"} 32.0',
        'stoker_gateway_workers{state="connected"} 1.0',
        'stoker_gateway_workers{state="backing_off"} 0.0',
        "stoker_gateway_in_flight 0.0",
        "stoker_gateway_held 0.0",
        "stoker_gateway_ttft_seconds_count 1.0",
        'stoker_gateway_itl_seconds_bucket{le="+Inf"}',
        "stoker_gateway_internal_errors_total 0.0",
    ):
        assert line in text


def test_a_histogram_counts_cumulatively() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    samples = {tuple(s.labels.values()): s.value for s in histogram.family("h", "?").samples if "bucket" in s.name}
    assert samples == {("1.0",): 2.0, ("2.0",): 3.0, ("+Inf",): 4.0}


@pytest.mark.parametrize(
    ("header", "passed_on"),
    [
        (TRACE.encode(), TRACE),
        (None, ""),
        (b"", ""),
        (b"00-00000000000000000000000000000000-b7ad6b7169203331-01", ""),
        (b"x" * 10_000, ""),
        (b"\xff", ""),
    ],
)
def test_only_a_wellformed_trace_context_is_passed_on(header: bytes | None, passed_on: str) -> None:
    assert traceparent(header) == passed_on


@pytest.mark.parametrize(
    ("header", "answer"),
    [(b"mine", b"mine"), (None, b"ours"), (b"", b"ours"), (b"a b", b"ours"), (b"x" * 129, b"ours")],
)
def test_a_clients_request_id_is_echoed_if_it_is_short_and_printable(header: bytes | None, answer: bytes) -> None:
    assert echoed(header, "ours") == answer


async def test_a_trace_context_reaches_the_worker(front: Front) -> None:
    worker, served = await front()
    await (await served.http()).post("/v1/chat/completions", json=BODY, headers={"traceparent": TRACE})
    assert worker.submits[0].traceparent == TRACE


class Collector(BaseHTTPRequestHandler):
    """Takes what an OTLP exporter sends."""

    received: list[bytes]

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


async def test_with_a_collector_the_worker_continues_the_edge_span(front: Front) -> None:
    Collector.received = []
    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        worker, served = await front(otlp_endpoint=f"http://127.0.0.1:{collector.server_port}")
        http = await served.http()
        body = {**BODY, "messages": [{"role": "user", "content": CANARY}]}
        await http.post("/v1/chat/completions", json=body, headers={"traceparent": TRACE})
        version, trace_id, span_id, _ = worker.submits[0].traceparent.split("-")
        assert (version, trace_id) == ("00", TRACE.split("-")[1])
        assert span_id != TRACE.split("-")[2]
        served.gateway.tracer.close()
        sent = b"".join(Collector.received)
        assert bytes.fromhex(span_id) in sent
        assert b"edge" in sent
        assert CANARY.encode() not in sent
    finally:
        collector.shutdown()
        collector.server_close()
        thread.join()


async def test_no_prompt_output_or_key_is_logged_or_counted(
    front: Front, plays: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG", logger="stoker_gateway")
    document, key = keys.add(keys.KeyDocument(), "team-a", 0, (Scope.INFERENCE,))
    keys.save(tmp_path / "keys.json", document)
    worker, served = await front(plays(says=f" {CANARY} said"), keys_file=tmp_path / "keys.json")
    http = await served.http()
    headers = {"authorization": f"Bearer {key}"}
    path = "/v1/chat/completions"
    asked = [{"role": "user", "content": f"{CANARY} {key}"}]
    for body in (
        {**BODY, "messages": asked},
        {**BODY, "messages": asked, "stream": True},
        {**BODY, "messages": asked, "temperature": CANARY},
        {**BODY, "messages": asked, CANARY: 1},
        {**BODY, "messages": asked, "model": CANARY},
        {**BODY, "messages": [{"role": "user", "content": CANARY * 500}]},
    ):
        await http.post(path, json=body, headers=headers)
    worker.play = plays(lose_after=1, says=CANARY * 3)
    await http.post(path, json={**BODY, "messages": asked}, headers=headers)
    await http.post(path, json=BODY, headers={"authorization": f"Bearer {CANARY}"})
    defect = ValueError(CANARY)
    served.gateway.pool.texts.get = lambda digest: throw(defect)
    broken = await http.post(path, json={**BODY, "messages": asked}, headers=headers)
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal_error")
    assert "ValueError at" in caplog.text
    metrics = (await http.get("/metrics")).text
    assert "stoker_gateway_internal_errors_total 1.0" in metrics
    output = capfd.readouterr()
    seen = caplog.text + output.out + output.err + metrics + served.settings.usage_file.read_text() + broken.text
    assert CANARY not in seen
    assert key not in seen


def throw(error: Exception) -> None:
    raise error


def test_metrics_of_two_gateways_do_not_meet() -> None:
    one, two = Metrics(), Metrics()
    one.answered("chat", 200)
    assert b'route="chat"' not in two.render()
