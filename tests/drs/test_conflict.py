"""Why mandatory things cannot hold together: every kind of rule can be a part of it."""

import pytest

from drs import (
    Affinity,
    AntiAffinity,
    DomainSpread,
    HostState,
    Policy,
    Snapshot,
    Strength,
    VmHostAffinity,
    VmHostAntiAffinity,
)
from drs.conflict import explain_conflict


def cluster(hosts, vms, rules=(), size=1, **more):
    return Snapshot.build(
        [f"h{i}" for i in range(hosts)],
        [f"v{i}" for i in range(vms)],
        [10, 10],
        [[size, size]] * vms,
        more.pop("placement", [0] * vms),
        rules=rules,
        **more,
    )


def explained(snapshot):
    return explain_conflict(snapshot, Policy())


PIN_0 = VmHostAffinity(name="pin-0", vms=("v0",), hosts=("h0",))
PIN_1 = VmHostAffinity(name="pin-1", vms=("v1",), hosts=("h1",))


@pytest.mark.parametrize(
    "rules",
    [
        [Affinity(name="both", vms=("v0", "v1")), PIN_0, PIN_1],
        [
            AntiAffinity(name="apart", vms=("v0", "v1")),
            PIN_0,
            VmHostAffinity(name="pin-1", vms=("v1",), hosts=("h0",)),
        ],
        [
            DomainSpread(
                name="sites", vms=("v0", "v1"), domains={"h0": "east", "h1": "east", "h2": "west"}
            ),
            PIN_0,
            PIN_1,
        ],
        [
            AntiAffinity(name="apart", vms=("v0", "v1")),
            VmHostAntiAffinity(name="off-0", vms=("v0",), hosts=("h1", "h2")),
            VmHostAntiAffinity(name="off-1", vms=("v1",), hosts=("h1", "h2")),
        ],
    ],
    ids=["together", "apart", "domains", "off"],
)
def test_rules_that_cannot_all_hold_are_named_all_of_them_and_no_other(rules):
    beside = VmHostAntiAffinity(name="beside", vms=("v2",), hosts=("h0",))
    conflict = explained(cluster(3, 3, [*rules, beside]))
    assert {rule.name for rule in rules} == set(conflict.rules)
    assert ((), False) == (conflict.capacities, conflict.allowed)


def test_where_a_vm_is_allowed_can_be_a_part_of_it():
    off = VmHostAntiAffinity(name="off", vms=("v0",), hosts=("h0",))
    conflict = explained(cluster(2, 1, [off], allowed=[[True, False]]))
    assert "These cannot hold together: rule off, where VMs are allowed." == conflict.sentence()


def test_a_capacity_alone_can_be_too_small():
    conflict = explained(cluster(2, 3, size=7))
    assert ((), 1, False) == (conflict.rules, len(conflict.capacities), conflict.allowed)


def test_a_rule_that_should_hold_and_a_host_that_takes_no_vms_are_no_part_of_it():
    rules = [AntiAffinity(name="apart", vms=("v0", "v1"), strength=Strength.SHOULD)]
    states = [HostState.CONNECTED, HostState.MAINTENANCE]
    assert explained(cluster(2, 2, rules, host_states=states)) is None


def test_of_vms_that_are_not_placed_nothing_is_asked():
    assert explained(cluster(1, 2, size=11, placement=[None, None])) is None
    assert explained(cluster(1, 2, size=11, placement=[0, None])) is not None


def test_a_cluster_that_is_too_large_is_not_asked_about():
    """No VM fits, as above, but on one host there are as many pairs as VMs."""
    assert explained(cluster(1, 20_001, size=11)) is None
