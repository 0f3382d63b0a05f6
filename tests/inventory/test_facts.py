"""What a scenario file can say of licences, networks, devices, CPUs, HA and hosts' events."""

from datetime import date

import pytest

from cluster.inventory.licence_terms import Feature, Product
from cluster.inventory.licences import NO_LICENCES, LicenceSettings
from cluster.inventory.model import HaSettings, RestartPriority, Scenario, TimedEvent, TimedKind
from cluster.inventory.scenario import loads
from cluster.inventory.switches import KernelPort, PortGroup, VirtualSwitch

NETWORKS = """\
other_nics = ["vmnic1"]
[[host.switch]]
name = "vSwitch0"
nics = ["vmnic0"]
[[host.switch.port_group]]
label = "Production"
network = "VM Network"
[[host.switch]]
name = "vSwitch1"
nics = ["vmnic1"]
[[host.switch.kernel_port]]
label = "VMotion"
ip_address = "10.0.0.{}"
subnet_mask = "255.255.255.0"
vmotion = true
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text: str) -> Scenario:
        return loads(text, file="test.toml", directory=tmp_path)

    return read_text


def host_keys(right: str, keys: str) -> str:
    return right.replace("memory_mib = 1024\n", f"memory_mib = 1024\n{keys}\n")


def vm_keys(right: str, keys: str) -> str:
    return right.replace("demand = 500\n", f"demand = 500\n{keys}\n")


def test_each_host_of_a_group_has_its_own_address_on_its_switches(read, right):
    first, second = read(host_keys(right, NETWORKS)).hosts
    group = PortGroup(label="Production", network="VM Network")
    port = KernelPort(
        label="VMotion", ip_address="10.0.0.1", subnet_mask="255.255.255.0", vmotion=True
    )
    assert (
        VirtualSwitch(name="vSwitch0", nics=("vmnic0",), port_groups=(group,)),
        VirtualSwitch(name="vSwitch1", nics=("vmnic1",), kernel_ports=(port,)),
    ) == first.switches
    assert "10.0.0.2" == second.switches[1].kernel_ports[0].ip_address


def test_a_host_says_what_it_is_licensed_for_and_what_its_cpus_can(read, right):
    keys = (
        'features = ["esx", "vmotion"]\nsockets = 2\ncores_per_socket = 8\nvmotion = false\n'
        'cpu_features = ["sse4"]'
    )
    host = read(host_keys(right, keys)).hosts[0]
    assert (Feature.ESX, Feature.VMOTION) == host.features
    assert (2, 8, False, ("sse4",)) == (
        host.sockets,
        host.cores_per_socket,
        host.vmotion,
        host.cpu_features,
    )


def test_a_vm_says_what_keeps_it_where_it_is(read, right):
    keys = (
        'local_devices = ["CD/DVD drive 1"]\ncpu_affinity = [0, 1]\nclustered = true\n'
        'swap_datastore = "shared"\nmasked_features = ["sse4"]\nrestart_priority = "high"'
    )
    vm = read(vm_keys(right, keys)).vms[0]
    assert (("CD/DVD drive 1",), (0, 1), True, "shared", ("sse4",), RestartPriority.HIGH) == (
        vm.local_devices,
        vm.cpu_affinity,
        vm.clustered,
        vm.swap_datastore,
        vm.masked_features,
        vm.restart_priority,
    )


def test_ha_the_evc_baseline_and_licences_are_the_clusters(read, right):
    scenario = read(
        right.replace(
            "duration_s = 60", 'duration_s = 60\nprofile = "vsphere"\nevc_features = ["sse3"]'
        )
        + "[ha]\nenabled = true\nfailures_tolerated = 0\nisolation_s_max = 3\n"
        + "[licences]\nproducts = { enterprise = 2, virtualcenter = 1 }\nbegins = 2006-06-05\n"
    )
    assert ("sse3",) == scenario.evc_features
    assert HaSettings(enabled=True, failures_tolerated=0, isolation_s_max=3.0) == scenario.ha
    assert (
        LicenceSettings(
            products=((Product.ENTERPRISE, 2), (Product.VIRTUALCENTER, 1)), begins=date(2006, 6, 5)
        )
        == scenario.licences
    )
    assert NO_LICENCES == read(right).licences


def test_a_licence_file_is_read_with_the_key_of_its_vendor(read, right, tmp_path):
    (tmp_path / "lab.lic").write_text("VENDOR x\n")
    (tmp_path / "vendor.pub").write_text("ab" * 32 + "\n")
    licences = read(right + '[licences]\nfile = "lab.lic"\nvendor_key = "vendor.pub"\n').licences
    assert ("lab.lic", "VENDOR x\n", b"\xab" * 32) == (
        licences.file,
        licences.text,
        licences.vendor_key,
    )


def test_events_of_hosts_and_of_the_licence_server(read, right):
    events = """
[[event]]
at_s = 1
kind = "maintenance"
hosts = "esx-1"
wait = false
[[event]]
at_s = 2
kind = "end-maintenance"
hosts = "esx-*"
[[event]]
at_s = 3
kind = "host-failure"
hosts = ["esx-2"]
[[event]]
at_s = 4
kind = "licence-server-lost"
[[event]]
at_s = 5
kind = "licence-server-back"
"""
    assert (
        TimedEvent(at_s=1.0, kind=TimedKind.MAINTENANCE, hosts=("esx-1",), wait=False),
        TimedEvent(at_s=2.0, kind=TimedKind.END_MAINTENANCE, hosts=("esx-1", "esx-2")),
        TimedEvent(at_s=3.0, kind=TimedKind.HOST_FAILURE, hosts=("esx-2",)),
        TimedEvent(at_s=4.0, kind=TimedKind.LICENCE_SERVER_LOST),
        TimedEvent(at_s=5.0, kind=TimedKind.LICENCE_SERVER_BACK),
    ) == read(right + events).events


# Mistakes: the spoiled part, the key, and words of the message.
OF_HOSTS = {
    "unknown feature": ('features = ["vmotoin"]', "features[0]", "did you mean vmotion"),
    "card of a truth": ("nic = true", "nic", "unlimited"),
    "unusable fault domain": ('fault_domain = "a/b"', "fault_domain", "no usable name"),
    "no sockets": ("sockets = 0", "sockets", "at least 1"),
    "unknown card": (
        NETWORKS.replace('nics = ["vmnic0"]', 'nics = ["vmnic2"]'),
        "switch.vSwitch0.nics[0]",
        "no card",
    ),
    "card on two switches": (
        NETWORKS.replace('nics = ["vmnic1"]', 'nics = ["vmnic0"]'),
        "switch.vSwitch1.nics[0]",
        "another switch",
    ),
    "unusable label": (
        NETWORKS.replace('"Production"', '"Pro/duction"'),
        "switch.vSwitch0.port_group[0].label",
        "no usable name",
    ),
    "unknown network": (
        NETWORKS.replace('"VM Network"', '"VM Netwrk"'),
        "switch.vSwitch0.port_group[0].network",
        "did you mean VM Network",
    ),
    "one address for all": (
        NETWORKS.replace("10.0.0.{}", "10.0.0.1"),
        "switch.vSwitch1.kernel_port[0].ip_address",
        "2 hosts; {}",
    ),
    "no address": (
        NETWORKS.replace("10.0.0.{}", "10.0.{}"),
        "switch.vSwitch1.kernel_port[0].ip_address",
        "four numbers",
    ),
    "mask missing": (
        NETWORKS.replace("subnet_mask", "mask"),
        "switch.vSwitch1.kernel_port[0].subnet_mask",
        "is missing",
    ),
}


@pytest.mark.parametrize("case", OF_HOSTS)
def test_a_mistake_in_a_host_is_said_with_its_place_and_cure(problems_of, right, case):
    keys, key, words = OF_HOSTS[case]
    first = problems_of(host_keys(right, keys))[0]
    assert f"host.esx-{{}}.{key}" == first.key
    assert words in str(first)
    assert first.line is not None


def test_names_that_are_there_twice_are_both_said(problems_of, right):
    twice = problems_of(host_keys(right, NETWORKS.replace('"VMotion"', '"Production"')))
    assert 2 == len(twice)
    assert {'"Production" is there twice'} == {problem.wrong for problem in twice}


OF_THE_REST = {
    "unknown swap": (vm_keys, 'swap_datastore = "shard"', "vm.web.swap_datastore", "shared"),
    "negative CPU": (vm_keys, "cpu_affinity = [-1]", "vm.web.cpu_affinity[0]", "at least 0"),
    "priority": (vm_keys, 'restart_priority = "hihg"', "vm.web.restart_priority", "high"),
    "unknown product": (
        str.__add__,
        "[licences]\nproducts = { enterprse = 1 }",
        "licences.products.enterprse",
        "did you mean enterprise",
    ),
    "no licences": (
        str.__add__,
        "[licences]\nproducts = { vmotion = 0 }",
        "licences.products.vmotion",
        "at least 1",
    ),
    "no day": (str.__add__, "[licences]\nbegins = 7", "licences.begins", "such as 2026-06-15"),
    "key without file": (
        str.__add__,
        '[licences]\nvendor_key = "x.pub"',
        "licences.vendor_key",
        "means nothing",
    ),
    "ha": (str.__add__, "[ha]\nisolation_s_max = 0", "ha.isolation_s_max", "more than 0"),
    "hosts missing": (
        str.__add__,
        '[[event]]\nat_s = 1\nkind = "host-failure"',
        "event[0].hosts",
        "is missing",
    ),
    "VMs missing": (
        str.__add__,
        '[[event]]\nat_s = 1\nkind = "cancel"',
        "event[0].vms",
        "is missing",
    ),
    "wait of a failure": (
        str.__add__,
        '[[event]]\nat_s = 1\nkind = "host-failure"\nhosts = "esx-1"\nwait = true',
        "event[0].wait",
        "leave it out",
    ),
}


@pytest.mark.parametrize("case", OF_THE_REST)
def test_a_mistake_elsewhere_is_said_with_its_place_and_cure(problems_of, right, case):
    put, text, key, words = OF_THE_REST[case]
    first = problems_of(put(right, text))[0]
    assert key == first.key
    assert words in str(first)


def test_licences_that_cannot_be_read_are_all_said(problems_of, right, tmp_path):
    (tmp_path / "vendor.pub").write_text("no key")
    text = '[licences]\nfile = "none.lic"\nvendor_key = "vendor.pub"\nproducts = { vmotion = 1 }'
    assert {
        "means nothing beside products",
        '"none.lic" cannot be read: No such file or directory',
        "is no public key",
    } == {problem.wrong for problem in problems_of(right + text)}


def test_a_baseline_is_vspheres(problems_of, right):
    (problem,) = problems_of(right.replace("duration_s", "evc_features = []\nduration_s"))
    assert "scenario.evc_features" == problem.key
