"""Several runs side by side on one page: a table of their figures, and their courses as lines."""

from collections.abc import Callable, Sequence
from html import escape

from cluster.observe import comparison_figures, words
from cluster.observe.comparison_figures import ComparedRun
from cluster.observe.page import page
from cluster.observe.record import Percentiles, Summary
from cluster.observe.rows import to_json

RUNS_MAX = 12

_Value = float | int | None
_Row = tuple[str, Callable[[Summary], _Value], Callable[[float], str], bool]


def comparison_html(runs: Sequence[ComparedRun]) -> str:
    """Return the page. A figure that no run knows is left out; one that a run lacks is a dash.

    All summaries are in it by name, as the element with the id `summaries`.

    Raises:
        ValueError: If there are fewer than two runs, more than RUNS_MAX, or two of one name.
    """
    names = [run.name for run in runs]
    if not 2 <= len(runs) <= RUNS_MAX:
        raise ValueError(f"between 2 and {RUNS_MAX} runs can be compared, not {len(runs)}")
    if len(set(names)) < len(names):
        raise ValueError("two runs have the same name")
    sections = (
        ("imbalances", "Imbalance", comparison_figures.imbalances(runs)),
        ("busiest", "Busiest host", comparison_figures.busiest_hosts(runs)),
        ("counts", "Migrations so far", comparison_figures.migrations_so_far(runs)),
        ("downtimes", "Downtime", comparison_figures.downtimes(runs)),
    )
    return page(
        f"{len(runs)} runs – VMotion and DRS",
        _head(runs),
        sections,
        "",
        key="summaries",
        data={run.name: to_json(run.summary) for run in runs},
    )


def _head(runs: Sequence[ComparedRun]) -> str:
    return (
        f"<h1>{len(runs)} runs side by side</h1>"
        f'<p class="quiet">{escape(_differences(runs))}</p>{_table(runs)}'
    )


def _differences(runs: Sequence[ComparedRun]) -> str:
    """Warn where runs differ in more than a policy: their figures then mean different things."""
    kinds = (
        ("scenario", {run.summary.scenario for run in runs}),
        ("engine", {run.summary.engine.value for run in runs}),
        ("seed", {run.summary.seed for run in runs}),
        ("number of hosts", {run.summary.hosts for run in runs}),
        ("number of VMs", {run.summary.vms for run in runs}),
        ("duration", {round(run.summary.duration_s) for run in runs}),
    )
    differing = [name for name, values in kinds if len(values) > 1]
    if not differing:
        return "Same scenario, engine, seed, hosts, VMs and duration."
    return f"The runs differ in {', '.join(differing)}. A ✓ marks the best of a row."


def _table(runs: Sequence[ComparedRun]) -> str:
    head = "".join(
        f'<th scope="col" class="number">{escape(run.name)}<br><span class="quiet">'
        f"{run.summary.engine.value}, seed {run.summary.seed}</span></th>"
        for run in runs
    )
    body = "".join(_table_row(row, runs) for row in _ROWS)
    return (
        '<section><div class="scroll whole"><table id="compared"><thead><tr><th scope="col">figure</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _table_row(row: _Row, runs: Sequence[ComparedRun]) -> str:
    name, value_of, shown, judged = row
    values = [value_of(run.summary) for run in runs]
    known = [value for value in values if value is not None]
    if not known:
        return ""
    texts = ["–" if value is None else shown(value) for value in values]
    # Less is better in every judged row; what reads alike is alike, and then none is best.
    differ = len({shown(value) for value in known}) > 1
    best = shown(min(known)) if judged and differ else None
    cells = "".join(
        f'<td class="number{" best" if text == best else ""}">{escape(text)}</td>' for text in texts
    )
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _of(part: str, name: str) -> Callable[[Summary], _Value]:
    """Read a figure from a part of the summary that may be missing."""

    def value_of(summary: Summary) -> _Value:
        found = getattr(summary, part)
        return None if found is None else getattr(found, name)

    return value_of


def _percentile_rows(title: str, part: str) -> list[_Row]:
    names = {"p50": "median", "p99": "p99", "max": "worst"}
    assert names.keys() == {*Percentiles.__dataclass_fields__}
    return [
        (f"{title}, {shown}", _of(part, name), words.seconds, True) for name, shown in names.items()
    ]


def _solve_s_max(summary: Summary) -> _Value:
    return None if summary.drs.solve_s is None else summary.drs.solve_s.max


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def _deviation(value: float) -> str:
    return f"{value:.4f}"


_ROWS: tuple[_Row, ...] = (
    ("imbalance, mean", _of("imbalance", "mean"), _deviation, True),
    ("imbalance, highest", _of("imbalance", "max"), _deviation, True),
    ("imbalance at the end", _of("imbalance", "end"), _deviation, True),
    ("unmet CPU demand, mean", _of("unmet_demand_ratio", "mean"), _share, True),
    ("unmet CPU demand, highest", _of("unmet_demand_ratio", "max"), _share, True),
    ("rule violations", lambda summary: summary.rule_violations, _count, True),
    ("migrations completed", _of("migrations", "completed"), _count, False),
    ("migrations aborted", _of("migrations", "aborted"), _count, False),
    ("VMs lost", _of("migrations", "lost"), _count, True),
    ("migrations refused", _of("migrations", "refused"), _count, False),
    *_percentile_rows("downtime", "downtime_s"),
    *_percentile_rows("client blackout", "client_blackout_s"),
    ("sent by migrations", lambda summary: summary.sent_bytes, words.size, True),
    ("bandwidth, mean", _of("bandwidth_bytes_per_second", "mean"), words.rate, False),
    ("DRS passes", _of("drs", "passes"), _count, False),
    ("recommended", _of("drs", "recommended"), _count, False),
    ("applied", _of("drs", "applied"), _count, False),
    ("slowest solve", _solve_s_max, words.seconds, True),
    ("mismatched pages", _of("integrity", "mismatched_pages"), _count, True),
    ("requests lost", _of("integrity", "lost_requests"), _count, True),
    ("requests done twice", _of("integrity", "duplicated_requests"), _count, True),
)
