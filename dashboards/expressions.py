"""Every PromQL expression of the dashboards and rules, and what is wrong with its names.

The checks need `promql-parser`, which is a tool of development.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml  # type: ignore[import-untyped]

from cluster.observe.metrics import BY_NAME, Kind

ROOT = Path(__file__).parent
RULES = ROOT / "rules"
GRAFANA = ROOT / "grafana"

# Prometheus adds these to what it scrapes.
_ADDED_LABELS = frozenset({"cluster", "run", "job", "instance"})
_ALERTS_LABELS = frozenset({"alertname", "alertstate", "severity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One expression.

    Attributes:
        where: File, and panel or rule.
        on_fault: It has no data as long as nothing is wrong.
    """

    where: str
    text: str
    on_fault: bool = False


def every_expression() -> list[Expression]:
    """All of them, as committed."""
    return [*_of_rules(), *(one for path in sorted(GRAFANA.glob("*.json")) for one in _of(path))]


def filled_in(text: str) -> str:
    """The expression with Grafana's variables replaced by what matches everything."""
    for name, value in (
        ("$__rate_interval", "1m"),
        ("$__interval", "15s"),
        ("$__range", "10m"),
    ):
        text = text.replace(name, value)
    return re.sub(r'"\$\w+"', '".*"', text)


def problems(expression: Expression) -> list[str]:
    """What the expression names that is not in the table of metrics, in sentences."""
    try:
        parsed = promql_parser.parse(filled_in(expression.text))
    except ValueError as error:
        return [f"{expression.where}: {error}"]
    found: list[str] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.extend(_selector_problems(node))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            unknown = {*node.modifier.labels} - _every_label() - _ADDED_LABELS - {"le"}
            found.extend(f"no metric has the label {label}" for label in sorted(unknown))
        return True

    promql_parser.walk(parsed, visit)
    return [f"{expression.where}: {problem}" for problem in found]


def _selector_problems(selector: Any) -> Iterator[str]:
    known = _series().get(selector.name)
    if known is None:
        yield f"there is no metric {selector.name}"
        return
    for matcher in selector.matchers.matchers:
        if matcher.name not in known | _ADDED_LABELS:
            yield f"{selector.name} has no label {matcher.name}"


@cache
def _series() -> Mapping[str, frozenset[str]]:
    """Labels by the name of a series: metrics, their histograms' parts, recorded rules, alerts."""
    known: dict[str, frozenset[str]] = {"ALERTS": _ALERTS_LABELS | _every_label()}
    for metric in BY_NAME.values():
        labels = frozenset(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            known[f"{metric.name}_bucket"] = labels | {"le"}
            known[f"{metric.name}_sum"] = known[f"{metric.name}_count"] = labels
        else:
            known[metric.name] = labels
    for rule in _rules():
        if "record" in rule:
            known[rule["record"]] = _every_label()
    return known


def _every_label() -> frozenset[str]:
    return frozenset(label for metric in BY_NAME.values() for label in metric.labels)


def _rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load((RULES / name).read_text()) for name in ("recording.yml", "alerts.yml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def _of_rules() -> Iterator[Expression]:
    for rule in _rules():
        name = rule.get("alert") or rule["record"]
        yield Expression(where=f"rules: {name}", text=rule["expr"], on_fault="alert" in rule)


def _of(path: Path) -> Iterator[Expression]:
    board = json.loads(path.read_text(encoding="utf-8"))
    for panel in _panels(board["panels"]):
        for target in panel.get("targets", []):
            yield Expression(where=f"{path.stem}: {panel['title']}", text=target["expr"])
    for annotation in board["annotations"]["list"]:
        yield Expression(
            where=f"{path.stem}: annotation {annotation['name']}",
            text=annotation["expr"],
            on_fault=annotation["name"] in ON_FAULT,
        )
    for variable in board["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", str(variable.get("query", "")))
        if found:
            text = f"count by ({found[2]}) ({found[1]})"
            yield Expression(where=f"{path.stem}: variable {variable['name']}", text=text)


ON_FAULT = frozenset({"Hosts in maintenance", "Hosts lost"})
"""Annotations that are there only when something has happened to a host."""


def _panels(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", []))
