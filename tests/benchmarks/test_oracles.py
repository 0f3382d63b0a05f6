"""The oracles of live faults find what they are for."""

import socket
import time

import numpy as np
import pytest
from faults import table, with_table
from register import Register, Runs
from reporting_guest import Reporting, edges
from soak import Sample, grown

from cluster.guests.base import Budget
from cluster.guests.memory_map import bind, make_guest

BUDGET = Budget(seconds=0.005, cycles=5.0, demand_mhz=1000.0)


def test_a_process_that_is_heard_of_again_was_a_second_runner():
    runs = Runs()
    for pid in (1, 1, 2, 2, 3):
        runs.heard(pid)
    assert ([1, 2, 3], []) == (runs.pids, runs.again)
    runs.heard(2)
    assert [2] == runs.again


def test_the_register_hears_what_guests_say():
    with Register() as register:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for text in ("vm 1", "other 9", "vm 2", "vm 1", "nonsense"):
            line.sendto(text.encode(), ("127.0.0.1", register.port))
        line.close()
        end = time.monotonic() + 30.0
        while sum(runs.reports for runs in register.runs().values()) < 4:
            assert time.monotonic() < end, "datagrams do not arrive"
        assert ["vm"] == register.two_runners()
        assert [9] == register.runs()["other"].pids


def guest():
    memory = np.zeros(4 << 20, dtype=np.uint8)
    made = make_guest(Reporting, {"ramp_mib": 1}, vm_memory_bytes=memory.nbytes, seed=1)
    bind(made, memory)
    made.start()
    return made


@pytest.mark.parametrize("steps", [0, 1, 7, 8, 9, 100, 3000])
def test_a_ramp_has_one_edge_at_most_and_is_replayed(steps):
    one, again = guest(), guest()
    for _ in range(steps):
        one.step(BUDGET)
    again.steps = one.steps
    again.replay([])
    assert edges(one.ramp[:, 0]) <= 1
    assert np.array_equal(one.ramp, again.ramp)


def test_a_page_that_is_lost_makes_another_edge():
    one = guest()
    for _ in range(100):
        one.step(BUDGET)
    one.ramp[200, 0] -= 1
    assert edges(one.ramp[:, 0]) > 1


def samples(**last):
    base = {
        "rss_bytes": 1 << 30,
        "fds": 500,
        "shm_bytes": 1 << 28,
        "threads": 300,
        "processes": 20,
        "objects_bytes": 0,
    }
    rows = [
        Sample(
            time_s=float(at),
            migrations=at,
            faults=at,
            **base,
        )
        for at in range(16)
    ]
    return [
        *rows,
        *(
            Sample(time_s=20.0 + at, migrations=20, faults=20, **{**base, **last})
            for at in range(4)
        ),
    ]


def test_a_soak_that_grows_is_told():
    assert all(claim.holds for claim in grown(samples()))
    told = [claim.claim for claim in grown(samples(fds=600)) if not claim.holds]
    assert ["fds at the end, less after the warm-up"] == told


def test_the_table_counts_what_was_injected_and_what_was_found():
    results = {
        "next_seed": 25,
        "simulated": {"F1": 1200},
        "live": {"F1": {"injections": 3, "violations": 1}},
        "next_live_seed": 4,
        "violations": ["x\nreplay: python -m cluster.simulation.injections F1 stunning 7"],
    }
    text = table(results)
    assert "| F1 | cancel, twice | 11 | 3 | 1,200 | 2 |" in text
    assert "seeds 0 to 24" in text
    assert with_table(
        "a <!-- matrix: made by python benchmarks/faults.py --table, not by hand -->x<!-- end of matrix -->z",
        results,
    ).endswith("-->z")
