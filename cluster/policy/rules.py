"""A scenario's placement rules as drs judges them, and which of them a move would newly break."""

from collections.abc import Iterable, Mapping

from cluster.inventory.model import RuleKind, RuleSpec
from drs.rules import (
    Affinity,
    AntiAffinity,
    Rule,
    Strength,
    Violation,
    VmHostAffinity,
    VmHostAntiAffinity,
)


def rules_of(specs: Iterable[RuleSpec], *, among: frozenset[str] | None = None) -> tuple[Rule, ...]:
    """Return the rules as drs judges them, in the same order.

    `among` leaves out all other VMs, and rules that then say nothing: drs disables a rule
    whole when it names a VM that is not in the snapshot, such as one that is powered off.
    """
    made = []
    for spec in specs:
        vms = spec.vms if among is None else tuple(vm for vm in spec.vms if vm in among)
        if vms:
            made.append(_rule(spec, vms))
    return tuple(made)


def _rule(spec: RuleSpec, vms: tuple[str, ...]) -> Rule:
    match spec.kind:
        case RuleKind.AFFINITY:
            return Affinity(name=spec.name, vms=vms)
        case RuleKind.ANTI_AFFINITY:
            return AntiAffinity(name=spec.name, vms=vms)
        case RuleKind.VM_HOST_MUST:
            return VmHostAffinity(name=spec.name, vms=vms, hosts=spec.hosts)
        case RuleKind.VM_HOST_SHOULD:
            return VmHostAffinity(
                name=spec.name, vms=vms, hosts=spec.hosts, strength=Strength.SHOULD
            )
        case RuleKind.VM_HOST_MUST_NOT:
            return VmHostAntiAffinity(name=spec.name, vms=vms, hosts=spec.hosts)
        case RuleKind.VM_HOST_SHOULD_NOT:
            return VmHostAntiAffinity(
                name=spec.name, vms=vms, hosts=spec.hosts, strength=Strength.SHOULD
            )


class RuleBook:
    """All rules of a cluster, found by VM.

    Attributes:
        rules: In the scenario's order.
    """

    def __init__(self, specs: Iterable[RuleSpec]) -> None:
        self.rules = rules_of(specs)
        self._by_vm: dict[str, list[Rule]] = {}
        for rule in self.rules:
            if rule.strength is Strength.MUST:
                for vm in rule.vms:
                    self._by_vm.setdefault(vm, []).append(rule)

    def newly_broken(
        self,
        held: Mapping[str, tuple[str, ...]],
        vm: str,
        *,
        before: tuple[str, ...],
        after: tuple[str, ...],
        on_the_way: bool = False,
    ) -> list[Violation]:
        """Return the MUST violations that `vm` causes on the hosts `after`, and not on `before`.

        `held` says where all other VMs are. `on_the_way` leaves out rules that cannot hold
        while VMs move one after another (keep together).
        """
        rules = self._by_vm.get(vm, ())
        found: list[Violation] = []
        for rule in rules:
            if on_the_way and not rule.throughout:
                continue
            mates = {name: held.get(name, ()) for name in rule.vms}
            causes = {violation.cause() for violation in rule.check({**mates, vm: before})}
            there = rule.check({**mates, vm: after})
            found += [violation for violation in there if violation.cause() not in causes]
        return found
