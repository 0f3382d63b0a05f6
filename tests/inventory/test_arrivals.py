"""VMs that come and go while a scenario runs."""

import pytest

from cluster.inventory.model import TimedKind
from cluster.inventory.scenario import loads


@pytest.fixture
def read(tmp_path, right):
    def read_with(keys):
        text = right.replace("demand = 500\n", f"demand = 500\n{keys}\n")
        return loads(text, file="test.toml", directory=tmp_path)

    return read_with


def test_vms_that_arrive_are_not_powered_on_with_the_cluster(read):
    scenario = read("arrives_s = [10, 20]")
    assert {"web-1", "web-2", "web-3"} == scenario.arriving
    assert all(10 <= event.at_s <= 20 for event in scenario.events)
    assert [TimedKind.POWER_ON] * 3 == [event.kind for event in scenario.events]
    assert frozenset() == read("").arriving


def test_a_vm_leaves_so_long_after_it_came_and_not_after_the_end(read):
    left = [(event.kind, event.at_s) for event in read("arrives_s = 10\nstays_s = 30").events]
    assert [(TimedKind.POWER_ON, 10.0)] * 3 + [(TimedKind.POWER_OFF, 40.0)] * 3 == left
    assert {TimedKind.POWER_ON} == {
        event.kind for event in read("arrives_s = 10\nstays_s = 50").events
    }


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ("arrives_s = [20, 10]", "arrives_s", "from 20 to 10 is backwards"),
        ("stays_s = [2, 1]", "stays_s", "from 2 to 1 is backwards"),
        ("arrives_s = [10, 60]", "arrives_s", "60 s is not before the end of the run at 60 s"),
        ("arrives_s = 5\nclients = {}", "clients", "this VM arrives later"),
    ],
)
def test_times_that_cannot_be_are_one_problem(problems_of, right, keys, key, says):
    (problem,) = problems_of(right.replace("demand = 500", f"demand = 500\n{keys}"))
    assert f"vm.web.{key}" == problem.key
    assert says in problem.wrong
