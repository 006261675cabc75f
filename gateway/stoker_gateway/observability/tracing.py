"""Traces: a span `edge` per generation request, sent by OTLP. OpenTelemetry is only imported where it is switched on."""

from collections.abc import Mapping
from typing import Any, Protocol


class Span(Protocol):
    """One request's span. `traceparent` is what the worker continues from, "" if nothing is traced."""

    @property
    def traceparent(self) -> str:
        """W3C trace context of this span."""
        ...

    def end(self, attributes: Mapping[str, str | int]) -> None:
        """The request is over. Attributes are names, counts and statuses, never text of a request."""
        ...


class Tracer(Protocol):
    """Makes spans."""

    def edge(self, traceparent: str) -> Span:
        """Begin a span under the client's trace context ("": a new trace)."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class PassedOn:
    """No span of our own: the client's trace context goes to the worker as it came."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def end(self, attributes: Mapping[str, str | int]) -> None:
        """Nothing to send."""


class NoTracer:
    """Tracing is off."""

    def edge(self, traceparent: str) -> Span:
        """Pass the client's context on."""
        return PassedOn(traceparent)

    def close(self) -> None:
        """Nothing to send."""


class OtlpSpan:
    """A recording span."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Any) -> None:
        context = span.get_span_context()
        self._span = span
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def end(self, attributes: Mapping[str, str | int]) -> None:
        """Finish the span; it is sent in the background."""
        self._span.set_attributes(attributes)
        self._span.end()


class OtlpTracer:
    """Sends spans to `endpoint` (OTLP over HTTP) in batches from a thread."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        url = endpoint.rstrip("/") + "/v1/traces"
        self._provider = TracerProvider(resource=Resource.create({"service.name": "stoker-gateway"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer("stoker_gateway")
        self._propagator = TraceContextTextMapPropagator()
        self._kind = SpanKind.SERVER

    def edge(self, traceparent: str) -> Span:
        """Begin a span."""
        context = self._propagator.extract({"traceparent": traceparent}) if traceparent else None
        return OtlpSpan(self._tracer.start_span("edge", context=context, kind=self._kind))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def tracer_for(endpoint: str) -> Tracer:
    """The tracer of an OTLP endpoint, or none."""
    return OtlpTracer(endpoint) if endpoint else NoTracer()
