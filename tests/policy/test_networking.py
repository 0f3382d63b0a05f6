"""Configuring VMotion: what the form asks for, and what it refuses."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.inventory.model import Nic
from cluster.inventory.switches import KernelPort, PortGroup, VirtualSwitch
from cluster.policy.networking import VMotionSetup, configure, interface_of, vmotion_port
from tests.policy.building import host

SETUP = VMotionSetup(ip_address="10.0.0.1", subnet_mask="255.255.255.0", nic="vmnic1")
PRODUCTION = VirtualSwitch(
    name="vSwitch0",
    nics=("vmnic0",),
    port_groups=(PortGroup(label="Production", network="VM Network"),),
)
A = host("a", nic=Nic(name="vmnic0"), other_nics=("vmnic1", "vmnic2"), switches=(PRODUCTION,))


def configured(name: str, address: str, mask: str = "255.255.255.0"):
    """Another host that has VMotion."""
    port = KernelPort(label="VMotion", ip_address=address, subnet_mask=mask, vmotion=True)
    made = VirtualSwitch(name="vSwitch1", nics=("vmnic1",), kernel_ports=(port,))
    return replace(A, name=name, switches=(made,))


def checks(setup: VMotionSetup, on=A, others=()) -> list[str]:
    after, problems = configure(on, setup, others)
    if any(not problem.warning for problem in problems):
        assert on == after
    return [problem.check for problem in problems]


def test_a_new_switch_gets_a_card_of_its_own():
    after, problems = configure(A, SETUP, [configured("b", "10.0.0.2")])
    assert [] == problems
    made = after.switches[-1]
    assert ("vSwitch1", ("vmnic1",)) == (made.name, made.nics)
    port = vmotion_port(after)
    assert ("VMotion", "10.0.0.1/24") == (port.label, str(interface_of(port)))
    assert vmotion_port(A) is None


def test_an_existing_switch_may_be_used_with_a_warning():
    after, problems = configure(A, replace(SETUP, nic=None, switch="vSwitch0"), [])
    assert [("dedicated card", True)] == [(p.check, p.warning) for p in problems]
    assert 1 == len(after.switches)
    assert "VMotion" == vmotion_port(after).label


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"ip_address": None}, "ip address"),
        ({"ip_address": ""}, "ip address"),
        ({"subnet_mask": None}, "subnet mask"),
        ({"vlan_id": 0}, "vlan"),
        ({"vlan_id": 17}, "vlan"),
        ({"gateway": "10.0.0.254"}, "gateway"),
        ({"label": ""}, "label"),
        ({"label": "Production"}, "label"),
        ({"ip_address": "10.0.0.256"}, "ip address"),
        ({"ip_address": "ten"}, "ip address"),
        ({"subnet_mask": "255.0.255.0"}, "ip address"),
        ({"subnet_mask": "24"}, "ip address"),
        ({"ip_address": "10.0.0.0"}, "ip address"),
        ({"ip_address": "10.0.0.255"}, "ip address"),
        ({"nic": None}, "switch"),
        ({"nic": "vmnic9"}, "switch"),
        ({"nic": "vmnic0"}, "switch"),
        ({"nic": None, "switch": "vSwitch9"}, "switch"),
    ],
)
def test_what_the_form_refuses(fields, check):
    assert [check] == checks(replace(SETUP, **fields))


def test_a_card_and_an_existing_switch_contradict_each_other():
    assert "switch" in checks(replace(SETUP, switch="vSwitch0"))


def test_a_switch_without_a_card_reaches_nobody():
    on = replace(A, switches=(replace(PRODUCTION, nics=()),))
    assert ["switch"] == checks(replace(SETUP, nic=None, switch="vSwitch0"), on)


def test_a_host_uses_one_port_group_for_vmotion():
    once, _ = configure(A, SETUP, [])
    again = replace(SETUP, nic="vmnic2", label="VMotion 2", ip_address="10.0.0.9")
    assert ["vmotion port"] == checks(again, once)
    assert [] == checks(replace(again, vmotion=False), once)


def test_an_address_belongs_to_one_host():
    assert ["ip address"] == checks(SETUP, others=[configured("b", "10.0.0.1")])


def test_all_hosts_are_in_one_subnet():
    assert ["subnet"] == checks(SETUP, others=[configured("b", "10.0.1.2")])
    assert ["subnet"] == checks(SETUP, others=[configured("b", "10.0.0.2", "255.255.0.0")])


def test_all_that_is_wrong_is_said_at_once():
    setup = VMotionSetup(ip_address=None, subnet_mask=None, vlan_id=1, gateway="10.0.0.254")
    assert ["ip address", "subnet mask", "vlan", "gateway", "switch"] == checks(setup)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_answered(address, mask):
    checks(replace(SETUP, ip_address=address, subnet_mask=mask))
