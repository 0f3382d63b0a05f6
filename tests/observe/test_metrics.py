"""The table of metrics obeys Prometheus' rules, and the reference page is made from it."""

import re
from pathlib import Path

import pytest

from cluster.observe.metrics import METRICS, Kind, Metric, Unit, reference_page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def by_name(metric: Metric) -> str:
    return metric.name


def test_no_name_is_there_twice():
    assert len(METRICS) == len({metric.name for metric in METRICS})


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_a_name_has_the_prefix_the_unit_and_a_counters_ending(metric):
    assert re.fullmatch(r"(vmotion|drs)(_[a-z0-9]+)+", metric.name)
    stem = metric.name.removesuffix("_total")
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    if metric.unit is Unit.NONE:
        assert not any(stem.endswith(f"_{unit.value}") for unit in Unit if unit.value)
    else:
        assert stem.endswith(f"_{metric.unit.value}")


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_help_is_a_sentence_and_buckets_belong_to_histograms(metric):
    assert metric.help.endswith(".")
    assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_no_histogram_has_a_series_for_each_vm_or_host():
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            assert {"vm", "host"}.isdisjoint(metric.labels), metric.name


def test_the_anchors_of_downtime_end_a_bucket():
    downtime = next(metric for metric in METRICS if metric.name == "vmotion_downtime_seconds")
    assert {0.05, 0.3, 0.9, 1.0} <= set(downtime.buckets)


def test_the_reference_page_is_generated_from_the_table():
    """If it is not: python -m cluster.observe.metrics > docs/metrics.md"""
    assert reference_page() == PAGE.read_text(encoding="utf-8")
