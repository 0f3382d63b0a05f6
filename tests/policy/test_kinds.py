"""What is alike to the checks of configuration is one kind, and is found again."""

from dataclasses import replace

from cluster.inventory.switches import KernelPort, VirtualSwitch
from cluster.policy.kinds import Kinds, host_kind, vm_kind
from tests.policy.building import host, vm


def test_vms_that_differ_in_name_and_load_alone_are_one_kind():
    kinds = Kinds(vm_kind)
    assert [0, 0, 1] == kinds.numbers([vm("a"), vm("b"), vm("c", memory_mib=512)]).tolist()
    assert 2 == len(kinds.found)


def test_a_vm_that_is_configured_anew_is_looked_at_anew():
    kinds = Kinds(vm_kind)
    spec = vm("a")
    larger = replace(spec, memory_mib=512)
    assert [0, 1, 0] == [int(kinds.numbers([one])[0]) for one in (spec, larger, spec)]


def test_hosts_whose_ports_are_in_one_subnet_are_one_kind():
    def at(address):
        port = KernelPort(label="VMotion", ip_address=address, subnet_mask="255.255.255.0")
        switch = VirtualSwitch(name="vSwitch0", nics=("vmnic0",), kernel_ports=(port,))
        return host(f"at {address}", switches=(switch,))

    hosts = [at("10.0.0.1"), at("10.0.0.2"), at("10.0.1.1"), at("nowhere")]
    assert [0, 0, 1, 2] == Kinds(host_kind).numbers(hosts).tolist()
