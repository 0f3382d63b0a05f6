"""The report: its figures are valid, it says what the summary says, and it needs no network."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from cluster.observe import host_figures, migration_figures, round_figures
from cluster.observe.comparison import comparison_html
from cluster.observe.comparison_figures import ComparedRun
from cluster.observe.report import report_html
from cluster.observe.rows import to_json

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium"
)
FIGURES = ["gantt", "imbalance", "load", "downtime", "prediction", "rounds", "bandwidth"]


def page_of(run, **changes):
    parts = {
        "summary": run.summary,
        "migrations": run.migrations,
        "timeline": run.timeline,
        "events": run.events,
        "rounds": run.rounds,
    } | changes
    return report_html(**parts)


def embedded(page, key):
    found = re.search(
        rf'<script type="application/json" id="{key}">(.*?)</script>', page, re.DOTALL
    )
    return json.loads(found.group(1))


class Outline(HTMLParser):
    """Elements with an id, addresses that something is loaded from, and the table's cells."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.loads, self.headings = [], [], []
        self._in_head = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if "id" in named:
            self.ids.append(named["id"])
        self.loads += [named[key] for key in ("src", "href") if named.get(key)]
        self._in_head = tag == "button"

    def handle_data(self, data):
        if self._in_head:
            self.headings.append(data)
            self._in_head = False


def all_figures(run):
    return [
        migration_figures.gantt(run.migrations, duration_s=60.0),
        host_figures.imbalance(run.timeline, run.events),
        host_figures.load(run.timeline),
        migration_figures.downtime(run.migrations),
        migration_figures.prediction(run.migrations),
        round_figures.rounds(run.rounds),
        host_figures.bandwidth(run.timeline),
    ]


@pytest.mark.parametrize("size", ["small", "large"])
def test_plotly_accepts_every_figure(run, make_made_up_run, size):
    made = run if size == "small" else make_made_up_run(hosts=120, migrations=500, duration_s=900)
    for figure in all_figures(made):
        go.Figure(data=figure.traces, layout=figure.layout)
        json.dumps([figure.traces, figure.layout], allow_nan=False)


def test_a_large_run_is_drawn_in_part_and_says_so(make_made_up_run):
    made = make_made_up_run(hosts=120, migrations=500, duration_s=900)
    notes = [figure.note for figure in all_figures(made)]
    assert "The busiest 30 of 1" in notes[0]
    assert "The busiest 100 of 120 hosts." == notes[2]
    assert "150 of 445, evenly by rank." == notes[3]
    assert all(len(trace["z"][0]) <= 400 for trace in host_figures.load(made.timeline).traces)


def test_a_figure_without_data_is_none():
    assert migration_figures.gantt([], duration_s=60.0) is None
    assert migration_figures.downtime([]) is None
    assert migration_figures.prediction([]) is None
    assert round_figures.rounds([]) is None
    assert host_figures.bandwidth([]) is None
    assert host_figures.load([]) is None
    assert host_figures.imbalance([], []) is None


def test_bars_of_the_gantt_never_overlap(run):
    taken = [
        (lane, base, base + length)
        for trace in migration_figures.gantt(run.migrations, duration_s=60.0).traces
        for lane, base, length in zip(trace["y"], trace["base"], trace["x"], strict=True)
    ]
    assert 2 * len(run.migrations) == len(taken)
    for lane, start, end in taken:
        others = [other for other in taken if other != (lane, start, end) and other[0] == lane]
        assert all(end <= other[1] or other[2] <= start for other in others)


def test_the_gantts_axis_is_that_of_the_whole_run(run):
    assert [0, 1e6] == migration_figures.gantt(run.migrations, duration_s=1e6).layout["xaxis"][
        "range"
    ]
    ended_s = max(row.started_s + row.duration_s for row in run.migrations)
    assert [0, ended_s] == migration_figures.gantt(run.migrations, duration_s=0).layout["xaxis"][
        "range"
    ]


def test_figures_come_before_sentences_in_the_table(run):
    head = re.findall(r"<button>(.*?)</button>", page_of(run))
    assert head.index("downtime") < head.index("reason")
    assert len(head) == len(set(head))


def test_a_stack_of_parts_is_as_high_as_the_downtime(run):
    figure = migration_figures.downtime(run.migrations)
    bars = [trace["y"] for trace in figure.traces if trace["type"] == "bar"]
    expected = sorted(1e3 * row.downtime_s for row in run.migrations if row.downtime_s is not None)
    assert pytest.approx(expected) == [sum(stack) for stack in zip(*bars, strict=True)]


def test_the_heat_map_averages_neighbouring_samples(make_made_up_run):
    made = make_made_up_run(hosts=3, duration_s=800)
    heat = host_figures.load(made.timeline).traces[0]["z"]
    loads = [row.cpu_load for row in made.timeline if row.host == "esx-1"]
    assert 400 == len(heat[0])
    assert pytest.approx((loads[0] + loads[1]) / 2, abs=1e-4) == heat[0][0]


def test_any_migrations_rounds_can_be_chosen_and_the_longest_is_shown_first(run):
    figure = round_figures.rounds(run.rounds)
    assert len(run.migrations) == len(figure.choices)
    first, *others = (len(traces[0]["x"]) for traces in figure.choices.values())
    assert first == max(row.rounds for row in run.migrations) >= max(others)
    assert figure.traces == next(iter(figure.choices.values()))
    page = page_of(run)
    assert len(run.migrations) == page.count("<option>")
    assert list(figure.choices) == list(embedded(page, "figures")["rounds"]["choices"])


def test_only_so_many_migrations_rounds_can_be_chosen(make_made_up_run):
    made = make_made_up_run(migrations=600)
    figure = round_figures.rounds(made.rounds)
    assert round_figures.CHOICES_MAX == len(figure.choices)
    assert "The 500 with the most rounds, of 600." == figure.note


def test_the_page_has_every_figure_and_the_summary_itself(run):
    page = page_of(run)
    outline = Outline(page)
    assert FIGURES == [key for key in outline.ids if key in FIGURES]
    assert to_json(run.summary) == embedded(page, "summary")


def test_nothing_is_loaded_from_anywhere(run):
    assert ["data:,"] == Outline(page_of(run)).loads


def test_what_an_engine_cannot_know_is_left_out(run):
    rows = [replace(row, client_blackout_s=None) for row in run.migrations]
    summary = replace(run.summary, client_blackout_s=None, integrity=None)
    full, without = page_of(run), page_of(run, summary=summary, migrations=rows)
    assert "client blackout" in Outline(full).headings
    assert "client blackout" not in Outline(without).headings
    head = without[: without.index('id="gantt"')]
    assert "blackout" not in head
    assert "mismatched pages" not in head


def test_a_run_in_which_nothing_happened_has_a_page(run):
    page = page_of(run, migrations=[], timeline=[], events=[], rounds=[])
    assert [] == [key for key in Outline(page).ids if key in FIGURES]


def test_names_cannot_break_out_of_the_page(run):
    evil = '</script><script>document.title="broken"</script>'
    rows = [replace(row, vm=evil, reason=evil) for row in run.migrations]
    page = page_of(run, migrations=rows, summary=replace(run.summary, scenario=evil))
    assert evil not in page


def rendered(page, directory):
    """The page's DOM after its scripts have run in a real browser, and what the browser said."""
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={directory / 'profile'}",
            "--virtual-time-budget=5000",
            "--enable-logging=stderr",
            "--dump-dom",
            f"file://{path}",
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@needs_chromium
def test_a_browser_draws_every_figure_without_a_word_of_complaint(run, tmp_path):
    dom, console = rendered(page_of(run), tmp_path)
    assert [] == console
    for key in FIGURES:
        start = dom.index(f'id="{key}"')
        assert 'class="main-svg"' in dom[start : start + 3000], key
    tiles = re.findall(r'<div class="tile[^"]*"><b>(.*?)</b><span>(.*?)</span>', dom)
    completed = run.summary.migrations.completed
    assert (f"{completed} of {len(run.migrations)}", "migrations completed") in tiles
    assert len(run.migrations) == dom.count('<tr><td class="">web-')


@needs_chromium
def test_a_browser_draws_runs_side_by_side_without_a_word_of_complaint(
    run, make_made_up_run, tmp_path
):
    runs = [
        ComparedRun(
            name=f"seed {one.summary.seed}",
            summary=one.summary,
            migrations=one.migrations,
            timeline=one.timeline,
        )
        for one in (run, make_made_up_run(seed=2))
    ]
    dom, console = rendered(comparison_html(runs), tmp_path)
    assert [] == console
    assert 4 == len(re.findall(r'<div class="figure js-plotly-plot"', dom))
