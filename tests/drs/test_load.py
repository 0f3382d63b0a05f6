"""Load, imbalance, priority: the arithmetic by hand."""

import math

import numpy as np
import pytest

from drs import HostState, Policy, Snapshot
from drs.load import entitlement, happiness, imbalance, imbalance_target, priority


def cluster(demand, placement, **more):
    return Snapshot.build(
        [f"h{i}" for i in range(max(placement) + 1)],
        [f"v{i}" for i in range(len(demand))],
        [10.0],
        [[d] for d in demand],
        placement,
        resources=("cpu_mhz",),
        **more,
    )


def test_imbalance_is_the_standard_deviation_of_normalised_load():
    """Loads 0.8 and 0.2: mean 0.5, deviation 0.3."""
    assert imbalance(cluster([5, 3, 2], [0, 0, 1]), Policy()) == pytest.approx(0.3)


def test_resources_are_combined_by_their_quadratic_mean():
    """CPU 0.6/0.2 (0.2), memory 0.5/0.5 (0): sqrt(0.5 * 0.04) = 0.1414; memory not counted: 0.2."""
    snapshot = Snapshot.build(["a", "b"], ["x", "y"], [10, 10], [[6, 5], [2, 5]], [0, 1])
    assert imbalance(snapshot, Policy()) == pytest.approx(0.2 / math.sqrt(2))
    assert imbalance(snapshot, Policy(weights={"cpu_mhz": 1.0})) == pytest.approx(0.2)


def test_weights_of_resources_that_are_not_there_count_all_alike():
    snapshot = Snapshot.build(["a", "b"], ["x", "y"], [10, 10], [[6, 5], [2, 5]], [0, 1])
    assert imbalance(snapshot, Policy()) == imbalance(snapshot, Policy(weights={"disk": 1.0}))


def test_a_host_in_standby_does_not_count():
    snapshot = cluster(
        [5, 5, 0], [0, 1, 2], host_states=[HostState.CONNECTED] * 2 + [HostState.STANDBY]
    )
    assert imbalance(snapshot, Policy()) == 0.0


@pytest.mark.parametrize(
    ("imbalance_before", "hosts", "expected"),
    [(0.12, 4, 3), (0.1, 4, 4), (0.05, 4, 5), (0.5, 4, 2), (0.0, 4, 5), (0.025, 64, 4)],
)
def test_priority_follows_the_published_formula(imbalance_before, hosts, expected):
    """6 - ceil(I / 0.1 * sqrt(n)): 0.12 on 4 hosts is 6 - ceil(2.4) = 3; 0.5 would be -4, held at 2."""
    assert expected == priority(imbalance_before, hosts)


def test_the_target_is_where_no_recommendation_of_the_threshold_is_left():
    """Threshold 3 on 16 hosts: 0.2 / 4 = 0.05, and 0.05 is priority 4."""
    assert imbalance_target(3, 16) == pytest.approx(0.05)
    for threshold in (2, 3, 4):
        for hosts in (2, 7, 64):
            target = imbalance_target(threshold, hosts)
            assert threshold < priority(target, hosts)
            assert threshold >= priority(target * 1.01, hosts)
    assert imbalance_target(1, 16) == math.inf
    assert imbalance_target(5, 16) == 0.0


def test_under_contention_of_the_cluster_entitlement_follows_shares():
    """20 units for demands 15 and 15 with shares 3:1: 15 and 5."""
    snapshot = cluster([15, 15], [0, 1], shares=[[3], [1]])
    assert pytest.approx([15, 5]) == entitlement(snapshot)[:, 0]


def test_happiness_is_the_share_of_entitlement_served():
    """Host 0 (10) holds 8 + 8: each gets 5 of 8; host 1 serves all; v3 is not placed."""
    snapshot = Snapshot.build(
        ["h0", "h1"],
        ["v0", "v1", "v2", "v3"],
        [10],
        [[8], [8], [2], [1]],
        [0, 0, 1, None],
        resources=("cpu_mhz",),
    )
    score = happiness(snapshot)
    assert pytest.approx([0.625, 0.625, 1.0]) == score[:3]
    assert np.isnan(score[3])
