"""Spans as a collector receives them."""

import importlib.util
import sys

import pytest
from observe.collector import collecting

from cluster.observe.tracing import TracingMissingError, tracing_from
from cluster.observe.waterfall import Span

needs_opentelemetry = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.sdk") is None
    if importlib.util.find_spec("opentelemetry")
    else True,
    reason="needs OpenTelemetry: pip install 'vmotion[traces]'",
)
SPAN = Span(
    name="migrate web-1",
    begin_s=12.5,
    end_s=14.0,
    attributes={"vm": "web-1", "sent_bytes": 4096, "downtime_s": 0.02},
    error="esx-2 is not responding",
    children=(
        Span(name="prepare", begin_s=12.5, end_s=13.0),
        Span(
            name="downtime",
            begin_s=13.0,
            end_s=13.5,
            children=(Span(name="stun", begin_s=13.0, end_s=13.25),),
        ),
    ),
)


@pytest.fixture
def collector():
    with collecting() as (url, received):
        yield url, received


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_without_a_collector_nothing_is_sent(environment):
    assert tracing_from(environment) is None


def test_a_collector_without_opentelemetry_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingMissingError, match=r"vmotion\[traces\]"):
        tracing_from({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})


@needs_opentelemetry
def test_a_collector_receives_the_waterfall(collector, monkeypatch):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    endpoint, received = collector
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "esx"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with tracing_from(environment) as tracing:
        tracing.tell(SPAN, run_began_unix_s=1000.0)
    ((path, encoding, body),) = received
    assert ("/v1/traces", None) == (path, encoding)
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    service = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert "esx" == service["service.name"]
    assert {"migrate web-1", "prepare", "downtime", "stun"} == spans.keys()
    root = spans["migrate web-1"]
    assert b"" == root.parent_span_id
    assert root.span_id == spans["prepare"].parent_span_id == spans["downtime"].parent_span_id
    assert spans["downtime"].span_id == spans["stun"].parent_span_id
    assert (1012.5e9, 1014e9) == (root.start_time_unix_nano, root.end_time_unix_nano)
    assert "esx-2 is not responding" == root.status.message
    attributes = {pair.key: pair.value for pair in root.attributes}
    assert 4096 == attributes["sent_bytes"].int_value
    assert 0.02 == attributes["downtime_s"].double_value
