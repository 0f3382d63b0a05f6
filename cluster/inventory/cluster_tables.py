"""The shapes of [ha], [licences] and [[event]] in a scenario file."""

from datetime import date
from typing import Annotated

from pydantic import Field

from cluster.inventory.demand_tables import DemandShape
from cluster.inventory.fields import Names, PositiveSeconds, Seconds, Table, default_of
from cluster.inventory.licence_terms import Product
from cluster.inventory.licences import EVALUATION_DAYS, LicenceSettings
from cluster.inventory.model import HaSettings, Mode, TimedKind

ProductName = Annotated[Product, Field(strict=False)]


class HaTable(Table):
    """Whether HA restarts the VMs of a lost host, and what it keeps free for that."""

    enabled: bool = Field(default_of(HaSettings, "enabled"), description="Whether HA works at all.")
    failures_tolerated: Annotated[int, Field(ge=0, le=1000)] = Field(
        default_of(HaSettings, "failures_tolerated"),
        description="Hosts whose loss the reservations must survive; 0 keeps nothing free.",
    )
    isolation_s_max: PositiveSeconds = Field(
        default_of(HaSettings, "isolation_s_max"),
        description="A host that is cut off for this long has stunned its VMs.",
    )


class LicencesTable(Table):
    """Licences that are installed when the run begins; without any it is an evaluation."""

    products: dict[ProductName, Annotated[int, Field(ge=1, le=0xFFFF)]] = Field(
        {},
        description="Licences bought for the run, by product: "
        + ", ".join(f"`{product.value}`" for product in Product)
        + ".",
    )
    file: str | None = Field(
        None, description="A licence file instead, as `vmotion license combine` writes it."
    )
    vendor_key: str | None = Field(
        None, description="The vendor's public key to check that file with: `vendor.pub`."
    )
    begins: date | None = Field(
        default_of(LicenceSettings, "begins"),
        description="Day on which the run begins, for what expires; today if left out.",
    )
    evaluation_days_left: Annotated[int, Field(ge=0, le=EVALUATION_DAYS)] = Field(
        default_of(LicenceSettings, "evaluation_days_left"),
        description="What is left of the evaluation when the run begins.",
    )


class EventTable(Table):
    """Something that happens at a given time."""

    at_s: Seconds = Field(description="When, in seconds after all VMs are up.")
    kind: Annotated[TimedKind, Field(strict=False)] = Field(description="What happens.")
    vms: Names | None = Field(
        None,
        description="Names of VMs, or patterns with `*`: for the kinds demand, migrate, cancel, "
        "power-on and power-off.",
    )
    demand: DemandShape | None = Field(
        None, description="For kind demand: the new demand; its time starts at at_s."
    )
    destination: str | None = Field(
        None, description="For kind migrate: a host; DRS chooses if left out."
    )
    mode: Annotated[Mode, Field(strict=False)] | None = Field(
        None, description="For kind migrate: how memory moves; the cluster's mode if left out."
    )
    hosts: Names | None = Field(
        None,
        description="Names of hosts, or patterns: for the kinds maintenance, end-maintenance and "
        "host-failure.",
    )
    wait: bool | None = Field(
        None,
        description="For kind maintenance: whether a host waits, entering maintenance mode, while "
        "some VM cannot leave it (the default), or gives up.",
    )
