"""Rows of the table of metrics as instruments in a registry of their own."""

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from cluster.observe.metrics import Kind, Metric, foreseeable_series

_Instrument = Counter | Gauge | Histogram


class Instruments:
    """Metrics that can be set, added to and observed by name. Feed them from one thread.

    What is said of a metric that was left out is dropped: who feeds need not know
    what is served.
    """

    def __init__(self, metrics: Iterable[Metric], *, left_out: Iterable[Metric] = ()) -> None:
        # A time of creation for each series would double the scrape, and Prometheus does
        # not use it in this format.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._left_out = frozenset(metric.name for metric in left_out)
        self._instruments: dict[str, _Instrument] = {}
        for metric in metrics:
            if metric.name in self._left_out:
                continue
            made = self._instruments[metric.name] = _made(metric, self.registry)
            for labels in foreseeable_series(metric):
                made.labels(*labels)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        if name not in self._left_out:
            instrument = self._instruments[name]
            assert isinstance(instrument, Gauge)
            (instrument.labels(*labels) if labels else instrument).set(value)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter."""
        if name not in self._left_out:
            instrument = self._instruments[name]
            assert isinstance(instrument, Counter)
            (instrument.labels(*labels) if labels else instrument).inc(amount)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        if name not in self._left_out:
            instrument = self._instruments[name]
            assert isinstance(instrument, Histogram)
            (instrument.labels(*labels) if labels else instrument).observe(value)

    def remove(self, name: str, *labels: str) -> None:
        """Show a series no longer."""
        if name not in self._left_out:
            self._instruments[name].remove(*labels)

    def text(self) -> str:
        """What a scrape gets."""
        return generate_latest(self.registry).decode()


def _made(metric: Metric, registry: CollectorRegistry) -> _Instrument:
    match metric.kind:
        case Kind.COUNTER:
            return Counter(metric.name, metric.help, metric.labels, registry=registry)
        case Kind.GAUGE:
            return Gauge(metric.name, metric.help, metric.labels, registry=registry)
        case Kind.HISTOGRAM:
            return Histogram(
                metric.name,
                metric.help,
                metric.labels,
                buckets=metric.buckets,
                registry=registry,
            )
