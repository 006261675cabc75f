"""Spans of requests that carry a traceparent: `worker` from acceptance to end, and in it `queue`.

Imported only where traces are wanted. Spans hold names and counts, never tokens.
"""

import time
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from stoker_worker.engine.messages import EndReason
from stoker_worker.service.streams import EndedLife

FAILURES = frozenset({EndReason.ENGINE_DIED, EndReason.FAILED})


class RequestTracer:
    """Makes a request's spans when it ends, from the moments and counters known then."""

    def __init__(self, otlp_endpoint: str, instance: str, model: str) -> None:
        resource = Resource.create({SERVICE_NAME: "stoker-worker", SERVICE_INSTANCE_ID: instance})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(_traces_url(otlp_endpoint))))
        self._tracer = self._provider.get_tracer("stoker_worker")
        self._model = model

    def on_ended(self, life: EndedLife) -> None:
        """Record the spans of a request that has ended now."""
        request = life.request
        context = TraceContextTextMapPropagator().extract({"traceparent": request.traceparent})
        span = self._tracer.start_span(
            "worker", context, kind=SpanKind.SERVER, start_time=request.accepted_ns, attributes=self._attributes(life)
        )
        if request.counters:
            queue = self._tracer.start_span("queue", set_span_in_context(span), start_time=request.accepted_ns)
            queue.end(request.accepted_ns + request.counters.queue_us * 1000)
        _end(span, life)

    def close(self) -> None:
        """Send what is left; waits for the network, so not for the event loop."""
        self._provider.shutdown()

    def _attributes(self, life: EndedLife) -> dict[str, str | int]:
        request = life.request
        attributes: dict[str, str | int] = {
            "stoker.request_id": request.request_id,
            "stoker.attempt": request.attempt,
            "stoker.model": self._model,
            "stoker.end_reason": EndReason(life.ending.reason).name.lower(),
        }
        if request.counters:
            attributes |= {
                "stoker.prompt_tokens": request.counters.prompt,
                "stoker.cached_tokens": request.counters.cached,
                "stoker.completion_tokens": request.counters.completion,
                "stoker.prefill_us": request.counters.prefill_us,
                "stoker.decode_us": request.counters.decode_us,
            }
        return attributes


def _end(span: Span, life: EndedLife) -> None:
    if life.ending.reason in FAILURES:
        span.set_status(Status(StatusCode.ERROR, EndReason(life.ending.reason).name.lower()))
    span.end(time.time_ns())


def _traces_url(endpoint: str) -> str:
    """The exporter's URL: an endpoint without a path means the collector's standard one."""
    return endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + "/v1/traces"
