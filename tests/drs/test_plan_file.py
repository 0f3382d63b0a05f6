"""A plan as a document with names, and plans of others read back."""

import json

import numpy as np
import pytest

from drs import HostState, PlanStatus, Policy, Snapshot, StepBudget, recommend
from drs.plan_file import load_plan, plan_document

EAGER = Policy(migration_threshold=5, cost_benefit=False)


def cluster(**more):
    return Snapshot.build(
        ["h0", "h1"], ["a", "b"], [10, 10], [[4, 4], [3, 3]], [0, 0], taken_at_s=7.0, **more
    )


def planned(snapshot, policy=EAGER):
    rng = np.random.default_rng(0)
    return recommend(snapshot, policy, now=7.0, rng=rng, budget=StepBudget(steps=1000))


def written(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content)
    return path


def test_a_plan_is_told_by_name_with_its_figures():
    snapshot = cluster()
    document = plan_document(planned(snapshot), snapshot, EAGER)
    (move,) = document["recommendations"]
    assert ("ok", 1, "h0", "h1") == (
        document["status"],
        document["moves"],
        move["source"],
        move["destination"],
    )
    assert document["imbalance"]["after"] < document["imbalance"]["before"]
    assert {"before": 1.0, "after": 1.0} == document["happiness"]
    assert document["actions"][0]["end_s"] == document["makespan_s"] > 0.0
    assert 0 == document["objective"]["hard_violations"]


def test_a_document_is_a_plan_that_can_be_read_back(tmp_path):
    snapshot = cluster()
    plan = planned(snapshot)
    path = written(tmp_path, json.dumps(plan_document(plan, snapshot, EAGER)))
    assert plan.actions == load_plan(path, snapshot).actions


def test_what_is_too_broken_to_judge_has_no_figures():
    broken = cluster(limit=[[-1, 1]] * 2)
    document = plan_document(planned(broken), broken, EAGER)
    assert ("invalid", None, None) == (
        document["status"],
        document["objective"],
        document["happiness"],
    )
    assert {"negative"} <= {one["kind"] for one in document["problems"] if one["fatal"]}


def test_without_a_connected_host_nothing_is_judged():
    dark = cluster(host_states=[HostState.STANDBY] * 2)
    assert plan_document(planned(dark), dark, EAGER)["objective"] is None


def test_a_cluster_without_vms_has_no_happiness():
    empty = Snapshot.build(["h0"], [], [10, 10], [], [])
    document = plan_document(planned(empty), empty, EAGER)
    assert {"before": None, "after": None} == document["happiness"]


def test_actions_alone_are_enough_and_are_in_the_order_of_the_file(tmp_path):
    move = {"source": "h0", "destination": "h1", "start_s": 0, "end_s": 1}
    path = written(tmp_path, json.dumps({"actions": [{**move, "vm": "b"}, {**move, "vm": "a"}]}))
    plan = load_plan(path, cluster())
    assert PlanStatus.OK is plan.status
    assert [(0, 1), (1, 0)] == [(a.order, a.move.vm) for a in plan.actions]


@pytest.mark.parametrize("key", ["vm", "source", "destination"])
def test_a_name_that_nobody_has_is_found_by_the_judge_and_laid_to_no_host(tmp_path, key):
    move = {"vm": "a", "source": "h0", "destination": "h1", "start_s": 0, "end_s": 1}
    path = written(tmp_path, json.dumps({"actions": [{**move, key: "nobody"}]}))
    snapshot = cluster()
    (violation,) = load_plan(path, snapshot).check(snapshot)
    assert ("action", ()) == (violation.rule, violation.hosts)
    assert "unknown VM or host" in violation.message


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"actions": [{}]}', '{"actions": 3}', '{"actions": [[1]]}']
)
def test_what_is_no_plan_is_refused_with_its_name(tmp_path, content):
    with pytest.raises(ValueError, match=r"plan\.json: not a plan"):
        load_plan(written(tmp_path, content), cluster())
