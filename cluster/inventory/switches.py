"""A host's virtual networking: switches, their cards, and the port groups on them."""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, NetmaskValueError


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


def interface_of(port: KernelPort) -> IPv4Interface | None:
    """Return a port's address in its subnet; None if the two are no such thing."""
    return interface(port.ip_address, port.subnet_mask)


def interface(address: str, mask: str) -> IPv4Interface | None:
    """Return an address in its subnet; None if the two are no such thing."""
    try:
        IPv4Address(mask)  # a prefix length is not what the form asks for
        return IPv4Interface(f"{address}/{mask}")
    except (AddressValueError, NetmaskValueError, ValueError):
        return None
