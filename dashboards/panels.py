"""How every dashboard looks: its panels, variables, links and annotations.

A panel answers something, so each has a description; `OF` in an expression restricts it
to the clusters and runs that are chosen at the top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_kinds
from grafana_foundation_sdk.models import prometheus as queries

from cluster.policy.state import HostState

OF = 'cluster=~"$cluster", run=~"$run"'
TAG = "vmotion"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

SECONDS, BYTES, RATE, SHARE, COUNT = "s", "bytes", "Bps", "percentunit", "short"
GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"

# The anchors of downtime: 50 and 300 ms are median and p99 of a large provider's live
# migrations (VEE 2018), 1 s is what VMware promises.
DOWNTIME_STEPS = ((None, GREEN), (0.05, YELLOW), (0.3, ORANGE), (1.0, RED))
ANY_IS_BAD = ((None, GREEN), (1e-9, RED))
LOAD_STEPS = ((None, GREEN), (0.8, YELLOW), (1.0, RED))

Steps = Sequence[tuple[float | None, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expr: str
    legend: str = ""


def q(expr: str, legend: str = "") -> Query:
    """Shorten `Query(...)`, of which a dashboard is full."""
    return Query(expr=" ".join(expr.split()), legend=legend)


def _targets(
    panel: Any, asked: Sequence[Query], *, instant: bool = False, rows: bool = False
) -> Any:
    for ref, query in zip("ABCDEFGH", asked, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(ref)
        target = target.legend_format(query.legend) if query.legend else target
        target = target.instant() if instant else target.range()
        if rows:
            target = target.format(queries.PromQueryFormat.HEATMAP)
        panel = panel.with_target(target)
    return panel


def _dressed(
    panel: Any, title: str, description: str, *, unit: str, width: int, height: int, steps: Steps
) -> Any:
    """Put on what all kinds of panels share."""
    thresholds = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    thresholds = thresholds.steps(
        [models.Threshold(value=at, color=colour) for at, colour in steps]
    )
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .thresholds(thresholds)
    )


def figure(
    title: str,
    description: str,
    *asked: Query,
    unit: str = COUNT,
    width: int = 4,
    steps: Steps = ((None, GREEN),),
) -> Any:
    """Make one large figure of the newest value, coloured by its thresholds."""
    panel = _dressed(
        stat.Panel(), title, description, unit=unit, width=width, height=4, steps=steps
    )
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
    panel = panel.reduce_options(reduce).graph_mode(kinds.BigValueGraphMode.NONE)
    return _targets(panel, asked, instant=True)


def lines(
    title: str,
    description: str,
    *asked: Query,
    unit: str = COUNT,
    width: int = 12,
    steps: Steps = (),
    stacked: bool = False,
    bars: bool = False,
    logarithmic: bool = False,
    low: float | None = 0.0,
) -> Any:
    """Make series over time; thresholds become dashed lines."""
    panel = _dressed(
        timeseries.Panel(),
        title,
        description,
        unit=unit,
        width=width,
        height=8,
        steps=steps or ((None, GREEN),),
    )
    legend = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI)
    panel = panel.legend(legend.placement(kinds.LegendPlacement.BOTTOM).show_legend(True))
    panel = panel.tooltip(tooltip.sort(kinds.SortOrder.DESCENDING)).line_width(2)
    panel = panel.show_points(kinds.VisibilityMode.AUTO).span_nulls(False)
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    if stacked:
        stacking = common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A")
        panel = panel.stacking(stacking).fill_opacity(30)
    if bars:
        panel = panel.draw_style(kinds.GraphDrawStyle.BARS).fill_opacity(80)
    if logarithmic:
        scale = common.ScaleDistributionConfig().type(kinds.ScaleDistribution.LOG).log(10)
        panel = panel.scale_distribution(scale)
    elif low is not None:
        panel = panel.min(low)
    return _targets(panel, asked)


def distribution(title: str, description: str, asked: Query, *, unit: str, width: int = 12) -> Any:
    """Colour a histogram's buckets over time; the expression keeps `le`."""
    panel = heatmap.Panel().title(title).description(description).datasource(SOURCE)
    panel = panel.span(width).height(8).calculate(False)
    colour = heatmap.HeatmapColorOptions().mode(heatmap_kinds.HeatmapColorMode.SCHEME)
    panel = panel.color(colour.scheme("Cividis").steps(64))
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit)).show_legend()
    return _targets(panel, [asked], rows=True)


def ranking(
    title: str,
    description: str,
    *asked: Query,
    unit: str,
    width: int = 12,
    steps: Steps = ((None, GREEN),),
    most: float | None = None,
) -> Any:
    """Make one bar a series, of the newest value."""
    panel = _dressed(
        bargauge.Panel(), title, description, unit=unit, width=width, height=8, steps=steps
    )
    panel = panel.orientation(kinds.VizOrientation.HORIZONTAL).min(0)
    panel = panel if most is None else panel.max(most)
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"])
    panel = panel.reduce_options(reduce).display_mode(kinds.BarGaugeDisplayMode.BASIC)
    return _targets(panel, asked, instant=True)


def states(title: str, description: str, asked: Query, *, width: int = 24) -> Any:
    """Draw a bar for as long as each series is there."""
    panel = _dressed(
        statetimeline.Panel(),
        title,
        description,
        unit=COUNT,
        width=width,
        height=6,
        steps=((None, "blue"),),
    )
    panel = panel.show_value(kinds.VisibilityMode.NEVER).row_height(0.8)
    return _targets(panel, [asked])


def linked_to_host(panel: Any) -> Any:
    """Let a click on a series of a host lead to that host's dashboard."""
    link = dashboard.DashboardLink("What is ${__field.labels.host} doing?")
    link = link.url("/d/vmotion-host-vm?var-host=${__field.labels.host}&${__url_time_range}")
    return panel.data_links([link])


def board(uid: str, question: str, description: str, *, variables: Sequence[Any] = ()) -> Any:
    """Begin a dashboard that answers a question."""
    link = dashboard.DashboardLink("Other questions").type(models.DashboardLinkType.DASHBOARDS)
    link = link.tags([TAG]).as_dropdown(True).include_vars(True).keep_time(True)
    made = dashboard.Dashboard(question).uid(uid).description(description).tags([TAG])
    made = made.timezone("browser").time("now-15m", "now").refresh("5s").readonly()
    made = made.tooltip(models.DashboardCursorSync.CROSSHAIR).link(link)
    for variable in (_source(), *_chosen(), *variables):
        made = made.with_variable(variable)
    for one in _annotations():
        made = made.annotation(one)
    return made


def row(title: str) -> Any:
    """Begin a row of panels."""
    return dashboard.Row(title)


def choice(name: str, label: str, metric: str) -> Any:
    """Make a variable that holds every value of a metric's label."""
    everything = models.VariableOption(text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(f"label_values({metric}, {name})")
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _source() -> Any:
    return dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _chosen() -> tuple[Any, ...]:
    return (
        choice("cluster", "Cluster", "vmotion_run_info"),
        choice("run", "Run", 'vmotion_run_info{cluster=~"$cluster"}'),
    )


class _Annotation(models.AnnotationQuery):
    """An annotation from Prometheus; its step and words are not in the SDK's model."""

    step = "15s"
    title = ""
    text = ""

    def to_json(self) -> dict[str, object]:
        return {
            **super().to_json(),
            "step": self.step,
            "titleFormat": self.title,
            "textFormat": self.text,
        }


class _Built:
    """A builder that has nothing left to do."""

    def __init__(self, made: _Annotation) -> None:
        self._made = made

    def build(self) -> _Annotation:
        return self._made


def _annotations() -> tuple[Any, ...]:
    ended = f"sum by (cluster, run, mode, result) (increase(vmotion_migrations_total{{{OF}}}[15s]))"
    marks = (
        ("Migrations", "blue", f"{ended} > 0", "{{result}}", "{{mode}} migrations ended"),
        (
            "Hosts in maintenance",
            "yellow",
            f'vmotion_host_state{{{OF}, state="{HostState.MAINTENANCE.value}"}} == 1',
            "{{host}} in maintenance",
            "It takes no VMs.",
        ),
        (
            "Hosts lost",
            "red",
            f'vmotion_host_state{{{OF}, state="{HostState.NOT_RESPONDING.value}"}} == 1',
            "{{host}} lost",
            "It does not respond.",
        ),
    )
    made = []
    for name, colour, expr, title, text in marks:
        one = _Annotation(name=name, datasource=SOURCE, icon_color=colour, expr=expr)
        one.title, one.text = title, text
        made.append(_Built(one))
    return tuple(made)
