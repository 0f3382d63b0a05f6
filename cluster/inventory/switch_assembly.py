"""From a host's switch tables to frozen facts, and what cannot be so on any host.

Whether VMotion would work with them is preflight's question: a scenario may well begin with
hosts that are not configured for it.
"""

from collections import Counter
from collections.abc import Iterator

from cluster.inventory.groups import NUMBER
from cluster.inventory.names import LABEL_RULE, is_label, suggestion
from cluster.inventory.network_tables import KernelPortTable, NicTable, PortGroupTable
from cluster.inventory.problems import Findings, Key, shown
from cluster.inventory.switches import KernelPort, PortGroup, VirtualSwitch, interface_of
from cluster.inventory.tables import HostTable


def switches_of(table: HostTable, number: int) -> tuple[VirtualSwitch, ...]:
    """Return the virtual switches of the table's host of this number, counted from 1."""
    return tuple(
        VirtualSwitch(
            name=switch.name,
            nics=tuple(switch.nics),
            port_groups=tuple(_port_group(group, number) for group in switch.port_group),
            kernel_ports=tuple(_kernel_port(port, number) for port in switch.kernel_port),
        )
        for switch in table.switch
    )


def _port_group(table: PortGroupTable, number: int) -> PortGroup:
    fields = table.model_dump()
    return PortGroup(**{**fields, "label": table.label.replace(NUMBER, str(number))})


def _kernel_port(table: KernelPortTable, number: int) -> KernelPort:
    fields = table.model_dump()
    return KernelPort(**{**fields, "ip_address": table.ip_address.replace(NUMBER, str(number))})


def check_switches(table: HostTable, key: Key, findings: Findings) -> None:
    """Note names that are taken or unknown, and addresses that are none."""
    cards = [table.nic.name if isinstance(table.nic, NicTable) else "vmnic0", *table.other_nics]
    known = ", ".join(cards)
    taken: set[str] = set()
    for at, switch in enumerate(table.switch):
        for nic_at, nic in enumerate(switch.nics):
            place = (*key, "switch", at, "nics", nic_at)
            if nic not in cards:
                findings.add(place, f"the host has no card {shown(nic)}", suggestion(nic, cards))
            elif nic in taken:
                findings.add(place, f"{nic} is on another switch too", f"one switch for {known}")
            taken.add(nic)
        for group_at, group in enumerate(switch.port_group):
            if group.network not in table.networks:
                place = (*key, "switch", at, "port_group", group_at, "network")
                wrong = f"the host has no network {shown(group.network)}"
                findings.add(place, wrong, suggestion(group.network, table.networks))
        for port_at, port in enumerate(switch.kernel_port):
            _check_address(table, port, (*key, "switch", at, "kernel_port", port_at), findings)
    names = Counter(name for _, name in _names(table))
    for path, name in _names(table):
        if not is_label(name):
            findings.add((*key, *path), f"{shown(name)} is no usable name", LABEL_RULE)
        elif names[name] > 1:
            wrong = f"{shown(name)} is there twice"
            findings.add((*key, *path), wrong, "a name of its own for everything on the host")


def _names(table: HostTable) -> Iterator[tuple[Key, str]]:
    """The names of a host's switches and port groups, and where they stand."""
    for at, switch in enumerate(table.switch):
        yield ("switch", at, "name"), switch.name
        for group_at, group in enumerate(switch.port_group):
            yield ("switch", at, "port_group", group_at, "label"), group.label
        for port_at, port in enumerate(switch.kernel_port):
            yield ("switch", at, "kernel_port", port_at, "label"), port.label


def _check_address(table: HostTable, port: KernelPortTable, key: Key, findings: Findings) -> None:
    if table.count is not None and table.count > 1 and NUMBER not in port.ip_address:
        wrong = f"{shown(port.ip_address)} cannot be the address of {table.count} hosts"
        findings.add((*key, "ip_address"), wrong, "{} in place of the host's number")
        return
    last = _kernel_port(port, table.count or 1)
    if interface_of(last) is None:
        wrong = f"{shown(last.ip_address)} with {shown(last.subnet_mask)} is no address in a subnet"
        findings.add((*key, "ip_address"), wrong, "four numbers from 0 to 255 for each")
