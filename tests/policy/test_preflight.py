"""Each check alone finds exactly its own problem; all broken together are all found."""

from dataclasses import replace
from itertools import product

import pytest

from cluster.inventory.model import Mode, Nic, Profile
from cluster.inventory.switches import KernelPort, PortGroup, VirtualSwitch
from cluster.policy.preflight import CHECKS, admissible, ask
from cluster.policy.question import HostFacts, Moment, Question
from cluster.policy.usage import Usage
from tests.policy.building import Hand, host, scenario, vm

VI3, VSPHERE = Profile.VI3, Profile.VSPHERE


def switch(label: str, *, nics: tuple[str, ...] = ("vmnic1",)) -> VirtualSwitch:
    """VMs on their network behind a label."""
    return VirtualSwitch(
        name="vSwitch0",
        nics=nics,
        port_groups=(PortGroup(label=label, network="VM Network"),),
    )


def vmotion(address: str) -> VirtualSwitch:
    port = KernelPort(
        label="VMotion", ip_address=address, subnet_mask="255.255.255.0", vmotion=True
    )
    return VirtualSwitch(name="vSwitch1", nics=("vmnic0",), kernel_ports=(port,))


FACTS = HostFacts(
    state="connected", answers=True, takes_vms=True, unlicensed="", serves_faults=True
)


def good(profile: Profile) -> Question:
    """Everything is as the how-to wants it, or as VMware does."""
    other = "Production" if profile is VSPHERE else "Production 2"
    described = {"other_nics": ("vmnic1",), "nic": Nic(rate_bytes_per_second=1.25e8)}
    return Question(
        vm=vm("v"),
        source=host("a", switches=(switch("Production"), vmotion("10.0.0.1")), **described),
        destination=host("b", switches=(switch(other), vmotion("10.0.0.2")), **described),
        profile=profile,
        moment=Moment(source=FACTS, destination=FACTS, free_mib=1024, free_reserved_mhz=1000.0),
    )


def of_vm(**fields):
    return lambda q: replace(q, vm=replace(q.vm, **fields))


def of_source(**fields):
    return lambda q: replace(q, source=replace(q.source, **fields))


def of_destination(**fields):
    return lambda q: replace(q, destination=replace(q.destination, **fields))


def of_moment(**fields):
    return lambda q: replace(q, moment=replace(q.moment, **fields))


def of_end(end: str, **fields):
    """What a host is at the moment."""
    return lambda q: of_moment(**{end: replace(getattr(q.moment, end), **fields)})(q)


def internal(q: Question) -> Question:
    source = q.source
    switches = (replace(source.switches[0], nics=()), source.switches[1])
    return replace(q, source=replace(source, switches=switches))


def label(q: Question) -> Question:
    """The reverse of what the profile asks for."""
    name = "Production" if q.profile is VI3 else "Elsewhere"
    switches = (switch(name), *q.destination.switches[1:])
    return replace(q, destination=replace(q.destination, switches=switches))


def no_port(q: Question) -> Question:
    return replace(q, destination=replace(q.destination, switches=q.destination.switches[:1]))


NINE = {
    1: of_vm(local_devices=("CD/DVD drive 1",)),
    2: internal,
    3: of_vm(cpu_affinity=(0, 1)),
    4: of_vm(clustered=True),
    5: of_vm(swap_datastore="local-a"),
    6: of_vm(datastore="san-2"),
    7: of_destination(cpu_family="other"),
    8: label,
    9: no_port,
}
NUMBERS = {check.name: check.condition for check in CHECKS}

OTHERS = {
    "network": of_destination(networks=()),
    "gigabit": of_source(nic=Nic(rate_bytes_per_second=1.25e7)),
    "vmotion enabled": of_destination(vmotion=False),
    "licence": of_end("source", unlicensed="a is not licensed for VMotion"),
    "esx licence": of_end("destination", may_not_run="b is not licensed for ESX Server"),
    "host state": of_end("destination", takes_vms=False, state="entering maintenance mode"),
    "size": of_vm(memory_mib=2048),
    "capacity": of_moment(free_mib=255),
    "rule": of_moment(broken_rules=("v, w are together on b; at most 1 may be",)),
    "stun limit": lambda q: of_vm(stun_s_max=0.02)(of_moment(stun_s=0.03)(q)),
    "tracker": lambda q: of_end("source", serves_faults=False)(of_moment(mode=Mode.POSTCOPY)(q)),
}


def names(question: Question) -> list[str]:
    return [problem.check for problem in ask(question)]


@pytest.mark.parametrize("profile", [VI3, VSPHERE])
def test_nothing_broken_is_admitted(profile):
    assert [] == ask(good(profile))


@pytest.mark.parametrize(("profile", "condition"), list(product([VI3, VSPHERE], NINE)))
def test_each_of_the_nine_alone_is_refused_with_its_own_problem(profile, condition):
    (problem,) = ask(NINE[condition](good(profile)))
    assert condition == NUMBERS[problem.check]
    assert problem.lasting
    assert problem.cure


@pytest.mark.parametrize("profile", [VI3, VSPHERE])
def test_all_nine_together_are_all_said(profile):
    question = good(profile)
    for break_it in NINE.values():
        question = break_it(question)
    assert list(range(1, 10)) == [NUMBERS[name] for name in names(question)]


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_check_alone_is_refused_with_its_own_problem(name):
    assert [name] == names(OTHERS[name](good(VI3)))


def test_everything_broken_is_all_said():
    question = good(VI3)
    for break_it in (*NINE.values(), *OTHERS.values()):
        question = break_it(question)
    # A network that the destination lacks has no label there, and what exceeds the
    # whole host is not also short of room.
    silent = {"labels", "capacity"}
    assert [check.name for check in CHECKS if check.name not in silent] == sorted(
        set(names(question)), key=[check.name for check in CHECKS].index
    )


def test_every_check_is_in_the_table_and_tested():
    assert {check.name for check in CHECKS if check.condition is None} == set(OTHERS)
    assert set(range(1, 10)) == {check.condition for check in CHECKS} - {None}
    assert len(CHECKS) == len({check.name for check in CHECKS})


def test_powering_on_asks_only_what_matters_there():
    question = replace(good(VI3), source=None)
    for break_it in (NINE[1], NINE[3], NINE[4], NINE[5], NINE[7], NINE[9], OTHERS["licence"]):
        question = break_it(question) if question.source is not None else question
    question = replace(
        question,
        vm=replace(question.vm, cpu_affinity=(0,), clustered=True),
        moment=replace(question.moment, source=None),
    )
    assert [] == ask(question)
    assert ["datastore"] == names(NINE[6](question))
    assert ["capacity"] == names(OTHERS["capacity"](question))


def test_only_what_waiting_may_cure_is_not_lasting():
    assert {"capacity", "rule", "stun limit"} == {
        check.name for check in CHECKS if not check.lasting
    }


def test_without_a_moment_only_configuration_is_judged():
    question = replace(OTHERS["capacity"](good(VI3)), moment=None)
    assert [] == ask(question)
    assert ["datastore"] == names(NINE[6](question))


# CPUs.


@pytest.mark.parametrize(
    ("source", "destination", "masked", "evc", "profile", "lacking"),
    [
        (("sse3",), ("sse3", "sse4"), (), None, VI3, False),
        (("sse3", "sse4"), ("sse3",), (), None, VI3, True),
        (("sse3", "sse4"), ("sse3",), ("sse4",), None, VI3, False),
        (("sse3", "sse4"), ("sse3",), (), ("sse3",), VI3, True),
        (("sse3", "sse4"), ("sse3",), (), ("sse3",), VSPHERE, False),
        (("sse3", "sse4"), ("sse4",), (), ("sse3",), VSPHERE, True),
        (("sse3", "sse4"), (), (), (), VSPHERE, False),
    ],
)
def test_a_guest_keeps_the_features_it_has_seen(source, destination, masked, evc, profile, lacking):
    question = of_source(cpu_features=source)(good(profile))
    question = of_destination(cpu_features=destination)(question)
    question = replace(of_vm(masked_features=masked)(question), evc_features=evc)
    assert (["cpu"] if lacking else []) == names(question)


# Networks.


def test_hosts_whose_switches_are_not_described_have_no_labels_to_compare():
    question = of_source(switches=())(good(VI3))
    assert [] == ask(question)


@pytest.mark.parametrize("profile", [VI3, VSPHERE])
def test_the_physical_network_needs_a_port_group_at_the_destination(profile):
    q = good(profile)
    question = of_destination(switches=q.destination.switches[1:])(q)
    assert ["b has no port group on VM Network"] == [problem.text for problem in ask(question)]


def test_vmotion_addresses_are_in_one_subnet():
    q = good(VI3)
    question = of_destination(switches=(q.destination.switches[0], vmotion("10.0.1.2")))(q)
    (problem,) = ask(question)
    assert "VMotion of a is in 10.0.0.0/24, of b in 10.0.1.0/24" == problem.text


def test_both_ends_of_everything_are_said():
    question = of_source(vmotion=False)(of_destination(vmotion=False)(good(VI3)))
    assert ["VMotion is off on a", "VMotion is off on b"] == [p.text for p in ask(question)]


def test_cpu_reservations_must_fit():
    question = of_vm(cpu_reservation_mhz=400.0)(of_moment(free_reserved_mhz=399.0)(good(VI3)))
    assert ["capacity"] == names(question)
    assert [] == ask(of_moment(free_reserved_mhz=400.0 - 1e-9)(question))
    assert ["size"] == names(of_vm(cpu_reservation_mhz=2000.0)(good(VI3)))


# How long a VM would be stunned.


@pytest.mark.parametrize(
    ("limit_s", "mode", "refused"),
    [
        (0.02, Mode.HYBRID, False),  # 10 ms of past switchovers, and the bitmap
        (0.005, Mode.HYBRID, True),
        (0.02, Mode.PRECOPY, True),  # may take the 50 ms that the cluster allows
        (0.06, Mode.PRECOPY, False),
        (None, Mode.PRECOPY, False),
    ],
)
def test_a_vm_says_for_how_long_it_may_be_stunned(limit_s, mode, refused):
    hand = Hand(scenario("ab", [vm("v", "a", stun_s_max=limit_s)])).up()
    problems = admissible(hand.state, hand.state.vms["v"], "b", Usage(hand.state), mode=mode)
    assert (["stun limit"] if refused else []) == [problem.check for problem in problems]
