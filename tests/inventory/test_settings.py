"""Keys of a scenario file set from outside, as a sweep sets them."""

import pytest

from cluster.inventory.problems import Findings
from cluster.inventory.scenario import ScenarioProblems, loads
from cluster.inventory.settings import with_settings


@pytest.fixture
def read(tmp_path):
    def read_text(text, settings):
        return loads(text, file="test.toml", directory=tmp_path, settings=settings)

    return read_text


def test_a_key_that_the_file_has_is_set_in_every_table_of_its_kind(read, right):
    scenario = read(right, {"host.count": 3, "vm.memory_mib": 32, "scenario.seed": 7})
    assert (3, {32}, 7) == (
        len(scenario.hosts),
        {vm.memory_mib for vm in scenario.vms},
        scenario.seed,
    )


def test_a_key_of_a_table_that_the_file_does_not_have_is_set_besides(read, right):
    assert 5 == read(right, {"drs.threshold": 5}).drs.threshold


def test_a_name_after_the_table_means_that_one_alone(read, right):
    text = right + '[[vm]]\nname = "db"\nmemory_mib = 64\ncpu_mhz = 1\ndemand = 1\n'
    scenario = read(text, {"vm.db.count": 2})
    assert ["web-1", "web-2", "web-3", "db-1", "db-2"] == [vm.name for vm in scenario.vms]


def test_a_name_with_dots_is_a_name_too(read, right):
    text = right.replace('"web"', '"web.lab"')
    assert 1 == len(read(text, {"vm.web.lab.count": 1}).vms)


def test_of_two_names_that_fit_the_longer_is_meant():
    document = {"vm": [{"name": "web"}, {"name": "web.lab"}]}
    assert {"vm": [{"name": "web"}, {"name": "web.lab", "count": 2}]} == with_settings(
        document, {"vm.web.lab.count": 2}, Findings()
    )


def test_a_text_gives_way_to_the_table_whose_key_is_set(read, right):
    text = right.replace("count = 2", 'count = 2\nnic = "1GbE"')
    hosts = read(text, {"host.nic.rate_mbit_s": 100}).hosts
    assert {12.5e6} == {host.nic.rate_bytes_per_second for host in hosts}


def test_what_is_set_is_judged_like_what_is_written(read, right):
    with pytest.raises(ScenarioProblems, match=r"drs\.threshold.*at most 5"):
        read(right, {"drs.threshold": 6})
    with pytest.raises(ScenarioProblems, match=r"drs\.treshold.*did you mean threshold"):
        read(right, {"drs.treshold": 3})


def test_where_the_file_has_no_table_there_is_none_to_set_a_key_in(read, right):
    with pytest.raises(ScenarioProblems, match=r"drs: is no table; a table to set drs\.threshold"):
        read(f"drs = 3\n{right}", {"drs.threshold": 5})
