"""One metric's series: their values, and the lines that Prometheus reads.

prometheus-client renders a series in some 20 µs, every series at every scrape; a cluster of
thousands has tens of thousands of series, most of which have not changed. Here a series' name
and labels are rendered once, and a metric's lines again only when one of its values has changed.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from threading import Lock

from prometheus_client.metrics_core import Metric as Collected
from prometheus_client.utils import floatToGoString

from cluster.observe.metrics import Kind, Metric

Labels = tuple[str, ...]
_number: Callable[[float], str] = floatToGoString


@dataclass(slots=True, kw_only=True)
class _Series:
    """One set of label values: the beginning of each of its lines, and what they end with.

    Attributes:
        values: One of a gauge or counter; of a histogram the count in each bucket alone.
        sum: Of all values observed.
    """

    lines: tuple[str, ...]
    values: list[float]
    sum: float = 0.0


class Family:
    """All series of one metric. One thread feeds it, others may read it meanwhile."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._bounds = _bounds(metric)
        self._has_sum = not metric.buckets or metric.buckets[0] >= 0
        self._series: dict[Labels, _Series] = {}
        self._lock = Lock()  # held while series come or go, and while they are listed
        self._changed = True
        self._body = ""
        if not metric.labels:
            self.series()

    def series(self, *labels: str) -> _Series:
        """Return the series of these label values; it is shown from now on."""
        found = self._series.get(labels)
        return self._added(labels) if found is None else found

    def set(self, labels: Labels, value: float) -> None:
        """Set a gauge."""
        assert self.metric.kind is Kind.GAUGE
        self.series(*labels).values[0] = float(value)
        self._changed = True

    def add(self, labels: Labels, amount: float) -> None:
        """Add to a counter.

        Raises:
            ValueError: If it would fall.
        """
        assert self.metric.kind is Kind.COUNTER
        if amount < 0:
            raise ValueError(f"{self.metric.name} cannot fall by {-amount}")
        self.series(*labels).values[0] += amount
        self._changed = True

    def observe(self, labels: Labels, value: float) -> None:
        """Put a value into a histogram."""
        assert self.metric.kind is Kind.HISTOGRAM
        one = self.series(*labels)
        one.sum += value
        at = bisect_left(self._bounds, value)
        if value <= self._bounds[at]:  # what is not a number is in no bucket
            one.values[at] += 1
        self._changed = True

    def remove(self, labels: Labels) -> None:
        """Show a series no longer."""
        with self._lock:
            self._series.pop(labels, None)
        self._changed = True

    def body(self) -> str:
        """Return the lines of all series; the same object while nothing has changed.

        One thread at a time.
        """
        if self._changed:
            self._changed = False  # before the values are read: a later change counts
            if self.metric.kind is Kind.HISTOGRAM:
                parts = [part for one in self._listed() for part in self._histogram(one)]
            else:
                parts = [f"{one.lines[0]}{_number(one.values[0])}\n" for one in self._listed()]
            self._body = "".join(parts)
        return self._body

    def collected(self) -> Collected:
        """Return the series as prometheus-client's collectors do."""
        metric = self.metric
        name = metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name
        result = Collected(name, metric.help, metric.kind.value)
        with self._lock:
            listed = list(self._series.items())
        for labels, one in listed:
            named = dict(zip(metric.labels, labels, strict=True))
            if metric.kind is not Kind.HISTOGRAM:
                result.add_sample(metric.name, named, one.values[0])
                continue
            count = 0.0
            for bound, inside in zip(self._bounds, list(one.values), strict=True):
                count += inside
                le = _number(bound)
                result.add_sample(f"{name}_bucket", {**named, "le": le}, count)
            result.add_sample(f"{name}_count", named, count)
            if self._has_sum:
                result.add_sample(f"{name}_sum", named, one.sum)
        return result

    def _listed(self) -> list[_Series]:
        with self._lock:
            return list(self._series.values())

    def _histogram(self, one: _Series) -> Iterator[str]:
        count = 0.0
        inside = list(one.values)  # as it is now; the sum may be newer by what is being observed
        for line, more in zip(one.lines, inside, strict=False):
            count += more
            yield f"{line}{_number(count)}\n"
        yield f"{one.lines[len(inside)]}{_number(count)}\n"
        if self._has_sum:
            yield f"{one.lines[len(inside) + 1]}{_number(one.sum)}\n"

    def _added(self, labels: Labels) -> _Series:
        metric = self.metric
        named = dict(zip(metric.labels, labels, strict=True))
        if metric.kind is Kind.HISTOGRAM:
            lines = [
                _line(f"{metric.name}_bucket", {**named, "le": _number(bound)})
                for bound in self._bounds
            ]
            lines += [_line(f"{metric.name}_count", named)]
            lines += [_line(f"{metric.name}_sum", named)] if self._has_sum else []
        else:
            lines = [_line(metric.name, named)]
        one = _Series(lines=tuple(lines), values=[0.0] * max(len(self._bounds), 1))
        with self._lock:
            self._series[labels] = one
        self._changed = True
        return one


def head(metric: Metric, *, openmetrics: bool) -> str:
    """Return the two lines above a metric's series.

    OpenMetrics names a counter without its `_total`, and quotes in a help text are escaped there.
    """
    name, told = metric.name, metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    if openmetrics:
        name = name.removesuffix("_total") if metric.kind is Kind.COUNTER else name
        told = told.replace('"', '\\"')
    return f"# HELP {name} {told}\n# TYPE {name} {metric.kind.value}\n"


def _bounds(metric: Metric) -> tuple[float, ...]:
    return (*metric.buckets, inf) if metric.kind is Kind.HISTOGRAM else ()


def _line(name: str, labels: dict[str, str]) -> str:
    """Return a line up to its value; labels in the order of their names."""
    told = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{told}}} " if told else f"{name} "


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
