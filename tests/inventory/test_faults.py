"""The [faults] table, and rates of faults that cannot be."""

import math

import pytest

from cluster.inventory.faults import NO_FAULTS, Faults
from cluster.inventory.scenario import loads


def test_faults_do_not_end_unless_it_is_said(tmp_path, right):
    def read(text):
        return loads(right + text, file="a.toml", directory=tmp_path).faults

    assert NO_FAULTS == read("")
    assert Faults(lose=0.5, until_s=math.inf) == read("[faults]\nlose = 0.5\n")
    assert Faults(lose=0.5, until_s=30.0) == read("[faults]\nlose = 0.5\nuntil_s = 30\n")


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ("until_s = 61", "until_s", "past the end of the run at 60 s"),
        ("host_repair_s = 5", "host_repair_s", "means nothing without host_mtbf_s"),
        ("lose = 1.5", "lose", "at most 1"),
    ],
)
def test_a_mistake_in_the_table_is_one_problem(problems_of, right, keys, key, says):
    (problem,) = problems_of(f"{right}[faults]\n{keys}\n")
    assert f"faults.{key}" == problem.key
    assert says in problem.wrong or says in problem.right


def test_all_rates_that_cannot_be_are_told_at_once():
    assert () == NO_FAULTS.problems()
    assert (
        "lose must be a chance from 0 to 1, is 1.5",
        "cancel must be a chance from 0 to 1, is -0.1",
        "delay_s_max must be positive, is 0",
        "host_mtbf_s must be positive, is nan",
    ) == Faults(lose=1.5, cancel=-0.1, delay_s_max=0, host_mtbf_s=math.nan).problems()
