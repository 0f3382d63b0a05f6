"""Sweeps: what is varied, in which combinations, and one table of what comes of it."""

import pytest

from cluster.inventory.problems import Findings
from cluster.inventory.settings import with_settings
from cluster.simulation.sweeps import (
    BadSweep,
    columns,
    combinations,
    flat,
    read_varied,
    settings_of,
)


def test_every_combination_comes_once_the_last_changing_fastest():
    varied = read_varied(["hosts=2..3", "migration.mode=precopy,hybrid"], seeds=1)
    every = list(combinations(varied))
    assert [(2, "precopy"), (2, "hybrid"), (3, "precopy"), (3, "hybrid")] == [
        tuple(one.values()) for one in every
    ]
    assert {"host.count": 3, "migration.mode": "hybrid"} == settings_of(varied, every[-1])


def test_everything_that_is_wrong_is_told_at_once():
    texts = ["hosts=", "vms=9..2", "threshold=1", "drs.threshold=1,2", "drs.threshold=3"]
    with pytest.raises(BadSweep) as found:
        read_varied(texts, seeds=1)
    assert 4 == len(found.value.problems)
    with pytest.raises(BadSweep, match="at most 10000"):
        read_varied(["hosts=1..101", "vms=1..100"], seeds=1)


def test_a_key_is_set_in_every_table_or_in_the_one_that_is_named():
    document = {"vm": [{"name": "web", "count": 1}, {"name": "db", "nic": "1GbE"}]}
    findings = Findings()
    settings = {"vm.count": 2, "vm.web.count": 5, "vm.db.nic.rate_mbit_s": 100, "drs.threshold": 1}
    found = with_settings(document, settings, findings)
    assert {
        "vm": [
            {"name": "web", "count": 5},
            {"name": "db", "count": 2, "nic": {"rate_mbit_s": 100}},
        ],
        "drs": {"threshold": 1},
    } == found
    assert {"vm": [{"name": "web", "count": 1}, {"name": "db", "nic": "1GbE"}]} == document


def test_a_summary_is_one_row_and_what_a_run_does_not_know_is_none():
    rows = [
        {"nic": 1, **flat({"downtime_s": None, "sent": 1})},
        {"nic": "1GbE", **flat({"downtime_s": {"p50": 0.5}, "sent": 1.5})},
    ]
    assert {
        "nic": ["1", "1GbE"],
        "sent": [1.0, 1.5],
        "downtime_s.p50": [None, 0.5],
    } == columns(rows)
