"""The shape of [faults] in a scenario file."""

from typing import Annotated

from pydantic import Field

from cluster.inventory.faults import Faults
from cluster.inventory.fields import PositiveSeconds, Seed, Table, default_of

Chance = Annotated[float, Field(ge=0, le=1)]
# A cluster whose hosts fail more often than they can be looked at is no cluster.
Mtbf = Annotated[float, Field(ge=1, le=1e12)]


class FaultsTable(Table):
    """What goes wrong in a simulation; a live run has no declared faults."""

    seed: Seed | None = Field(
        None, description="Seed of the faults alone; made from the run's seed if left out."
    )
    lose: Chance = Field(
        default_of(Faults, "lose"),
        description="Chance that a message of a migration never arrives.",
    )
    duplicate: Chance = Field(
        default_of(Faults, "duplicate"), description="Chance that it arrives twice."
    )
    delay: Chance = Field(
        default_of(Faults, "delay"), description="Chance that it is late by up to delay_s_max."
    )
    fail: Chance = Field(
        default_of(Faults, "fail"),
        description="Chance that a command is answered as failed, whether it took effect or not.",
    )
    refuse: Chance = Field(
        default_of(Faults, "refuse"), description="Chance that a command that may be refused is."
    )
    host_crash: Chance = Field(
        default_of(Faults, "host_crash"),
        description="Chance of each host to die once in the run, at any time.",
    )
    link_cut: Chance = Field(
        default_of(Faults, "link_cut"),
        description="Chance of each host that its links carry nothing, once, for up to "
        "link_cut_s_max.",
    )
    link_slow: Chance = Field(
        default_of(Faults, "link_slow"), description="The same with a tenth of the bandwidth."
    )
    cancel: Chance = Field(
        default_of(Faults, "cancel"), description="Chance that a user cancels a migration."
    )
    delay_s_max: PositiveSeconds = Field(
        default_of(Faults, "delay_s_max"), description="How late a message may be."
    )
    crash_s_mean: PositiveSeconds = Field(
        default_of(Faults, "crash_s_mean"), description="Mean time to a cancel."
    )
    link_cut_s_max: PositiveSeconds = Field(
        default_of(Faults, "link_cut_s_max"), description="How long a link is cut or slow at most."
    )
    host_mtbf_s: Mtbf | None = Field(
        default_of(Faults, "host_mtbf_s"),
        description="Mean time between the failures of a host; never if left out.",
    )
    host_repair_s: PositiveSeconds | None = Field(
        default_of(Faults, "host_repair_s"),
        description="Time until a host that has failed by host_mtbf_s is back, empty; never if "
        "left out.",
    )
    until_s: PositiveSeconds | None = Field(
        None, description="Time at which faults end; they do not if left out."
    )

    def faults(self) -> Faults:
        """Return them as the rest of the project takes them."""
        given = self.model_dump()
        until_s = given.pop("until_s")
        return Faults(**given) if until_s is None else Faults(**given, until_s=until_s)
