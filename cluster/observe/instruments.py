"""Rows of the table of metrics as instruments, and the text that a scrape of them gets."""

from collections.abc import Iterable, Iterator
from operator import is_
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Collected

from cluster.observe.family import Family, head
from cluster.observe.metrics import Metric, foreseeable_series


class Instruments:
    """Metrics that can be set, added to and observed by name. Feed them from one thread.

    What is said of a metric that was left out is dropped: who feeds need not know
    what is served.

    Attributes:
        registry: The same for who reads through prometheus-client.
    """

    def __init__(self, metrics: Iterable[Metric], *, left_out: Iterable[Metric] = ()) -> None:
        self._left_out = frozenset(metric.name for metric in left_out)
        self._families: dict[str, Family] = {}
        for metric in metrics:
            if metric.name in self._left_out:
                continue
            made = self._families[metric.name] = Family(metric)
            for labels in foreseeable_series(metric):
                made.series(*labels)
        self.registry = CollectorRegistry()
        self.registry.register(_Collector(tuple(self._families.values())))
        self._rendering = Lock()
        # By format: the lines that a text was made of, and the text.
        self._texts: dict[bool, tuple[list[str], bytes]] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        if name not in self._left_out:
            self._families[name].set(labels, value)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter."""
        if name not in self._left_out:
            self._families[name].add(labels, amount)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        if name not in self._left_out:
            self._families[name].observe(labels, value)

    def remove(self, name: str, *labels: str) -> None:
        """Show a series no longer."""
        if name not in self._left_out:
            self._families[name].remove(labels)

    def exposition(self, *, openmetrics: bool = False) -> bytes:
        """Return what a scrape gets, as prometheus-client would render it.

        It is the same object as the last time while nothing has changed.
        """
        with self._rendering:
            bodies = [family.body() for family in self._families.values()]
            last = self._texts.get(openmetrics)
            if last is not None and all(map(is_, bodies, last[0])):
                return last[1]
            parts: list[str] = []
            for family, body in zip(self._families.values(), bodies, strict=True):
                parts += (head(family.metric, openmetrics=openmetrics), body)
            parts += ["# EOF\n"] if openmetrics else []
            text = "".join(parts).encode()
            self._texts[openmetrics] = bodies, text
            return text

    def text(self) -> str:
        """What a scrape gets."""
        return self.exposition().decode()


class _Collector:
    """Gives prometheus-client the families."""

    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def collect(self) -> Iterator[Collected]:
        """Yield every metric with its series."""
        return (family.collected() for family in self._families)

    # Which names there are: `?name[]=` of a scrape asks for some of them.
    describe = collect
