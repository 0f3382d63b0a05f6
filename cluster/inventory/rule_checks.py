"""Rules that say nothing, or that no placement can keep.

Only what is certain is noted: contradictions of pairs, and counts and sizes that cannot
come out. Whether the rules leave a placement at all is a solver's question. A placement
in the file that breaks a rule is not a mistake: mending it is what DRS is for.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise

from cluster.inventory.assembly import Draft
from cluster.inventory.groups import listed
from cluster.inventory.model import RuleKind, RuleSpec
from cluster.inventory.problems import Key

VM_VM = frozenset({RuleKind.AFFINITY, RuleKind.ANTI_AFFINITY})


def check_rules(draft: Draft) -> None:
    """Note every rule that is empty, and every contradiction between rules."""
    names: dict[str, int] = {}
    for index, rule in enumerate(draft.rules):
        _check_alone(draft, rule, ("rule", index))
        if rule.name and rule.name in names:
            wrong = f"the name is taken by rule[{names[rule.name]}]"
            draft.findings.add(("rule", index, "name"), wrong, "a name of its own for every rule")
        names.setdefault(rule.name, index)
    together = _groups(draft)
    _check_apart(draft, together)
    _check_hosts(draft, together)


def _check_alone(draft: Draft, rule: RuleSpec, key: Key) -> None:
    table = draft.tables.rules[int(key[1])]
    add, touch = draft.findings.add, draft.findings.touch
    if touch((*key, "kind")):
        return
    if rule.kind in VM_VM:
        if len(rule.vms) < 2 and not touch((*key, "vms")) and not draft.vms.uncounted:
            wrong = f"{len(rule.vms)} VM cannot be together with or apart from others"
            add((*key, "vms"), wrong, "two VMs at least")
        if table.hosts is not None:
            add((*key, "hosts"), f"means nothing to {rule.kind.value}", "leave it out")
    elif table.hosts is None and not touch((*key, "hosts")):
        add((*key, "hosts"), "is missing", f"{rule.kind.value} needs names of hosts")


def _groups(draft: Draft) -> Mapping[str, frozenset[str]]:
    """For each VM under an affinity rule, all VMs that must be where it is."""
    groups: dict[str, set[str]] = {}
    for rule in _of_kind(draft, RuleKind.AFFINITY):
        for one, other in pairwise(rule.vms):
            small, large = sorted((groups.get(one, {one}), groups.get(other, {other})), key=len)
            large |= small
            groups.update(dict.fromkeys(small | {one, other}, large))
    frozen = {id(group): frozenset(group) for group in groups.values()}
    return {name: frozen[id(group)] for name, group in groups.items()}


def _of_kind(draft: Draft, kind: RuleKind) -> Iterable[RuleSpec]:
    return (rule for rule in draft.rules if rule.kind is kind)


def _check_apart(draft: Draft, together: Mapping[str, frozenset[str]]) -> None:
    hosts = draft.hosts.origins
    for index, rule in enumerate(draft.rules):
        if rule.kind is not RuleKind.ANTI_AFFINITY:
            continue
        key: Key = ("rule", index, "vms")
        if hosts and len(rule.vms) > len(hosts) and not draft.hosts.uncounted:
            wrong = f"{len(rule.vms)} VMs cannot be apart on {len(hosts)} hosts"
            draft.findings.add(key, wrong, "fewer VMs, or more hosts")
        first: dict[int, str] = {}
        for name in rule.vms:
            group = together.get(name)
            if group is not None and (other := first.setdefault(id(group), name)) != name:
                wrong = f"{other} and {name} are kept together by an affinity rule"
                draft.findings.add(key, wrong, "leave one of them out of one of the rules")


def _check_hosts(draft: Draft, together: Mapping[str, frozenset[str]]) -> None:
    """Each VM, with those it must be with, has a host left that is large enough."""
    if draft.hosts.uncounted:
        return  # how many are left is not known
    everywhere = frozenset(draft.hosts.origins)
    allowed = _allowed(draft, everywhere)
    done: set[int] = set()
    for vms in (
        *together.values(),
        *(frozenset({name}) for name in allowed if name not in together),
    ):
        if id(vms) in done or not everywhere:
            continue
        done.add(id(vms))
        left = everywhere.intersection(*(allowed.get(name, everywhere) for name in vms))
        if not left:
            wrong = f"no host is left for {listed(sorted(vms))} that the rules allow"
            draft.findings.add(("rule",), wrong, "rules that leave one host at least")
            continue
        needed = sum(draft.vms.specs[name].memory_mib for name in vms)
        if all(needed > draft.hosts.specs[name].memory_mib for name in left):
            wrong = (
                f"{listed(sorted(vms))} need {needed} MiB on one host, "
                f"and the rules leave {listed(sorted(left))}"
            )
            draft.findings.add(("rule",), wrong, "a host with so much memory")
    for index, rule in enumerate(draft.rules):
        if rule.kind is RuleKind.ANTI_AFFINITY and everywhere:
            places = frozenset().union(*(allowed.get(name, everywhere) for name in rule.vms))
            if len(places) < len(rule.vms) <= len(everywhere):
                wrong = f"{len(rule.vms)} VMs cannot be apart on {listed(sorted(places))}"
                right = "fewer VMs, or more hosts in their vm-host rules"
                draft.findings.add(("rule", index, "vms"), wrong, right)


def _allowed(draft: Draft, everywhere: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """For each VM under a mandatory VM–host rule, the hosts that all such rules leave it."""
    allowed: dict[str, frozenset[str]] = {}
    # A few sets are shared by many VMs; each pair of them is intersected once.
    both = cache(frozenset[str].intersection)
    for index, rule in enumerate(draft.rules):
        if draft.findings.touch(("rule", index, "hosts")):
            continue
        match rule.kind:
            case RuleKind.VM_HOST_MUST:
                hosts = frozenset(rule.hosts)
            case RuleKind.VM_HOST_MUST_NOT:
                hosts = everywhere - frozenset(rule.hosts)
            case _:
                continue
        for name in rule.vms:
            allowed[name] = both(allowed.get(name, everywhere), hosts)
    return allowed
