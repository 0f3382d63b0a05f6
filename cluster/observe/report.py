"""A run's report: one HTML page with everything inside, which opens without a network."""

from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from html import escape

from cluster.observe import host_figures, migration_figures, round_figures, words
from cluster.observe.page import page
from cluster.observe.record import EventRow, MigrationRow, Summary, TimelineRow
from cluster.observe.rounds import RoundRow
from cluster.observe.rows import to_json
from cluster.observe.story import story

TABLE_ROWS_MAX = 2000
EVENTS_MAX = 1000
# What fits on paper; the others are on the screen alone.
PRINTED = frozenset(
    {
        "vm",
        "source",
        "destination",
        "mode",
        "result",
        "error",
        "started_s",
        "duration_s",
        "rounds",
        "sent_bytes",
        "downtime_s",
        "client_blackout_s",
    }
)

_PHASES = {
    "precopy_bytes": "sent in pre-copy",
    "downtime_bytes": "sent in downtime",
    "postcopy_bytes": "sent in post-copy",
}
# Long, and would push the figures out of sight.
SENTENCES = ("reason", "error")


def report_html(
    summary: Summary,
    migrations: Sequence[MigrationRow],
    timeline: Sequence[TimelineRow],
    events: Sequence[EventRow],
    rounds: Sequence[RoundRow] = (),
) -> str:
    """Return the page. Figures and columns without data are left out.

    summary.json is in it, as the element with the id `summary`.
    """
    sections = (
        (
            "gantt",
            "Migrations by host",
            migration_figures.gantt(migrations, duration_s=summary.duration_s),
        ),
        ("imbalance", "Imbalance and DRS", host_figures.imbalance(timeline, events)),
        ("load", "Load of the hosts", host_figures.load(timeline)),
        ("downtime", "Downtime and its parts", migration_figures.downtime(migrations)),
        (
            "prediction",
            "Downtime, predicted and measured",
            migration_figures.prediction(migrations),
        ),
        ("rounds", "Rounds of a migration", round_figures.rounds(rounds)),
        ("bandwidth", "Bandwidth by host", host_figures.bandwidth(timeline)),
    )
    return page(
        f"{summary.scenario} – VMotion and DRS",
        _head(summary),
        sections,
        _table(migrations) + _events(events),
        key="summary",
        data=to_json(summary),
    )


def _head(summary: Summary) -> str:
    engine = f"{summary.engine.value}, seed {summary.seed}"
    tiles = "".join(
        f'<div class="tile{" bad" if bad else ""}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value, bad in _tiles(summary)
    )
    return (
        f'<h1>{escape(summary.scenario)}</h1><p class="quiet">{escape(engine)}</p>'
        f'<p class="story">{escape(" ".join(story(summary)))}</p><div class="tiles">{tiles}</div>'
    )


def _tiles(summary: Summary) -> list[tuple[str, str, bool]]:
    """Name, figure, and whether it is bad; only what is known."""
    counts = summary.migrations
    tiles = [
        ("migrations completed", f"{counts.completed:,} of {counts.started:,}", counts.lost > 0)
    ]
    if summary.downtime_s:
        tiles.append(("downtime, median", words.seconds(summary.downtime_s.p50), False))
        tiles.append(("downtime, p99", words.seconds(summary.downtime_s.p99), False))
    if summary.client_blackout_s:
        tiles.append(("blackout, p99", words.seconds(summary.client_blackout_s.p99), False))
    tiles.append(("sent by migrations", words.size(summary.sent_bytes), False))
    if summary.imbalance:
        change = f"{summary.imbalance.start:.3f} → {summary.imbalance.end:.3f}"
        tiles.append(("imbalance", change, False))
    if summary.unmet_demand_ratio:
        tiles.append(("unmet CPU demand, mean", f"{summary.unmet_demand_ratio.mean:.1%}", False))
    violations = summary.rule_violations
    tiles.append(("rule violations", f"{violations:,}", violations > 0))
    if summary.integrity:
        found = summary.integrity
        lost = f"{found.lost_requests:,} / {found.duplicated_requests:,}"
        bad = bool(found.lost_requests or found.duplicated_requests)
        tiles.append(
            ("mismatched pages", f"{found.mismatched_pages:,}", found.mismatched_pages > 0)
        )
        tiles.append(("requests lost / done twice", lost, bad))
    return tiles


def _table(migrations: Sequence[MigrationRow]) -> str:
    """All columns that have a value somewhere, sentences last; a click on a head sorts by it."""
    if not migrations:
        return ""
    shown = migrations[:TABLE_ROWS_MAX]
    names = [
        one.name
        for one in sorted(fields(MigrationRow), key=lambda one: one.name in SENTENCES)
        if any(getattr(row, one.name) not in (None, "") for row in shown)
    ]
    numeric = {name for name in names if isinstance(_first(shown, name), int | float)}
    head = "".join(
        f'<th scope="col" class="{_classes(name, numeric=name in numeric)}">'
        f"<button>{escape(_heading(name))}</button></th>"
        for name in names
    )
    body = "\n".join(
        "<tr>" + "".join(_cell(name, getattr(row, name)) for name in names) + "</tr>"
        for row in shown
    )
    note = (
        f'<p class="quiet">The first {TABLE_ROWS_MAX:,} of {len(migrations):,}; all of them are in '
        "migrations.parquet.</p>"
        if len(migrations) > TABLE_ROWS_MAX
        else ""
    )
    return (
        f'<section><h2>Every migration</h2>{note}<div class="scroll"><table id="migrations">'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div></section>"
    )


def _classes(name: str, *, numeric: bool) -> str:
    return " ".join(
        [*(["number"] if numeric else []), *([] if name in PRINTED else ["screen-only"])]
    )


def _first(rows: Sequence[MigrationRow], name: str) -> object:
    return next(value for row in rows if (value := getattr(row, name)) is not None)


def _heading(name: str) -> str:
    """Drop the unit, which every cell says; no two columns have one name."""
    if name in _PHASES:
        return _PHASES[name]
    for unit in ("_bytes_per_second", "_bytes", "_s"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _cell(name: str, value: object) -> str:
    text, figure = _classes(name, numeric=False), _classes(name, numeric=True)
    match value:
        case None:
            return f'<td class="{figure}" data-value="-1">–</td>'
        case Enum():
            return f'<td class="{text}">{escape(str(value.value))}</td>'
        case str():
            return f'<td class="{text}">{escape(value)}</td>'
        case int() | float():
            shown = escape(_amount(name, value))
            return f'<td class="{figure}" data-value="{value!r}">{shown}</td>'
    raise TypeError(f"a migration's {name} cannot be {value!r}")


def _amount(name: str, value: float) -> str:
    if name == "started_s":
        return f"{value:.1f} s"
    if name.endswith("_per_second"):
        return words.rate(value)
    if name.endswith("_bytes"):
        return words.size(value)
    if name.endswith("_s"):
        return words.seconds(value)
    return f"{value:,.0%}" if name == "throttle_max" else f"{value:,}"


def _events(events: Sequence[EventRow]) -> str:
    if not events:
        return ""
    lines = "".join(
        f"<li><time>{words.clock(event.time_s)}</time>{escape(event.text)}</li>"
        for event in events[:EVENTS_MAX]
    )
    more = len(events) - EVENTS_MAX
    note = f'<p class="quiet">and {more:,} more in events.jsonl</p>' if more > 0 else ""
    return (
        f"<details><summary>What happened ({words.count(len(events), 'event')})</summary>"
        f'<ol class="events">{lines}</ol>{note}</details>'
    )
