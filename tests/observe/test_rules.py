"""Prometheus' configuration, recording rules and alerts, as its own tools judge them."""

import re
from pathlib import Path

import pytest
import yaml
from observe.prometheus_process import needs_prometheus, promtool

from cluster.observe.serving import ADDRESS, DISCOVERY_PATH, PORT
from dashboards.expressions import RULES, Expression, every_expression, filled_in, problems

ROOT = Path(__file__).parents[2]
ALERTS = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"][0]["rules"]
NAMES = [alert["alert"] for alert in ALERTS]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


@needs_prometheus
def test_prometheus_accepts_its_configuration_and_the_rules_it_names():
    status, said = promtool("check", "config", ROOT / "dashboards" / "prometheus.yml")
    assert 0 == status, said


@needs_prometheus
def test_every_alert_fires_when_it_should_and_is_silent_when_it_should():
    status, said = promtool("test", "rules", RULES / "alerts_test.yml")
    assert 0 == status, said


def test_every_alert_has_been_seen_to_fire_and_to_be_silent():
    cases = [
        case
        for test in yaml.safe_load((RULES / "alerts_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert set(NAMES) == {case["alertname"] for case in cases if case["exp_alerts"]}
    assert set(NAMES) == {case["alertname"] for case in cases if not case["exp_alerts"]}


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_points_to_its_own_section_of_the_runbook(alert):
    link = alert["annotations"]["runbook"]
    assert f"docs/runbook.md#{alert['alert'].lower()}" == link
    assert f"## {alert['alert']}\n" in RUNBOOK


def test_the_runbook_has_no_section_without_an_alert_and_no_link_without_a_section():
    assert NAMES == re.findall(r"^## (.*)$", RUNBOOK, re.MULTILINE)
    linked = set(re.findall(r"\]\(#(\w+)\)", RUNBOOK))
    assert linked <= {name.lower() for name in NAMES}


def test_prometheus_looks_where_a_run_serves():
    config = yaml.safe_load((ROOT / "dashboards" / "prometheus.yml").read_text())
    center, hosts = config["scrape_configs"]
    (known,) = center["static_configs"]
    assert [f"{ADDRESS}:{PORT}"] == known["targets"]
    assert f"http://{ADDRESS}:{PORT}{DISCOVERY_PATH}" == hosts["http_sd_configs"][0]["url"]
    given = {one["target_label"]: one["replacement"] for one in hosts["relabel_configs"]}
    assert known["labels"] == given


@pytest.mark.parametrize("one", every_expression(), ids=lambda one: one.where)
def test_every_expression_names_only_what_is_in_the_table(one):
    assert [] == problems(one)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(rate(vmotion_downtime_total[5m]))", "there is no metric vmotion_downtime_total"),
        ('vmotion_host_vms{vm="a"}', "vmotion_host_vms has no label vm"),
        ("vmotion_downtime_seconds", "there is no metric vmotion_downtime_seconds"),
        ("sum by (node) (vmotion_host_vms)", "no metric has the label node"),
        ("sum(", "unclosed left parenthesis"),
    ],
)
def test_an_expression_that_means_nothing_is_noticed(text, expected):
    assert [f"here: {expected}"] == problems(Expression(where="here", text=text))


def test_grafanas_variables_are_filled_in():
    text = 'rate(vmotion_host_vms{host=~"$host", run="live"}[$__rate_interval])'
    assert 'rate(vmotion_host_vms{host=~".*", run="live"}[1m])' == filled_in(text)
