"""Policies as data: named parameters, spaces, files, and what makes one better than another."""

import math

import pytest

from cluster.inventory.model import DrsSettings, Scenario
from cluster.simulation.policies import (
    BadPolicy,
    Choice,
    Objective,
    dominates,
    front,
    full_name,
    hopeless,
    knee,
    objective_value,
    policy_toml,
    read_policy,
    read_space,
    with_policy,
)
from cluster.simulation.run import simulate
from tests.simulation.scenarios import host, migrate, scenario, vm

EMPTY = Scenario(name="empty", duration_s=1.0)


def test_a_name_without_its_table_is_of_drs_first():
    assert "drs.threshold" == full_name("threshold")
    assert "power.deviations" == full_name("deviations")
    assert "power.enabled" == full_name("power.enabled")


def test_a_policy_changes_what_it_names_and_nothing_else():
    changed = with_policy(EMPTY, {"threshold": 5, "power.deviations": 2.0})
    assert (5, 2.0) == (changed.drs.threshold, changed.power.deviations)
    assert DrsSettings().interval_s == changed.drs.interval_s


def test_everything_wrong_with_a_policy_is_told_at_once():
    with pytest.raises(BadPolicy) as found:
        with_policy(EMPTY, {"threshhold": 3, "threshold": 9})
    assert 2 == len(found.value.problems)
    assert "did you mean" in found.value.problems[0]


def test_spaces_are_ranges_or_choices():
    assert (
        Choice(name="drs.threshold", low=1.0, high=5.0, whole=True),
        Choice(name="drs.interval_s", values=(60, 300)),
        Choice(name="power.deviations", low=0.5, high=2.0, whole=False),
    ) == read_space(["threshold=1..5", "interval_s=60,300", "deviations=0.5..2.0"])


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ([], "empty"),
        (["threshold"], "no space"),
        (["threshold=5..1"], "lowest comes first"),
        (["threshold=a..b"], "no range"),
        (["threshold=1..9"], "less than or equal to 5"),
        (["thresold=1..5"], "no parameter"),
        (["threshold=1,2", "drs.threshold=3,4"], "named twice"),
    ],
)
def test_a_space_that_cannot_be_is_told(space, says):
    with pytest.raises(BadPolicy, match=says):
        read_space(space)


def test_everything_wrong_with_a_space_is_told_at_once():
    """Also both mistakes of one text: an unknown name, and a range that goes down."""
    with pytest.raises(BadPolicy) as found:
        read_space(["thresold=5..1", "interval_s=0,-1", "moves_max", "low_ratio=a..b"])
    starts = (
        "there is no parameter thresold: did you mean",
        "'thresold=5..1': the lowest comes first",
        "'moves_max' is no space",
        "'low_ratio=a..b' is no range of numbers",
        "drs.interval_s=0: ",
        "drs.interval_s=-1: ",
    )
    problems = found.value.problems
    assert len(starts) == len(problems)
    for start, problem in zip(starts, problems, strict=True):
        assert problem.startswith(start)


def test_a_policy_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "policy.toml"
    policy = {"drs.threshold": 4, "drs.interval_s": 60.0, "power.enabled": True}
    path.write_text(policy_toml(policy, about=["of a test"]))
    assert policy == read_policy(path)


@pytest.mark.parametrize("text", ["[drs", "[host]\na = 1", "[drs]\nthreshhold = 1"])
def test_a_file_that_is_no_policy_is_named(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(BadPolicy, match=r"policy\.toml"):
        read_policy(path)


def test_values_are_written_as_toml_writes_them(tmp_path):
    text = policy_toml({"power.enabled": False, "power.planner": "dvfs", "drs.interval_s": 60.0})
    assert "enabled = false" in text
    assert 'planner = "dvfs"' in text
    assert "interval_s = 60.0" in text


def test_a_policy_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadPolicy, match=r"none\.toml: no policy file"):
        read_policy(tmp_path / "none.toml")


def test_a_space_may_have_words_and_switches():
    assert (
        Choice(name="power.enabled", values=(True, False)),
        Choice(name="power.planner", values=("dvfs", "thr-mmt")),
    ) == read_space(["power.enabled=true,false", "planner=dvfs,thr-mmt"])


def test_dominance_needs_one_better_and_none_worse():
    assert dominates((1, 1), (1, 2))
    assert not dominates((1, 1), (1, 1))
    assert not dominates((1, 3), (2, 2))
    assert not dominates((0.9, 0.9), (1, 1), margin_ratio=0.2)


def test_a_trial_is_hopeless_if_its_means_are_worse_in_everything_by_the_margin():
    def given_up(*seen, finished=((10.0, 10.0),)):
        return hopeless(seen, finished, margin_ratio=0.2)

    assert given_up((13, 13))
    assert not given_up((13, 13), finished=[])
    assert not given_up((12, 13))  # 10 is not a fifth less than 12
    assert not given_up((13, 9))  # better in one: it may be on the front
    assert given_up((13, 13), finished=[(20, 1), (10, 10)])  # one finished trial is enough
    # The means decide: one bad seed after a good one is no reason, two bad ones are.
    assert not given_up((9, 9), (14, 14))
    assert given_up((11, 11), (16, 16))
    assert not given_up((math.nan, 99))


def test_the_front_is_what_nobody_dominates_and_its_knee_is_nearest_to_the_best_of_each():
    points = [(0.0, 10.0), (1.0, 1.0), (10.0, 0.0), (5.0, 5.0)]
    assert [0, 1, 2] == front(points)
    assert 1 == knee([points[at] for at in front(points)])


def test_objectives_are_figures_of_the_summary():
    run = simulate(scenario((host("esx-1"), host("esx-2")), [vm("a", on="esx-1")]))
    assert 0.0 == objective_value(run.summary, Objective.MIGRATIONS)
    assert run.summary.imbalance.mean == objective_value(run.summary, Objective.IMBALANCE)
    assert 0.0 == objective_value(run.summary, Objective.UNMET)
    assert 0.0 == objective_value(run.summary, Objective.SENT_BYTES)
    assert 0.0 == objective_value(run.summary, Objective.DOWNTIME_S)
    assert math.isnan(objective_value(run.summary, Objective.ENERGY_KWH))


def test_the_downtime_of_a_policy_is_what_all_guests_together_stood_still():
    made = scenario(
        (host("esx-1"), host("esx-2")),
        [vm("a", on="esx-1"), vm("b", on="esx-1")],
        events=[migrate(5.0, "a", "esx-2"), migrate(9.0, "b", "esx-2")],
    )
    run = simulate(made)
    downtimes_s = [row.downtime_s for row in run.migrations]
    assert 2 == len(downtimes_s)
    assert objective_value(run.summary, Objective.DOWNTIME_S) == pytest.approx(sum(downtimes_s))
