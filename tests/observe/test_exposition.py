"""What a scrape gets is to the byte what prometheus-client would have answered."""

import gzip
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from cluster.observe.instruments import Instruments
from cluster.observe.metrics import Kind, Metric, Unit
from cluster.observe.serving import MetricsServer

HELP = 'How "much" of\\it\nthere is.'


def metric(name, kind, *labels, buckets=()):
    return Metric(name=name, kind=kind, unit=Unit.NONE, help=HELP, labels=labels, buckets=buckets)


TABLE = (
    metric("lone", Kind.GAUGE),
    metric("told", Kind.GAUGE, "vm", "host"),  # labels in an order that is not theirs
    metric("counted_total", Kind.COUNTER),
    metric("asked_total", Kind.COUNTER, "why"),
    metric("taken_seconds", Kind.HISTOGRAM, buckets=(0.1, 1.0, 2e6)),
    metric("error_ratio", Kind.HISTOGRAM, "zone", "also", buckets=(-1.0, 0.0, 0.5)),
)
NUMBERS = st.floats(allow_subnormal=False) | st.integers(-(10**9), 10**9) | st.booleans()
NAMES = st.sampled_from(["a", "b", 'q"uote', "back\\slash", "new\nline", "", "ü"])


class Client:
    """The same metrics held by prometheus-client itself."""

    def __init__(self):
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self.made = {row.name: self._made(row) for row in TABLE}

    def _made(self, row):
        more = {"buckets": row.buckets} if row.buckets else {}
        kind = getattr(prometheus_client, row.kind.value.capitalize())
        return kind(row.name, row.help, row.labels, registry=self.registry, **more)

    def tell(self, row, value, labels):
        made = self.made[row.name]
        one = made.labels(*labels) if labels else made
        match row.kind:
            case Kind.GAUGE:
                one.set(value)
            case Kind.COUNTER:
                one.inc(value)
            case Kind.HISTOGRAM:
                one.observe(value)

    def remove(self, row, labels):
        self.made[row.name].remove(*labels)


def tell(ours, row, value, labels):
    {Kind.GAUGE: ours.set, Kind.COUNTER: ours.add, Kind.HISTOGRAM: ours.observe}[row.kind](
        row.name, value, *labels
    )


@st.composite
def steps(draw):
    """(row, value or None to remove, labels)."""
    row = draw(st.sampled_from(TABLE))
    labels = tuple(draw(NAMES) for _ in row.labels)
    if labels and draw(st.integers(0, 4)) == 0:
        return row, None, labels
    value = draw(NUMBERS)
    return row, abs(value) if row.kind is Kind.COUNTER else value, labels


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(steps(), max_size=6), max_size=5))
def test_the_text_is_that_of_prometheus_client_after_every_change(rounds):
    ours, client = Instruments(TABLE), Client()
    for told in rounds:
        for row, value, labels in told:
            if value is None:
                ours.remove(row.name, *labels)
                client.remove(row, labels)
            else:
                tell(ours, row, value, labels)
                client.tell(row, value, labels)
        assert ours.exposition() == generate_latest(client.registry)
        assert ours.exposition(openmetrics=True) == generate_openmetrics(client.registry)
        assert generate_latest(ours.registry) == generate_latest(client.registry)


def test_a_counter_does_not_fall():
    with pytest.raises(ValueError, match="asked_total"):
        Instruments(TABLE).add("asked_total", -1.0, "x")


ACCEPTED = {
    "a browser": "text/html,*/*;q=0.8",
    "Prometheus 2": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4",
    "Prometheus 3": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4",
    "names otherwise": "text/plain;version=1.0.0;escaping=dots",
    "old": "application/openmetrics-text",
    "nothing": "",
}


@pytest.mark.parametrize("query", ["", "?name[]=lone", "?name%5B%5D=taken_seconds_bucket&x"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("accept", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted_decides_the_format(accept, zipped, query):
    ours, client = Instruments(TABLE), Client()
    for row in TABLE:
        labels = tuple("x" for _ in row.labels)
        tell(ours, row, 0.25, labels)
        client.tell(row, 0.25, labels)
    headers = {"Accept": accept, **({"Accept-Encoding": "gzip"} if zipped else {})}
    theirs = {}
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/metrics",
        "QUERY_STRING": query[1:],
        "HTTP_ACCEPT": accept,
        "HTTP_ACCEPT_ENCODING": headers.get("Accept-Encoding", ""),
    }
    app = prometheus_client.make_wsgi_app(client.registry)
    [wanted] = app(environ, lambda status, had: theirs.update(had, status=status))
    with (
        MetricsServer(ours, port=0) as server,
        urllib.request.urlopen(
            urllib.request.Request(server.url + query, headers=headers), timeout=10
        ) as reply,
    ):
        body = reply.read()
    assert reply.headers["Content-Type"] == theirs["Content-Type"]
    assert reply.headers["Content-Encoding"] == theirs.get("Content-Encoding")
    told, expected = (gzip.decompress(x) if zipped else x for x in (body, wanted))
    assert told == expected


def test_a_scrape_while_nothing_changes_makes_nothing_anew():
    ours = Instruments(TABLE)
    first = ours.exposition()
    assert ours.exposition() is first
    ours.set("lone", 2)
    assert ours.exposition() is not first


def test_what_is_kept_rendered_does_not_grow():
    """A gauge that says something else each time, and series that come and go."""
    ours = Instruments(TABLE)

    def sizes():
        return [
            sys.getsizeof(one.body()) + sys.getsizeof(one._series)
            for one in ours._families.values()
        ]

    def churn(count):
        for at in range(count):
            ours.set("told", at % 10, f"vm-{at % 7}", "esx-1")
            ours.set("told", 1, "passing", f"esx-{at}")
            ours.exposition()
            ours.exposition(openmetrics=True)
            ours.remove("told", "passing", f"esx-{at}")

    churn(100)
    before = sizes()
    churn(400)
    assert sizes() == before
    assert len(ours._texts) == 2


def test_whoever_scrapes_while_it_is_fed_gets_whole_lines():
    ours = Instruments(TABLE)
    for at in range(500):
        ours.set("told", at, f"vm-{at}", "esx-1")
    with ThreadPoolExecutor(4) as pool:
        scraping = [pool.submit(lambda: [ours.exposition() for _ in range(30)]) for _ in range(4)]
        for at in range(20_000):
            ours.set("told", at, f"vm-{at % 700}", "esx-1")
            ours.observe("taken_seconds", at % 3)
            if at % 3 == 0:
                ours.remove("told", f"vm-{(at * 7) % 700}", "esx-1")
        texts = [text for done in scraping for text in done.result()]
    for text in texts[::10]:
        assert list(text_string_to_metric_families(text.decode()))
    assert ours.exposition() == generate_latest(ours.registry)
