"""Hosts are laid over Ray nodes as the strategy says, and what does not fit is said before the start."""

from cluster.inventory.model import MIB, Placement
from cluster.policy.messages import LinksMeasured, Record
from cluster.policy.nodes import HOST_PROCESS_BYTES, VM_PROCESS_BYTES, NodeFacts, plan_hosts
from tests.policy.building import Hand, host, scenario, vm

HOSTS = [host(name) for name in "abcdef"]


def node(number, memory_mib=4096, **labels):
    return NodeFacts(
        id=f"n{number}",
        address=f"10.0.0.{number}",
        memory_bytes=memory_mib * MIB,
        labels=tuple(sorted(labels.items())),
    )


THREE = [node(1), node(2), node(3)]


def counts(plan):
    return sorted(list(plan.nodes.values()).count(f"n{i}") for i in (1, 2, 3))


def test_spread_gives_each_node_as_many_hosts():
    plan = plan_hosts(HOSTS, [], THREE, strategy=Placement.SPREAD)
    assert () == plan.problems
    assert [2, 2, 2] == counts(plan)


def test_pack_fills_a_node_while_it_holds():
    assert [0, 0, 6] == counts(plan_hosts(HOSTS, [], THREE, strategy=Placement.PACK))
    small = [node(i, memory_mib=HOST_PROCESS_BYTES // MIB * 2) for i in (1, 2, 3)]
    assert [2, 2, 2] == counts(plan_hosts(HOSTS, [], small, strategy=Placement.PACK))


def test_a_host_goes_where_its_labels_are():
    hosts = [host("a", node_labels=(("rack", "r2"),)), host("b")]
    nodes = [node(1, rack="r1"), node(2, rack="r2")]
    assert {"a": "n2", "b": "n1"} == plan_hosts(hosts, [], nodes, strategy=Placement.SPREAD).nodes


def test_a_label_that_no_node_has_is_said_with_what_would_help():
    hosts = [host("a", node_labels=(("rack", "r9"),))]
    (problem,) = plan_hosts(hosts, [], [node(1, rack="r1")], strategy=Placement.SPREAD).problems
    assert "a needs a Ray node with rack=r9" in problem
    assert "rack=r1" in problem
    assert "ray start --labels=rack=r9" in problem


def test_what_a_node_cannot_hold_is_said_with_how_much_is_missing():
    need = (256 * MIB + VM_PROCESS_BYTES + HOST_PROCESS_BYTES) // MIB
    hosts, vms = [host("a")], [vm("v", "a")]
    fits = plan_hosts(hosts, vms, [node(1, memory_mib=need)], strategy=Placement.SPREAD)
    (problem,) = plan_hosts(
        hosts, vms, [node(1, memory_mib=need - 1)], strategy=Placement.SPREAD
    ).problems
    assert {"a": "n1"} == fits.nodes
    assert f"a needs {need} MiB" in problem
    assert f"10.0.0.1, has {need - 1} MiB" in problem


def test_the_processes_that_stand_by_need_their_place_too():
    need = (3 * VM_PROCESS_BYTES + HOST_PROCESS_BYTES) // MIB
    nodes = [node(1, memory_mib=need)]
    holds = [
        plan_hosts([host("a")], [], nodes, strategy=Placement.SPREAD, standby_processes=n)
        for n in (3, 4)
    ]
    assert [(), 1] == [holds[0].problems, len(holds[1].problems)]


def test_vms_that_drs_will_place_need_room_somewhere():
    (problem,) = plan_hosts(
        [host("a")], [vm("v"), vm("w")], [node(1, memory_mib=512)], strategy=Placement.SPREAD
    ).problems
    assert "VMs without a host need 640 MiB" in problem


def test_what_was_measured_between_nodes_is_what_is_expected_between_their_hosts():
    hand = Hand(scenario([host("a"), host("b"), host("c")], [vm("v", "a")])).up()
    assert hand.state.line_rate("a", "b") is None
    nodes = (("a", "n1"), ("b", "n2"), ("c", "n1"))
    hand.send(LinksMeasured(nodes=nodes, rates=(("n1", "n2", 1e8), ("n2", "n1", 9e7))))
    assert 1e8 == hand.state.line_rate("a", "b")
    assert 9e7 == hand.state.line_rate("b", "c")
    assert hand.state.line_rate("a", "c") is None
    assert 9e7 == hand.state.links.slowest


def test_a_network_far_below_gigabit_is_a_problem_of_preflight():
    hand = Hand(scenario([host("a"), host("b")], [vm("v", "a")])).up()
    nodes = (("a", "n1"), ("b", "n2"))
    hand.send(LinksMeasured(nodes=nodes, rates=(("n1", "n2", 1.2e7),)))
    said = [c.text for c in hand.request("v", "b") if isinstance(c, Record)]
    assert any("the network between a and b carries 96 Mbit/s" in text for text in said)
