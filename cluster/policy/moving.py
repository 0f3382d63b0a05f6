"""Migrations from the request to the end: queue, admission, the commit point, network shares."""

from collections.abc import Iterable
from dataclasses import replace

from cluster.inventory.model import Mode
from cluster.migration.spec import MigrationSpec, Outcome, Result
from cluster.policy.admission import concurrent_max, has_slot
from cluster.policy.balancing import rules_of
from cluster.policy.messages import (
    CancelMigration,
    Command,
    CommitRequested,
    Discard,
    GrantCommit,
    MigrationRequested,
    Record,
    RefuseCommit,
    SetShares,
    StartMigration,
    TellPeerLost,
    Topic,
)
from cluster.policy.placement import best_host
from cluster.policy.preflight import Problem, admissible
from cluster.policy.sharing import max_min_shares
from cluster.policy.state import ClusterState, HostState, MigrationRecord, PowerState
from drs.rules import AntiAffinity, Rule, Strength, VmHostAffinity, VmHostAntiAffinity

# How much a new measurement counts in the smoothed overhead of a switchover.
_OVERHEAD_WEIGHT = 0.3


class Moving:
    """Decides which migrations start, when, and whether their commit is granted."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._count = 0
        self._limits = {
            name: concurrent_max(host.spec, state.scenario.migration)
            for name, host in state.hosts.items()
        }
        self._rules: tuple[Rule, ...] = tuple(
            rule
            for rule in rules_of(state.scenario.rules)
            if isinstance(rule, AntiAffinity | VmHostAffinity | VmHostAntiAffinity)
            and rule.strength is Strength.MUST
        )

    def request(self, event: MigrationRequested, *, now: float) -> list[Command]:
        """Queue a migration, or refuse it with every reason."""
        vm = self._state.vms.get(event.vm)
        if vm is None:
            return [_refused(event, f"there is no VM {event.vm}")]
        if vm.power is not PowerState.ON or vm.host is None:
            return [_refused(event, f"{event.vm} is {vm.power.value}")]
        if (other := self._state.migration_of(event.vm)) is not None:
            return [_refused(event, f"{event.vm} is migrating already to {other.spec.destination}")]
        destination = event.destination or best_host(self._state, vm, but=vm.host)
        if destination is None:
            return [_refused(event, f"no other host can take {event.vm} now")]
        if destination not in self._state.hosts:
            return [_refused(event, f"there is no host {destination}")]
        if destination == vm.host:
            return [_refused(event, f"{event.vm} runs on {destination} already")]
        mode, said = self._mode(event, vm.host, destination)
        if mode is None:
            return [_refused(event, said)]
        spec = self._spec(event, vm.host, destination, mode)
        self._state.migrations[spec.id] = MigrationRecord(spec=spec, queued_s=now)
        notes = [_note(spec, "mode_replaced", said)] if said else []
        return [*notes, *self.start_waiting(now=now)]

    def start_waiting(self, *, now: float) -> list[Command]:
        """Start what may start, in order; a later one may pass one that waits."""
        commands: list[Command] = []
        started = False
        for record in list(self._state.migrations.values()):
            if record.started_s is not None:
                continue
            if not has_slot(record.spec, self._state.running(), self._limits):
                record.waiting_for = "a slot at both hosts"
                continue
            problems = self._problems(record.spec)
            if not problems:
                record.started_s = now
                started = True
                commands.append(StartMigration(spec=record.spec))
            elif self._may_pass(record.spec, problems):
                record.waiting_for = "; ".join(problem.text for problem in problems)
            else:
                del self._state.migrations[record.spec.id]
                reason = "; ".join(problem.text for problem in problems)
                commands.append(_refused(record.spec, reason))
        if started:
            commands = self._with_shares(commands)
        return commands

    def commit(self, event: CommitRequested) -> list[Command]:
        """Give the VM to its destination, once and only if nothing stands against it now."""
        record = self._state.migrations.get(event.migration)
        if record is None:
            return [RefuseCommit(migration=event.migration, reason="the migration has ended")]
        spec = record.spec
        if not record.committed:
            destination = self._state.hosts[spec.destination]
            if destination.state is not HostState.CONNECTED:
                reason = f"{spec.destination} is {destination.state.value}"
                return [RefuseCommit(migration=spec.id, reason=reason)]
        refusal = self._state.ownership.claim(
            spec.vm, epoch=event.epoch, source=spec.source, host=spec.destination
        )
        if refusal:
            return [RefuseCommit(migration=spec.id, reason=refusal)]
        record.committed = True
        vm = self._state.vms[spec.vm]
        vm.host, vm.epoch = spec.destination, event.epoch
        return [GrantCommit(migration=spec.id)]

    def ended(self, migration: str, outcome: Outcome, *, now: float) -> list[Command]:
        """Free the slot, learn from the figures, start what waited."""
        record = self._state.migrations.pop(migration, None)
        if record is None:
            return []
        spec = record.spec
        if outcome.result is Result.COMPLETED:
            self._state.vms[spec.vm].moved_at_s = now
        if outcome.downtime is not None:
            measured = outcome.downtime.total_s - outcome.downtime.copy_s
            self._state.overhead_s += _OVERHEAD_WEIGHT * (measured - self._state.overhead_s)
        return [
            _ended_note(spec, outcome),
            *self.start_waiting(now=now),
            *self._shares(),
        ]

    def cancel(self, vm: str) -> list[Command]:
        """Stop a VM's migration; one that waits ends here."""
        record = self._state.migration_of(vm)
        if record is None:
            text = f"{vm} is not migrating"
            return [Record(topic=Topic.MIGRATION, what="cancel_refused", text=text)]
        if record.started_s is None:
            del self._state.migrations[record.spec.id]
            return [_refused(record.spec, "cancelled before it began")]
        return [CancelMigration(migration=record.spec.id, source=record.spec.source)]

    def host_failed(self, host: str) -> list[Command]:
        """Tell the other ends of a dead host's migrations; forget those nobody drives any more."""
        commands: list[Command] = []
        for record in list(self._state.migrations.values()):
            spec = record.spec
            if host not in (spec.source, spec.destination):
                continue
            if record.started_s is None or host == spec.source:
                del self._state.migrations[spec.id]
                commands.append(_refused(spec, f"{host} has failed"))
                if record.started_s is not None and not record.committed:
                    commands.append(Discard(migration=spec.id, destination=spec.destination))
            else:
                commands.append(TellPeerLost(migration=spec.id, source=spec.source))
        return commands

    def _mode(
        self, event: MigrationRequested, source: str, destination: str
    ) -> tuple[Mode | None, str]:
        """Return the mode that both hosts can do, or None; and what to say of it."""
        wanted = event.mode or self._state.scenario.migration.mode
        hosts = self._state.hosts
        if wanted is Mode.PRECOPY or all(hosts[h].serves_faults for h in (source, destination)):
            return wanted, ""
        lacking = "a host without fault service cannot carry post-copy"
        if wanted is Mode.POSTCOPY:
            return None, lacking
        return Mode.PRECOPY, f"{wanted.value} becomes precopy: {lacking}"

    def _spec(
        self, event: MigrationRequested, source: str, destination: str, mode: Mode
    ) -> MigrationSpec:
        self._count += 1
        settings = self._state.scenario.migration
        vm = self._state.vms[event.vm].spec
        return MigrationSpec(
            id=f"m{self._count:04d}",
            vm=event.vm,
            source=source,
            destination=destination,
            epoch=self._state.ownership.next_epoch(event.vm),
            memory_bytes=vm.memory_bytes,
            mode=mode,
            trigger=event.trigger,
            reason=event.reason,
            downtime_s_max=vm.downtime_s_max or settings.downtime_s_max,
            stall_s_max=settings.stall_s_max,
            rounds_max=settings.rounds_max,
            overhead_s=self._state.overhead_s,
        )

    def _problems(self, spec: MigrationSpec) -> list[Problem]:
        state = self._state
        there = state.held_by(spec.destination, but=spec.vm)
        problems = admissible(
            state.vms[spec.vm],
            state.hosts[spec.source],
            state.hosts[spec.destination],
            there,
        )
        held = state.occupancy()
        before = {v.cause() for rule in self._rules for v in rule.check(held)}
        held[spec.vm] = (*held[spec.vm], spec.destination)
        for rule in self._rules:
            for violation in rule.check(held):
                if violation.cause() not in before:
                    problems.append(Problem(check="rule", text=violation.message, lasting=False))
        return problems

    def _may_pass(self, spec: MigrationSpec, problems: Iterable[Problem]) -> bool:
        """Whether somebody is leaving the destination, so that waiting can help."""
        leaving = any(other.source == spec.destination for other in self._state.running())
        return leaving and not any(problem.lasting for problem in problems)

    def _with_shares(self, commands: list[Command]) -> list[Command]:
        """Let new migrations begin with their share, and tell the others theirs."""
        shares = self._rates()
        filled = [
            StartMigration(spec=replace(c.spec, rate_bytes_per_second=shares[c.spec.id]))
            if isinstance(c, StartMigration)
            else c
            for c in commands
        ]
        return [*filled, *self._shares()]

    def _rates(self) -> dict[str, float | None]:
        running = self._state.running()
        cards = {name: at for at, name in enumerate(self._state.hosts)}
        rates = [host.spec.nic.rate_bytes_per_second for host in self._state.hosts.values()]
        # A card is two links: what it sends, and behind those what it receives.
        capacity = [float("inf") if rate is None else rate for rate in (*rates, *rates)]
        links = [(cards[s.source], len(rates) + cards[s.destination]) for s in running]
        shares = max_min_shares(links, capacity).tolist()
        return {
            spec.id: None if share == float("inf") else share
            for spec, share in zip(running, shares, strict=True)
        }

    def _shares(self) -> list[Command]:
        by_host: dict[str, list[tuple[str, float | None]]] = {}
        rates = self._rates()
        for spec in self._state.running():
            by_host.setdefault(spec.destination, []).append((spec.id, rates[spec.id]))
        return [
            SetShares(host=host, shares=tuple(shares)) for host, shares in sorted(by_host.items())
        ]


def _refused(asked: MigrationRequested | MigrationSpec, reason: str) -> Record:
    fields: tuple[tuple[str, object], ...] = (
        ("vm", asked.vm),
        ("destination", asked.destination),
        ("trigger", asked.trigger.value),
        ("reason", reason),
    )
    if isinstance(asked, MigrationSpec):
        fields = (("migration", asked.id), ("source", asked.source), *fields)
    return Record(
        topic=Topic.MIGRATION,
        what="refused",
        text=f"{asked.vm} → {asked.destination or 'any host'}: refused, {reason}",
        fields=fields,
    )


def _note(spec: MigrationSpec, what: str, text: str) -> Record:
    return Record(
        topic=Topic.MIGRATION,
        what=what,
        text=f"{spec.vm}: {text}",
        fields=(("migration", spec.id), ("vm", spec.vm)),
    )


def _ended_note(spec: MigrationSpec, outcome: Outcome) -> Record:
    text = f"{spec.vm} {spec.source} → {spec.destination}: {outcome.result.value}"
    if outcome.downtime is not None and outcome.result is Result.COMPLETED:
        text += f", downtime {outcome.downtime.total_s * 1000:.1f} ms"
    if outcome.error:
        text += f", {outcome.error}"
    return Record(
        topic=Topic.MIGRATION,
        what=outcome.result.value,
        text=text,
        fields=(
            ("migration", spec.id),
            ("vm", spec.vm),
            ("source", spec.source),
            ("destination", spec.destination),
            ("duration_s", outcome.duration_s),
            ("downtime_s", outcome.downtime.total_s if outcome.downtime else None),
            ("rounds", len(outcome.rounds)),
            ("error", outcome.error),
        ),
    )
