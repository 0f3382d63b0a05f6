"""Spans to an OpenTelemetry collector, where one is named by the usual environment variables.

OpenTelemetry is an optional extra: nothing here is imported without it, and nothing is sent
unless `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says where to.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cluster.observe.waterfall import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_CLOSE_MS_MAX = 10_000


class TracingMissingError(Exception):
    """A collector is named and OpenTelemetry is not installed; the message says what to do."""


class Tracing:
    """Sends spans of a run in the background; a context manager that sends the last on leaving."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("vmotion")

    def tell(self, span: Span, *, run_began_unix_s: float) -> None:
        """Queue a span with all its children; their times count from the run's begin."""
        self._tell(span, run_began_unix_s, None)

    def close(self) -> None:
        """Send what is queued and stop; what cannot be sent within 10 s is lost."""
        self._provider.force_flush(_CLOSE_MS_MAX)
        self._provider.shutdown()

    def __enter__(self) -> "Tracing":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tell(self, span: Span, zero_s: float, context: Any) -> None:
        from opentelemetry import trace

        made = self._tracer.start_span(
            span.name,
            context=context,
            start_time=_nanoseconds(zero_s + span.begin_s),
            attributes=dict(span.attributes),
        )
        if span.error:
            made.set_status(trace.StatusCode.ERROR, span.error)
        inside = trace.set_span_in_context(made)
        for child in span.children:
            self._tell(child, zero_s, inside)
        made.end(end_time=_nanoseconds(zero_s + span.end_s))


def tracing_from(environment: Mapping[str, str]) -> Tracing | None:
    """Return what sends spans to the collector that the environment names; None without one.

    Raises:
        TracingMissingError: If OpenTelemetry is not installed.
    """
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or not any(environment.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingMissingError(
            "a trace collector is named in the environment, and OpenTelemetry is not installed: "
            "pip install 'vmotion[traces]', or unset OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from error
    resource = Resource.create({"service.name": environment.get("OTEL_SERVICE_NAME", "vmotion")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _nanoseconds(unix_s: float) -> int:
    return round(unix_s * 1e9)
