"""The dashboards as committed: generated, complete, and in units that people read."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from jsonschema import ValidationError, validate

from dashboards.expressions import GRAFANA
from dashboards.generate import generate

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
QUESTIONS = {
    "migrations": "Are migrations healthy?",
    "balance": "Is the cluster balanced?",
    "host-vm": "What is this host or VM doing?",
    "policies": "What would another policy do?",
}


def test_what_is_committed_is_what_is_generated():
    committed = {path.name: path.read_text(encoding="utf-8") for path in GRAFANA.glob("*.json")}
    assert generate() == committed, "run: python -m dashboards.generate"


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_grafanas_own_schema_knows_every_key(board):
    """Read as Grafana's types and written again nothing is lost, but what Prometheus' annotations add."""
    register_default_plugins()
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    of_prometheus = {
        f"/annotations/list/{at}/{key}"
        for at in range(len(board["annotations"]["list"]))
        for key in ("titleFormat", "textFormat", "step")
    }
    assert of_prometheus == set(lost(board, written))


def lost(there, written, path=""):
    """Yield where `there` holds what `written` does not; defaults may have been added."""
    if isinstance(there, dict) and isinstance(written, dict):
        for key, value in there.items():
            yield from lost(value, written.get(key), f"{path}/{key}")
    elif isinstance(there, list) and isinstance(written, list) and len(there) == len(written):
        for at, (value, other) in enumerate(zip(there, written, strict=True)):
            yield from lost(value, other, f"{path}/{at}")
    elif there != written:
        yield path


def test_each_dashboard_asks_one_question():
    assert QUESTIONS == {name: board["title"] for name, board in BOARDS.items()}
    assert len(BOARDS) == len({board["uid"] for board in BOARDS.values()})


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_every_dashboard_can_be_narrowed_linked_and_annotated(board):
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert ["datasource", "cluster", "run"] == names[:3]
    assert ["Migrations", "Hosts in maintenance", "Hosts lost"] == [
        annotation["name"] for annotation in board["annotations"]["list"]
    ]
    assert ["vmotion"] == board["links"][0]["tags"] == board["tags"]
    assert board["description"]


def test_a_host_and_a_vm_can_be_chosen():
    names = [variable["name"] for variable in BOARDS["host-vm"]["templating"]["list"]]
    assert ["host", "vm"] == names[3:]


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_says_what_it_shows_and_in_which_unit(panel):
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    unit = defaults.get("unit") or panel["options"]["yAxis"]["unit"]
    for target in panel["targets"]:
        of_seconds = re.match(r"histogram_quantile\(.*_seconds_bucket|\w+_seconds{", target["expr"])
        assert not of_seconds or unit == "s" or "(s)" in target["legendFormat"]
        assert not re.match(r"\w+_bytes{", target["expr"]) or unit == "bytes"


@pytest.mark.parametrize("panel", PANELS)
def test_every_query_of_a_panel_is_narrowed_to_what_is_chosen(panel):
    for target in panel["targets"]:
        metrics = re.findall(r"\b(?:vmotion|drs|ALERTS|cluster:)\w*(?::\w+)*(\{)?", target["expr"])
        assert metrics
        assert all(metrics), target["expr"]
        assert len(metrics) == target["expr"].count('cluster=~"$cluster", run=~"$run"')


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_panels_lie_side_by_side_and_have_numbers_of_their_own(board):
    taken = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    numbers = [panel["id"] for panel in board["panels"]]
    assert list(range(1, len(numbers) + 1)) == numbers


def test_downtime_is_judged_at_its_anchors():
    (panel,) = (p for p in BOARDS["migrations"]["panels"] if p["title"] == "Downtime")
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [None, 0.05, 0.3, 1.0] == [step["value"] for step in steps]


def test_links_to_a_host_lead_to_a_dashboard_and_a_variable_that_exist():
    uids = {board["uid"] for board in BOARDS.values()}
    links = [
        link["url"]
        for board in BOARDS.values()
        for panel in board["panels"]
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])
    ]
    assert links
    for link in links:
        uid, variable = re.match(r"/d/([\w-]+)\?var-(\w+)=", link).groups()
        assert uid in uids
        assert variable == "host"


def test_grafana_is_provisioned_with_what_the_containers_mount():
    compose = yaml.safe_load((DASHBOARDS / "compose.yaml").read_text())
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or (DASHBOARDS / source).exists()
    provider = yaml.safe_load((DASHBOARDS / "provisioning/dashboards/vmotion.yaml").read_text())
    mounted = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["providers"][0]["options"]["path"] in mounted
    source = yaml.safe_load((DASHBOARDS / "provisioning/datasources/prometheus.yaml").read_text())
    listens = next(c for c in compose["services"]["prometheus"]["command"] if "listen" in c)
    assert source["datasources"][0]["url"] == f"http://{listens.split('=')[1]}"


def test_the_compose_file_is_one_as_the_compose_specification_has_it():
    vendored = resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(vendored.read_text())
    compose = yaml.safe_load((DASHBOARDS / "compose.yaml").read_text())
    validate(compose, schema)
    with pytest.raises(ValidationError, match="ports_"):
        validate({**compose, "services": {"grafana": {"ports_": []}}}, schema)
