"""Configuring VMotion on a host: a VMkernel port group on a virtual switch, as the how-to says."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cluster.inventory.model import HostSpec
from cluster.inventory.switches import KernelPort, VirtualSwitch, interface, interface_of
from cluster.policy.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class VMotionSetup:
    """What the user fills in.

    Attributes:
        switch: An existing virtual switch; None makes a new one.
        nic: For a new switch, the card that it gets for itself.
        vlan_id, gateway: Have to stay empty.
    """

    ip_address: str | None
    subnet_mask: str | None
    switch: str | None = None
    nic: str | None = None
    label: str = "VMotion"
    vmotion: bool = True
    vlan_id: int | None = None
    gateway: str | None = None


def configure(
    host: HostSpec, setup: VMotionSetup, others: Iterable[HostSpec]
) -> tuple[HostSpec, list[Problem]]:
    """Return the host with the port group, or as it was with every reason why not.

    Warnings come along and change nothing. `others` are the cluster's other hosts.
    """
    problems = [
        *_form_problems(setup),
        *_switch_problems(host, setup),
        *_address_problems(setup, list(others)),
    ]
    if any(not problem.warning for problem in problems):
        return host, problems
    port = KernelPort(
        label=setup.label,
        ip_address=setup.ip_address or "",
        subnet_mask=setup.subnet_mask or "",
        vmotion=setup.vmotion,
    )
    if setup.switch is None:
        made = VirtualSwitch(
            name=_free_name(host), nics=(setup.nic,) if setup.nic else (), kernel_ports=(port,)
        )
        return replace(host, switches=(*host.switches, made)), problems
    switches = tuple(
        replace(s, kernel_ports=(*s.kernel_ports, port)) if s.name == setup.switch else s
        for s in host.switches
    )
    return replace(host, switches=switches), problems


def vmotion_port(host: HostSpec) -> KernelPort | None:
    """Return the port group that the host uses for VMotion, if it has one."""
    return next(
        (port for switch in host.switches for port in switch.kernel_ports if port.vmotion), None
    )


def _form_problems(setup: VMotionSetup) -> Iterator[Problem]:
    if not setup.label:
        yield _problem("label", "the port group has no label", "Name it, for example VMotion.")
    if not setup.ip_address:
        yield _problem("ip address", "the IP address is missing", "Fill it in.")
    if not setup.subnet_mask:
        yield _problem("subnet mask", "the subnet mask is missing", "Fill it in.")
    if setup.vlan_id is not None:
        yield _problem("vlan", f"VLAN ID {setup.vlan_id} is set", "Leave the VLAN ID empty.")
    if setup.gateway:
        yield _problem(
            "gateway", f"gateway {setup.gateway} is set", "Leave the default gateway empty."
        )
    if not setup.ip_address or not setup.subnet_mask:
        return
    ours = interface(setup.ip_address, setup.subnet_mask)
    if ours is None:
        text = f"{setup.ip_address} with mask {setup.subnet_mask} is no address in a subnet"
        yield _problem("ip address", text, "Fill in four numbers from 0 to 255 for each.")
    elif ours.ip in (ours.network.network_address, ours.network.broadcast_address):
        text = f"{setup.ip_address} is the number of the subnet {ours.network} or its broadcast"
        yield _problem("ip address", text, "Choose an address between them.")


def _switch_problems(host: HostSpec, setup: VMotionSetup) -> Iterator[Problem]:
    labels = {group.label for switch in host.switches for group in switch.port_groups}
    labels |= {port.label for switch in host.switches for port in switch.kernel_ports}
    if setup.label in labels:
        text = f"{host.name} has a port group {setup.label} already"
        yield _problem("label", text, "Choose another label.")
    if setup.vmotion and (port := vmotion_port(host)) is not None:
        text = f"{host.name} uses {port.label} for VMotion already"
        yield _problem("vmotion port", text, "Use one port group of a host for VMotion.")
    if setup.switch is None:
        yield from _new_switch_problems(host, setup)
        return
    if setup.nic is not None:
        text = f"a card is chosen for {setup.switch}, which exists"
        yield _problem("switch", text, "Choose a card only for a new switch.")
    found = next((switch for switch in host.switches if switch.name == setup.switch), None)
    if found is None:
        names = ", ".join(switch.name for switch in host.switches) or "none"
        text = f"{host.name} has no virtual switch {setup.switch}"
        yield _problem("switch", text, f"Choose one of its switches: {names}.")
    elif not found.nics:
        text = f"{found.name} on {host.name} has no card, so VMotion would reach nobody"
        yield _problem("switch", text, "Choose a switch with a card.")
    elif found.port_groups or found.kernel_ports:
        yield _warning(f"{found.name} on {host.name} carries other traffic too")


def _new_switch_problems(host: HostSpec, setup: VMotionSetup) -> Iterator[Problem]:
    if setup.nic is None:
        yield _problem("switch", "a new switch needs a card", "Choose a card of its own for it.")
    elif setup.nic not in (host.nic.name, *host.other_nics):
        cards = ", ".join((host.nic.name, *host.other_nics))
        text = f"{host.name} has no card {setup.nic}"
        yield _problem("switch", text, f"Choose one of its cards: {cards}.")
    else:
        for switch in host.switches:
            if setup.nic in switch.nics:
                text = f"{setup.nic} of {host.name} belongs to {switch.name}"
                yield _problem("switch", text, "Choose a free card, or that switch.")


def _address_problems(setup: VMotionSetup, others: list[HostSpec]) -> Iterator[Problem]:
    ours = interface(setup.ip_address or "", setup.subnet_mask or "")
    if ours is None:
        return
    for other in others:
        for switch in other.switches:
            for port in switch.kernel_ports:
                theirs = interface_of(port)
                if theirs is None:
                    continue
                if theirs.ip == ours.ip:
                    text = f"{ours.ip} is the address of {port.label} on {other.name}"
                    yield _problem("ip address", text, "Choose an address of its own.")
                elif setup.vmotion and port.vmotion and theirs.network != ours.network:
                    text = (
                        f"{ours.network} is not the subnet of VMotion on {other.name}, "
                        f"{theirs.network}"
                    )
                    yield _problem("subnet", text, "Give all hosts addresses of one subnet.")


def _free_name(host: HostSpec) -> str:
    names = {switch.name for switch in host.switches}
    return next(f"vSwitch{at}" for at in range(len(names) + 1) if f"vSwitch{at}" not in names)


def _problem(check: str, text: str, cure: str) -> Problem:
    return Problem(check=check, text=text, cure=cure)


def _warning(text: str) -> Problem:
    cure = "Give VMotion a card of its own."
    return Problem(check="dedicated card", text=text, cure=cure, warning=True)
