"""A host's virtual networking: switches, their cards, and the port groups on them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PortGroup:
    """Ports for VMs.

    Attributes:
        label: What people call it; VMs are connected by it.
        network: The physical network behind it.
    """

    label: str
    network: str
    vlan_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPort:
    """A VMkernel port group: the host's own address on a network.

    Attributes:
        vmotion: "Use this port group for VMotion."
    """

    label: str
    ip_address: str
    subnet_mask: str
    vmotion: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualSwitch:
    """Without a card it is internal: its VMs reach only each other.

    Attributes:
        nics: Names of the cards that it sends on.
    """

    name: str
    nics: tuple[str, ...] = ()
    port_groups: tuple[PortGroup, ...] = ()
    kernel_ports: tuple[KernelPort, ...] = ()
