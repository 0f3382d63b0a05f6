"""The shapes of a host's cards and virtual switches in a scenario file."""

from typing import Annotated, Literal

from pydantic import Field

from cluster.inventory.fields import Table, default_of
from cluster.inventory.switches import KernelPort


class NicTable(Table):
    """A host's VMotion network card."""

    name: str = Field("vmnic0", description="Name of the card.")
    rate_mbit_s: Annotated[float, Field(gt=0, le=1e7)] | None = Field(
        None, description="Rate of each direction in Mbit/s; unlimited if it is left out."
    )


NicName = Literal["1GbE", "10GbE", "unlimited"]


class PortGroupTable(Table):
    """Ports for VMs on a virtual switch."""

    label: str = Field(description="What people call it; in a group `{}` is the host's number.")
    network: str = Field(description="The physical network behind it, one of the host's networks.")
    vlan_id: Annotated[int, Field(ge=0, le=4095)] | None = Field(
        None, description="Its VLAN; none if left out."
    )


class KernelPortTable(Table):
    """A VMkernel port group: the host's own address on a virtual switch."""

    label: str = Field(description="What people call it.")
    ip_address: str = Field(
        description="Address of the host; in a group `{}` is the host's number: `10.0.0.{}`."
    )
    subnet_mask: str = Field(description="Four numbers, such as `255.255.255.0`.")
    vmotion: bool = Field(
        default_of(KernelPort, "vmotion"), description="Use this port group for VMotion."
    )


class SwitchTable(Table):
    """A virtual switch; without a card its VMs reach only each other."""

    name: str = Field(description="Name of the switch.")
    nics: list[str] = Field([], description="Cards of the host that it sends on.")
    port_group: list[PortGroupTable] = Field(
        [], description="`[[host.switch.port_group]]` tables: its port groups for VMs."
    )
    kernel_port: list[KernelPortTable] = Field(
        [], description="`[[host.switch.kernel_port]]` tables: its VMkernel port groups."
    )
