"""Runs side by side: what the table says, what is best, and what a run does not know."""

import json
import re
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from cluster.observe import comparison_figures
from cluster.observe.comparison import comparison_html
from cluster.observe.comparison_figures import ComparedRun
from cluster.observe.record import Imbalance
from cluster.observe.rows import to_json


def named(run, name, **changes):
    parts = {"summary": run.summary, "migrations": run.migrations, "timeline": run.timeline}
    return ComparedRun(name=name, **parts | changes)


@pytest.fixture(scope="module")
def compared(run, make_made_up_run):
    other = make_made_up_run(seed=2, migrations=9)
    return [named(run, "threshold 3"), named(other, "threshold 5")]


def table_row(page, name):
    """The cells of a row as (text, whether it is the best)."""
    found = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', page)
    assert found, name
    return [
        (text, "best" in kind)
        for kind, text in re.findall(r'<td class="([^"]*)">(.*?)</td>', found[1])
    ]


def test_the_least_is_best_where_less_is_better(run):
    even = replace(run.summary, imbalance=Imbalance(start=0.3, end=0.1, mean=0.15, max=0.3))
    uneven = replace(even, imbalance=replace(even.imbalance, mean=0.2, max=0.3000001))
    page = comparison_html([named(run, "a", summary=uneven), named(run, "b", summary=even)])
    assert [("0.2000", False), ("0.1500", True)] == table_row(page, "imbalance, mean")
    # What reads alike is alike.
    assert [("0.3000", False), ("0.3000", False)] == table_row(page, "imbalance, highest")


def test_more_migrations_are_neither_better_nor_worse(compared):
    completed = [run.summary.migrations.completed for run in compared]
    assert completed[0] != completed[1]
    expected = [(str(number), False) for number in completed]
    assert expected == table_row(comparison_html(compared), "migrations completed")


def test_where_all_are_alike_none_is_best(run):
    page = comparison_html([named(run, "one"), named(run, "two")])
    assert 'number best"' not in page
    assert "Same scenario, engine, seed" in page


def test_what_only_one_run_knows_is_a_dash_for_the_other(run):
    simulated = replace(run.summary, client_blackout_s=None, integrity=None)
    page = comparison_html([named(run, "live"), named(run, "simulated", summary=simulated)])
    assert ("–", False) == table_row(page, "client blackout, p99")[1]
    both = comparison_html([named(run, name, summary=simulated) for name in ("one", "two")])
    assert "client blackout" not in both
    assert "mismatched pages" not in both


def test_it_is_said_in_what_runs_differ(compared):
    assert "The runs differ in seed." in comparison_html(compared)


def test_the_summaries_are_on_the_page(compared):
    page = comparison_html(compared)
    found = re.search(r'<script type="application/json" id="summaries">(.*?)</script>', page)
    expected = {run.name: to_json(run.summary) for run in compared}
    assert expected == json.loads(found[1])


def test_plotly_accepts_every_figure_and_a_run_keeps_its_colour(compared):
    colours = set()
    for make in (
        comparison_figures.imbalances,
        comparison_figures.busiest_hosts,
        comparison_figures.migrations_so_far,
        comparison_figures.downtimes,
    ):
        figure = make(compared)
        go.Figure(data=figure.traces, layout=figure.layout)
        assert ["threshold 3", "threshold 5"] == [trace["name"] for trace in figure.traces]
        colours.add(tuple(trace["line"]["color"] for trace in figure.traces))
    assert 1 == len(colours)


def test_a_run_without_migrations_has_no_line_of_them(run):
    quiet = named(run, "quiet", migrations=[])
    figure = comparison_figures.migrations_so_far([named(run, "busy"), quiet])
    assert ["busy"] == [trace["name"] for trace in figure.traces]
    assert comparison_figures.downtimes([quiet]) is None


def test_migrations_are_counted_up_to_the_end_of_the_run(run):
    (trace,) = comparison_figures.migrations_so_far([named(run, "one")]).traces
    assert (0.0, 0) == (trace["x"][0], trace["y"][0])
    assert run.summary.duration_s == trace["x"][-1]
    assert run.summary.migrations.completed == trace["y"][-1] == max(trace["y"])


@pytest.mark.parametrize("names", [["one"], ["same", "same"], [str(n) for n in range(13)]])
def test_too_few_too_many_or_nameless_runs_are_refused(run, names):
    with pytest.raises(ValueError, match="runs"):
        comparison_html([named(run, name) for name in names])
