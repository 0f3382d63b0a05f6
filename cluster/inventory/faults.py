"""What goes wrong in a simulation, as the scenario declares it: rates as data.

A message is a command on its way or an answer on its way back. The first five are chances of
each message, the next four of a run (`cancel`: of a migration).
"""

import math
from dataclasses import dataclass

_CHANCES = (
    "lose",
    "duplicate",
    "delay",
    "fail",
    "refuse",
    "host_crash",
    "link_cut",
    "link_slow",
    "cancel",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """All zero is a network and hosts without faults.

    Attributes:
        seed: Of the faults alone, so that the same ones meet other decisions; None draws
            them from the run's seed.
        lose: A message never arrives.
        duplicate: It arrives twice, the second time as late as a delayed one may be.
        delay: It is late by up to `delay_s_max`.
        fail: A command is answered `Failed`; whether it took effect is open.
        refuse: A command that can be refused is.
        host_crash: A host dies once, at a time that is as likely as any other.
        link_cut: A host's links carry nothing, once, for up to `link_cut_s_max`.
        link_slow: They carry a tenth for the same time.
        cancel: A user cancels, at a time drawn with mean `crash_s_mean`.
        host_mtbf_s: Mean time to a host's failure, exponentially distributed; None is never.
        host_repair_s: Until a host that has failed is back, empty; None is never.
        until_s: Faults end then, so that what must end can.
    """

    seed: int | None = None
    lose: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    fail: float = 0.0
    refuse: float = 0.0
    host_crash: float = 0.0
    link_cut: float = 0.0
    link_slow: float = 0.0
    cancel: float = 0.0
    delay_s_max: float = 3.0
    crash_s_mean: float = 2.0
    link_cut_s_max: float = 20.0
    host_mtbf_s: float | None = None
    host_repair_s: float | None = None
    until_s: float = math.inf

    def problems(self) -> tuple[str, ...]:
        """Return everything wrong with these rates, all at once."""
        found = [
            f"{name} must be a chance from 0 to 1, is {getattr(self, name)}"
            for name in _CHANCES
            if not 0 <= getattr(self, name) <= 1
        ]
        found += [
            f"{name} must be positive, is {value}"
            for name in _SPANS
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        return tuple(found)


_SPANS = (
    "delay_s_max",
    "crash_s_mean",
    "link_cut_s_max",
    "host_mtbf_s",
    "host_repair_s",
    "until_s",
)
NO_FAULTS = Faults()
