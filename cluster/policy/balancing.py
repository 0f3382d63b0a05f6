"""DRS in operation: when to solve, with which snapshot, and what to do with the plan."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cluster.inventory.model import Automation, RuleKind, RuleSpec, Scenario
from cluster.migration.spec import Trigger
from cluster.policy.messages import Command, MigrationRequested, Recommended, Record, Solve, Topic
from cluster.policy.preflight import compatible
from cluster.policy.state import ClusterState, HostState, PowerState
from drs import Plan, Policy, Snapshot
from drs import model as drs_model
from drs.load import deviations, entitlement, host_usage, imbalance, imbalance_target
from drs.rules import Affinity, AntiAffinity, Rule, Strength, VmHostAffinity, VmHostAntiAffinity

_AUTOMATION = {
    Automation.MANUAL: drs_model.Automation.MANUAL,
    Automation.PARTIALLY: drs_model.Automation.PARTIALLY_AUTOMATED,
    Automation.FULLY: drs_model.Automation.FULLY_AUTOMATED,
}
_HOST_STATES = {
    HostState.STARTING: drs_model.HostState.NOT_RESPONDING,
    HostState.CONNECTED: drs_model.HostState.CONNECTED,
    HostState.NOT_RESPONDING: drs_model.HostState.NOT_RESPONDING,
}
_FASTEST_BYTES_PER_SECOND = 1.25e9


def rules_of(specs: Iterable[RuleSpec]) -> tuple[Rule, ...]:
    """Return a scenario's rules as drs judges them, in the same order."""
    made: list[Rule] = []
    for spec in specs:
        match spec.kind:
            case RuleKind.AFFINITY:
                made.append(Affinity(name=spec.name, vms=spec.vms))
            case RuleKind.ANTI_AFFINITY:
                made.append(AntiAffinity(name=spec.name, vms=spec.vms))
            case RuleKind.VM_HOST_MUST:
                made.append(VmHostAffinity(name=spec.name, vms=spec.vms, hosts=spec.hosts))
            case RuleKind.VM_HOST_SHOULD:
                soft = Strength.SHOULD
                rule = VmHostAffinity(name=spec.name, vms=spec.vms, hosts=spec.hosts, strength=soft)
                made.append(rule)
            case RuleKind.VM_HOST_MUST_NOT:
                made.append(VmHostAntiAffinity(name=spec.name, vms=spec.vms, hosts=spec.hosts))
            case RuleKind.VM_HOST_SHOULD_NOT:
                made.append(
                    VmHostAntiAffinity(
                        name=spec.name, vms=spec.vms, hosts=spec.hosts, strength=Strength.SHOULD
                    )
                )
    return tuple(made)


def policy_of(scenario: Scenario) -> Policy:
    """Return the scenario's DRS settings as drs takes them."""
    rates = [host.nic.rate_bytes_per_second or _FASTEST_BYTES_PER_SECOND for host in scenario.hosts]
    return Policy(
        migration_threshold=scenario.drs.threshold,
        automation=_AUTOMATION[scenario.drs.automation],
        moves_max=scenario.drs.moves_max,
        cooldown_s=scenario.drs.cooldown_s,
        rate_bytes_per_second=min(rates, default=_FASTEST_BYTES_PER_SECOND),
    )


def snapshot_of(state: ClusterState) -> Snapshot:
    """Return the cluster as DRS sees it: demand is each VM's mean over the window."""
    vms = [vm for vm in state.vms.values() if vm.power is PowerState.ON]
    hosts = list(state.hosts.values())
    automation = [
        None if vm.spec.automation is None else _AUTOMATION[vm.spec.automation] for vm in vms
    ]
    return Snapshot.build(
        [host.spec.name for host in hosts],
        [vm.spec.name for vm in vms],
        [[host.spec.cpu_mhz, host.spec.memory_mib] for host in hosts],
        [[vm.demand_mhz(), vm.spec.memory_mib] for vm in vms],
        [vm.host for vm in vms],
        reservation=[[vm.spec.cpu_reservation_mhz, vm.spec.memory_reservation_mib] for vm in vms],
        limit=[[vm.spec.cpu_limit_mhz or float("inf"), float("inf")] for vm in vms],
        shares=[[vm.spec.cpu_shares, 10.0 * vm.spec.memory_mib] for vm in vms],
        allowed=[[not compatible(vm.spec, host.spec) for host in hosts] for vm in vms],
        host_states=[_HOST_STATES[host.state] for host in hosts],
        memory_bytes=[float(vm.spec.memory_bytes) for vm in vms],
        moved_at_s=[vm.moved_at_s for vm in vms],
        automation=automation,
        in_flight=[(spec.vm, spec.destination) for spec in state.running()],
        rules=rules_of(state.scenario.rules),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How even the cluster is.

    Attributes:
        imbalance: Over all resources, as the migration threshold is compared with it.
        by_resource: (name, standard deviation of the normalised load over hosts).
        target: Below it the threshold has no recommendation left; inf if it never balances.
        rule_violations: By VMs as they are held now.
    """

    imbalance: float
    by_resource: tuple[tuple[str, float], ...]
    target: float
    rule_violations: int


class Balancing:
    """One solve at a time, every interval; a late plan is dropped."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._policy = policy_of(state.scenario)
        self._settings = state.scenario.drs
        self._next_s: float | None = None
        self._solves = 0
        self._asked: tuple[int, float, Snapshot] | None = None

    @property
    def next_s(self) -> float | None:
        """When the next pass is due; None while DRS is off or stopping."""
        return self._next_s

    def begin(self, *, now: float) -> None:
        """Make the first pass after one interval."""
        if self._settings.enabled:
            self._next_s = now + self._settings.interval_s

    def stop(self) -> None:
        """Make no more passes, and drop what is being solved."""
        self._next_s = None
        self._asked = None

    def balance(self) -> Balance:
        """Return the cluster's balance now, as DRS computes it."""
        snapshot = snapshot_of(self._state)
        on = snapshot.connected()
        usage = host_usage(entitlement(snapshot), snapshot.placement, len(snapshot.hosts))
        spread = deviations(usage[on] / snapshot.capacity[on])
        held = self._state.occupancy()
        return Balance(
            imbalance=imbalance(snapshot, self._policy),
            by_resource=tuple(zip(snapshot.resources, spread.tolist(), strict=True)),
            target=imbalance_target(self._settings.threshold, int(on.sum())),
            rule_violations=sum(len(rule.check(held)) for rule in snapshot.rules),
        )

    def tick(self, *, now: float, rng: np.random.Generator) -> list[Command]:
        """Ask for a plan if a pass is due and none is being made."""
        if self._next_s is None or now < self._next_s:
            return []
        self._next_s = now + self._settings.interval_s
        if self._asked is not None and now - self._asked[1] < self._settings.plan_age_s_max:
            return []
        self._solves += 1
        snapshot = snapshot_of(self._state)
        self._asked = (self._solves, now, snapshot)
        return [
            Solve(
                solve=self._solves,
                snapshot=snapshot,
                policy=self._policy,
                seed=int(rng.integers(1 << 32)),
                budget_s_max=self._settings.budget_s_max,
            )
        ]

    def recommended(
        self, event: Recommended, *, now: float
    ) -> tuple[list[Command], list[MigrationRequested]]:
        """Return what to say of a plan, and the migrations to ask for."""
        if self._asked is None or self._asked[0] != event.solve:
            return [], []
        _, asked_s, snapshot = self._asked
        self._asked = None
        age_s = now - asked_s
        if age_s > self._settings.plan_age_s_max:
            text = f"a plan of {age_s:.1f} s is too old and was dropped"
            return [Record(topic=Topic.DRS, what="plan_dropped", text=text)], []
        wanted = self._migrations(event.plan, snapshot)
        return [_pass_note(event, snapshot, applied=len(wanted))], wanted

    def failed(self, solve: int, reason: str) -> list[Command]:
        """Say that a solve has failed; the next pass tries again."""
        if self._asked is None or self._asked[0] != solve:
            return []
        self._asked = None
        return [Record(topic=Topic.DRS, what="solve_failed", text=f"DRS has no plan: {reason}")]

    def _migrations(self, plan: Plan, snapshot: Snapshot) -> list[MigrationRequested]:
        """Return the plan's actions that need nobody's consent, in its order.

        A VM that stops on a third host moves on at a later pass: its second action
        begins where it is not yet.
        """
        reasons = {r.move.vm: r for r in plan.recommendations}
        asked: dict[str, MigrationRequested] = {}
        for action in sorted(plan.actions, key=lambda action: action.order):
            vm = snapshot.vms[action.move.vm]
            why = reasons.get(action.move.vm)
            if vm in asked or why is None or not why.automatic:
                continue
            asked[vm] = MigrationRequested(
                vm=vm,
                destination=snapshot.hosts[action.move.destination],
                trigger=Trigger.DRS,
                reason=why.sentence,
            )
        return list(asked.values())


def _pass_note(event: Recommended, snapshot: Snapshot, *, applied: int) -> Record:
    plan = event.plan
    count = len(plan.recommendations)
    text = f"DRS: imbalance {plan.imbalance_before:.3f}, nothing worth doing"
    if count:
        text = (
            f"DRS: imbalance {plan.imbalance_before:.3f} → {plan.imbalance_after:.3f} expected, "
            f"{count} recommendation{'s' if count > 1 else ''}, {applied} applied"
        )
    return Record(
        topic=Topic.DRS,
        what="pass",
        text=text,
        fields=(
            ("status", plan.status.value),
            ("recommended", count),
            ("applied", applied),
            ("imbalance_before", plan.imbalance_before),
            ("imbalance_after", plan.imbalance_after),
            ("solve_s", event.solve_s),
            (
                "recommendations",
                tuple(
                    (
                        snapshot.vms[r.move.vm],
                        snapshot.hosts[r.move.destination],
                        r.priority,
                        r.sentence,
                    )
                    for r in plan.recommendations
                ),
            ),
            ("problems", tuple(problem.message for problem in plan.problems)),
        ),
    )
