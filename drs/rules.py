"""Placement rules as data, and the judge of any placement: ours, another optimiser's or a person's.

A rule names VMs and hosts. It judges an occupancy: for each VM the hosts that hold it, none when it
is not placed, two while it migrates. The older of two rules comes first in `Snapshot.rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar

Occupancy = Mapping[str, tuple[str, ...]]


class Strength(Enum):
    """A MUST is never broken by a plan; a SHOULD gives way to what is mandatory."""

    MUST = "must"
    SHOULD = "should"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that is wrong with a placement or a plan; `at_s` None means: from the start."""

    rule: str
    vms: tuple[str, ...]
    hosts: tuple[str, ...]
    message: str
    strength: Strength = Strength.MUST
    at_s: float | None = None

    def cause(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What makes two violations at different times the same one."""
        return self.rule, self.vms, self.hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """The occupancy from `time_s` on; `changed` names the VMs that differ from the instant before.

    The occupancy is only valid until the next instant is asked for.
    """

    time_s: float | None
    occupancy: Occupancy
    changed: frozenset[str]
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What all rules share: a name, the VMs, how hard it is, and how a plan is judged."""

    name: str
    vms: tuple[str, ...]
    strength: Strength = Strength.MUST

    # Holds at every instant of a plan; False where moving one VM after another must break it.
    throughout: ClassVar[bool] = True

    def check(self, occupancy: Occupancy) -> tuple[Violation, ...]:
        raise NotImplementedError

    def check_plan(self, instants: Iterable[Instant]) -> tuple[Violation, ...]:
        """Every violation that was not there before the plan, with the instant it begins."""
        seen: set[tuple[str, tuple[str, ...], tuple[str, ...]]] = set()
        found: list[Violation] = []
        mine = frozenset(self.vms)
        for instant in instants:
            start = instant.time_s is None
            concerned = instant.changed & mine if self.throughout else instant.last
            if not (start or concerned):
                continue
            for violation in self.check(instant.occupancy):
                if violation.cause() not in seen:
                    seen.add(violation.cause())
                    if not start:
                        found.append(replace(violation, at_s=instant.time_s))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity(_Rule):
    """Keep these VMs on one host. Judged when a plan has ended: VMs move one after another."""

    throughout: ClassVar[bool] = False

    def check(self, occupancy: Occupancy) -> tuple[Violation, ...]:
        hosts = sorted({h for vm in self.vms for h in occupancy.get(vm, ())})
        if len(hosts) < 2:
            return ()
        message = f"{', '.join(self.vms)} must be on one host and are on {', '.join(hosts)}"
        return (
            Violation(
                rule=self.name, vms=self.vms, hosts=(), message=message, strength=self.strength
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AntiAffinity(_Rule):
    """No two of these VMs on one host, at any instant."""

    def check(self, occupancy: Occupancy) -> tuple[Violation, ...]:
        return _crowded(
            self, {h: h for vm in self.vms for h in occupancy.get(vm, ())}, 1, occupancy
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSpread(_Rule):
    """At most `vms_per_domain_max` of these VMs in one fault domain, at any instant.

    `domains` names the domain of each host; a host without one is a domain of its own.
    """

    domains: Mapping[str, str]
    vms_per_domain_max: int = 1

    def check(self, occupancy: Occupancy) -> tuple[Violation, ...]:
        return _crowded(self, self.domains, self.vms_per_domain_max, occupancy)


@dataclass(frozen=True, slots=True, kw_only=True)
class VmHostAffinity(_Rule):
    """Each of these VMs on one of these hosts."""

    hosts: tuple[str, ...]

    def check(self, occupancy: Occupancy) -> tuple[Violation, ...]:
        return _misplaced(
            self,
            occupancy,
            wrong=lambda host: host not in self.hosts,
            text="belongs elsewhere than",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VmHostAntiAffinity(_Rule):
    """None of these VMs on any of these hosts."""

    hosts: tuple[str, ...]

    def check(self, occupancy: Occupancy) -> tuple[Violation, ...]:
        return _misplaced(
            self, occupancy, wrong=lambda host: host in self.hosts, text="may not be on"
        )


Rule = Affinity | AntiAffinity | DomainSpread | VmHostAffinity | VmHostAntiAffinity


def _crowded(
    rule: AntiAffinity | DomainSpread, domains: Mapping[str, str], most: int, occupancy: Occupancy
) -> tuple[Violation, ...]:
    inside: dict[str, list[str]] = {}
    for vm in rule.vms:
        for domain in {domains.get(host, host) for host in occupancy.get(vm, ())}:
            inside.setdefault(domain, []).append(vm)
    return tuple(
        Violation(
            rule=rule.name,
            vms=tuple(vms),
            hosts=(domain,),
            message=f"{', '.join(vms)} are together on {domain}; at most {most} may be",
            strength=rule.strength,
        )
        for domain, vms in sorted(inside.items())
        if len(vms) > most
    )


def _misplaced(
    rule: VmHostAffinity | VmHostAntiAffinity,
    occupancy: Occupancy,
    *,
    wrong: Callable[[str], bool],
    text: str,
) -> tuple[Violation, ...]:
    return tuple(
        Violation(
            rule=rule.name,
            vms=(vm,),
            hosts=(host,),
            message=f"{vm} {text} {host}",
            strength=rule.strength,
        )
        for vm in rule.vms
        for host in occupancy.get(vm, ())
        if wrong(host)
    )
