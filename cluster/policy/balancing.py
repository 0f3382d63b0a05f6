"""DRS in operation: when to solve, with which snapshot, and what to do with the plan."""

from dataclasses import dataclass, replace

import numpy as np

from cluster.inventory.model import DrsSettings, Scenario
from cluster.migration.spec import Trigger
from cluster.policy.admission import HOST_COST_MAX, concurrent_max
from cluster.policy.messages import Command, MigrationRequested, Recommended, Record, Solve, Topic
from cluster.policy.snapshot import AUTOMATION, placed_vms, snapshot_of
from cluster.policy.standby import Standby, seen
from cluster.policy.state import ClusterState, HostState
from drs import Plan, Policy, Snapshot
from drs import model as drs_model
from drs.load import deviations, entitlement, host_usage, imbalance, imbalance_target

_FASTEST_BYTES_PER_SECOND = 1.25e9


def policy_of(scenario: Scenario, *, line_bytes_per_second: float | None = None) -> Policy:
    """Return the scenario's DRS settings as drs takes them; the line's rate is what was measured."""
    rates = [host.nic.rate_bytes_per_second or _FASTEST_BYTES_PER_SECOND for host in scenario.hosts]
    if line_bytes_per_second is not None:
        rates.append(line_bytes_per_second)
    return Policy(
        migration_threshold=scenario.drs.threshold,
        automation=AUTOMATION[scenario.drs.automation],
        moves_max=scenario.drs.moves_max,
        cooldown_s=scenario.drs.cooldown_s,
        concurrent_per_host_max=min(
            (concurrent_max(host, scenario.migration) for host in scenario.hosts),
            default=HOST_COST_MAX,
        ),
        rate_bytes_per_second=min(rates, default=_FASTEST_BYTES_PER_SECOND),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What becomes of a plan.

    Attributes:
        evacuated: The hosts that the plan was to empty; none if it was dropped.
    """

    notes: tuple[Command, ...] = ()
    wanted: tuple[MigrationRequested, ...] = ()
    evacuated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecommendation:
    """A move that waits for somebody's consent, until the next pass.

    Attributes:
        request: What is asked for when it is given.
        source: Where the VM was then.
    """

    request: MigrationRequested
    source: str
    priority: int


class Balancing:
    """One solve at a time, every interval; a late plan is dropped.

    Attributes:
        open: What the last pass recommended and nobody has carried out, by VM.
    """

    def __init__(self, state: ClusterState, standby: Standby) -> None:
        self._state = state
        self._standby = standby
        self._policy = policy_of(state.scenario)
        self._settings = state.scenario.drs
        self._next_s: float | None = None
        self._hurry_s: float | None = None
        self._solves = 0
        self._asked: tuple[int, float, Snapshot] | None = None
        self.open: dict[str, OpenRecommendation] = {}

    @property
    def next_s(self) -> float | None:
        """When the next pass is due; None while DRS is off or stopping."""
        due = [at_s for at_s in (self._next_s, self._hurry_s) if at_s is not None]
        return min(due, default=None)

    def begin(self, *, now: float) -> None:
        """Make the first pass after one interval."""
        if self._settings.enabled:
            self._next_s = now + self._settings.interval_s

    def links_measured(self) -> None:
        """Count with what the network carries from the next pass on."""
        self._policy = self._policy_now()

    def _policy_now(self) -> Policy:
        line = self._state.links.slowest
        return policy_of(self._state.scenario, line_bytes_per_second=line)

    def configure(self, settings: DrsSettings, *, now: float) -> list[Command]:
        """Go on with other settings; what is open was recommended under the old ones."""
        was_on, self._settings = self._settings.enabled, settings
        self._policy = self._policy_now()
        self.open.clear()
        if not settings.enabled:
            self._next_s = None
        elif not was_on or self._next_s is None or now + settings.interval_s < self._next_s:
            self._next_s = now + settings.interval_s
        how = f"{settings.automation.value}, migration threshold {settings.threshold}"
        text = f"DRS is {how if settings.enabled else 'off'}"
        return [Record(topic=Topic.DRS, what="configured", text=text)]

    def approve(
        self, vms: tuple[str, ...] | None
    ) -> tuple[list[Command], list[MigrationRequested]]:
        """Return the approved migrations, and a word on each that is not there to approve."""
        notes: list[Command] = []
        wanted: list[MigrationRequested] = []
        if vms is None and not self.open:
            text = "there is nothing to apply: no recommendation is open"
            return [Record(topic=Topic.DRS, what="approve_refused", text=text)], []
        for vm in tuple(self.open) if vms is None else vms:
            found = self.open.pop(vm, None)
            if found is None:
                text = f"there is no open recommendation for {vm}"
                notes.append(Record(topic=Topic.DRS, what="approve_refused", text=text))
            elif self._state.vms[vm].host == found.source:
                wanted.append(found.request)
            else:
                text = f"{vm} is not on {found.source} any more"
                notes.append(Record(topic=Topic.DRS, what="approve_refused", text=text))
        if wanted:
            named = ", ".join(request.vm for request in wanted)
            notes.append(Record(topic=Topic.DRS, what="approved", text=f"applying: {named}"))
        return notes, wanted

    def stop(self) -> None:
        """Make no more passes, and drop what is being solved."""
        self._next_s = self._hurry_s = None
        self._asked = None
        self.open.clear()

    def hurry(self, at_s: float) -> None:
        """Make a pass at that time, also while DRS is off: a host is to be evacuated."""
        self._hurry_s = at_s if self._hurry_s is None else min(self._hurry_s, at_s)

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

    def input(self, *, now: float) -> tuple[Snapshot, Policy]:
        """Return what a pass decides on now. With DRS off it only makes what is mandatory."""
        snapshot = replace(snapshot_of(self._state, seen(self._state)), taken_at_s=now)
        if self._settings.enabled:
            return snapshot, self._policy
        return snapshot, replace(self._policy, migration_threshold=1)

    def tick(self, *, now: float, rng: np.random.Generator) -> list[Command]:
        """Ask for a plan if a pass is due and none is being made."""
        if self.next_s is None or now < self.next_s:
            return []
        if self._next_s is not None and now >= self._next_s:
            self._next_s = now + self._settings.interval_s
        if self._asked is not None:
            late_s = self._asked[1] + self._settings.plan_age_s_max
            if now < late_s:
                self._hurry_s = None if self._hurry_s is None else late_s
                return []
        self._hurry_s = None
        self._solves += 1
        snapshot, policy = self.input(now=now)
        self._asked = (self._solves, now, snapshot)
        return [
            Solve(
                solve=self._solves,
                snapshot=snapshot,
                policy=policy,
                seed=int(rng.integers(1 << 32)),
                budget_s_max=self._settings.budget_s_max,
                power=self._standby.request(placed_vms(self._state), list(snapshot.hosts))
                if self._settings.enabled
                else None,
            )
        ]

    def recommended(self, event: Recommended, *, now: float) -> Advice:
        """Return what to say of a plan, and the migrations to ask for."""
        if self._asked is None or self._asked[0] != event.solve:
            return Advice()
        _, asked_s, snapshot = self._asked
        self._asked = None
        if self._hurry_s is not None:
            self._hurry_s = now  # somebody asked while this one was being made
        age_s = now - asked_s
        if age_s > self._settings.plan_age_s_max:
            text = f"a plan of {age_s:.1f} s is too old and was dropped"
            return Advice(notes=(Record(topic=Topic.DRS, what="plan_dropped", text=text),))
        hosts = self._standby.planned(event.plan)
        wanted = self._migrations(event.plan, snapshot)
        leaving = drs_model.HostState.ENTERING_MAINTENANCE
        return Advice(
            notes=(_pass_note(event, snapshot, applied=len(wanted)), *hosts),
            wanted=tuple(wanted),
            evacuated=frozenset(
                host
                for host, state in zip(snapshot.hosts, snapshot.host_states, strict=True)
                if state is leaving
            ),
        )

    def forget_solve(self) -> list[Command]:
        """Whoever solved is gone: say so, and look again soon."""
        if self._asked is None:
            return []
        solve, asked_s, _ = self._asked
        self.hurry(asked_s)
        return self.failed(solve, "VirtualCenter was restarted")

    def failed(self, solve: int, reason: str) -> list[Command]:
        """Say that a solve has failed; the next pass tries again."""
        if self._asked is None or self._asked[0] != solve:
            return []
        self._asked = None
        return [Record(topic=Topic.DRS, what="solve_failed", text=f"DRS has no plan: {reason}")]

    def _migrations(self, plan: Plan, snapshot: Snapshot) -> list[MigrationRequested]:
        """Return the plan's actions that need nobody's consent, in its order.

        Who asked for a host's evacuation has consented to its VMs' moves, also while DRS
        is off or only recommends.

        A VM that stops on a third host goes on when it has arrived there. One that has
        moved since the snapshot was taken is left to the next pass.
        """
        reasons = {r.move.vm: r for r in plan.recommendations}
        asked: dict[str, MigrationRequested] = {}
        self.open = {}
        for action in sorted(plan.actions, key=lambda action: action.order):
            move = action.move
            vm, destination = snapshot.vms[move.vm], snapshot.hosts[move.destination]
            source = snapshot.hosts[move.source]
            why = reasons.get(move.vm)
            if vm in asked:
                asked[vm] = replace(asked[vm], onward=destination)
            elif vm in self.open:
                opened = self.open[vm]
                through = replace(opened.request, onward=destination)
                self.open[vm] = replace(opened, request=through)
            elif why is not None and self._state.vms[vm].host == source:
                leaving = self._state.hosts[source].state is HostState.ENTERING_MAINTENANCE
                request = MigrationRequested(
                    vm=vm,
                    destination=destination,
                    trigger=Trigger.MAINTENANCE if leaving else Trigger.DRS,
                    reason=why.sentence,
                )
                if leaving or (why.automatic and self._settings.enabled):
                    asked[vm] = request
                elif self._settings.enabled:
                    self.open[vm] = OpenRecommendation(
                        request=request, source=source, priority=why.priority
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
