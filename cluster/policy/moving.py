"""Migrations from the request to the end: what is asked for, the commit point, what ends them early."""

from dataclasses import replace

from cluster.inventory.model import Mode
from cluster.migration.spec import MigrationSpec, Outcome, Result, Trigger, not_begun
from cluster.policy import notes
from cluster.policy.messages import (
    CancelMigration,
    CloseMigration,
    Command,
    CommitRequested,
    Discard,
    GrantCommit,
    MigrationRequested,
    Record,
    RefuseCommit,
    SetDemand,
    TakeOver,
    TellPeerLost,
    Topic,
)
from cluster.policy.placement import best_host
from cluster.policy.preflight import admissible
from cluster.policy.problems import in_words
from cluster.policy.state import ClusterState, MigrationRecord, PowerState
from cluster.policy.usage import Usage
from cluster.policy.waiting import start_waiting

# How much a new measurement counts in the smoothed overhead of a switchover.
_OVERHEAD_WEIGHT = 0.3
# An overhead near the downtime allowed would forbid every switchover, and with it the
# measurements that could correct it.
_OVERHEAD_RATIO_MAX = 0.5


class Moving:
    """Decides which migrations there are, and whether their commit is granted."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._count = 0
        self._stopping = False

    def request(self, *events: MigrationRequested, now: float) -> list[Command]:
        """Queue migrations, or refuse them with the reason; then start what may start."""
        queued = [command for event in events for command in self._queue(event, now)]
        return [*queued, *self.start_waiting(now=now, only_room=True)]

    def _queue(self, event: MigrationRequested, now: float) -> list[Command]:
        found = self._destination(event)
        if isinstance(found, Record):
            return [found]
        source, destination = found
        mode, said = self._mode(event, source, destination)
        spec = self._spec(event, source, destination, mode)
        record = MigrationRecord(spec=spec, queued_s=now, onward=event.onward)
        self._state.migrations[spec.id] = record
        return [notes.mode_replaced(spec, said)] if said else []

    def start_waiting(self, *, now: float, only_room: bool = False) -> list[Command]:
        """Start what may start now."""
        return start_waiting(self._state, now=now, only_room=only_room)

    def stop(self) -> list[Command]:
        """Start nothing new; what waits is refused."""
        self._stopping = True
        waiting = [r for r in self._state.migrations.values() if r.started_s is None]
        return [self._drop(record, "the cluster is stopping") for record in waiting]

    def commit(self, event: CommitRequested) -> list[Command]:
        """Give the VM to its destination, once and only if nothing stands against it now.

        The answer is for good, however the world changes: a source that was refused goes
        on owning the VM, and one that was granted must not, even if the VM has ended since.
        """
        record = self._state.migrations.get(event.migration)
        if record is None:
            return [RefuseCommit(migration=event.migration, reason="the migration has ended")]
        spec = record.spec
        if event.epoch != spec.epoch:
            reason = f"epoch {event.epoch} is not that of {spec.id}, {spec.epoch}"
            return [RefuseCommit(migration=spec.id, reason=reason)]
        if record.committed:
            return [GrantCommit(migration=spec.id)]
        record.refusal = record.refusal or self._objection(spec)
        if record.refusal:
            return [RefuseCommit(migration=spec.id, reason=record.refusal)]
        record.committed = True
        vm = self._state.vms[spec.vm]
        vm.epoch = spec.epoch
        self._state.place(vm, spec.destination)
        return [GrantCommit(migration=spec.id)]

    def ended(self, migration: str, outcome: Outcome, *, now: float) -> list[Command]:
        """Free the slot, learn from the figures, send the VM on if this was a bypass.

        What waits for the slot is the caller's to start.
        """
        record = self._state.migrations.pop(migration, None)
        if record is None:
            return []
        spec, vm = record.spec, self._state.vms[record.spec.vm]
        commands: list[Command] = [notes.ended(spec, outcome)]
        if outcome.result is Result.LOST and self._state.answers(spec.destination):
            commands.append(Discard(migration=spec.id, destination=spec.destination))
        if outcome.result is not Result.COMPLETED:
            return commands
        vm.moved_at_s = now
        self._learn(outcome)
        if record.demand_changed and vm.host is not None:
            # The destination took the profile that held when it was made ready.
            commands.append(
                SetDemand(vm=spec.vm, host=vm.host, demand=vm.demand, from_s=vm.demand_from_s)
            )
        if record.onward and not vm.off_wanted:
            commands += self.request(_second_leg(record, record.onward), now=now)
        return commands

    def cancel(self, vm: str) -> list[Command]:
        """Stop a VM's migration; one that waits ends here."""
        record = self._state.migration_of(vm)
        if record is None:
            text = f"{vm} is not migrating"
            fields = (("vm", vm),)
            note = Record(topic=Topic.MIGRATION, what="cancel_refused", text=text, fields=fields)
            return [note]
        if record.started_s is None:
            return [self._drop(record, "cancelled before it began")]
        record.onward, record.cancel_wanted = None, True
        return [CancelMigration(migration=record.spec.id, source=record.spec.source)]

    def stay(self, host: str) -> list[Command]:
        """A host is not evacuated any more: what still waits to leave it for that stays."""
        return [
            self._drop(record, f"{host} is not evacuated any more")
            for record in list(self._state.migrations.values())
            if record.started_s is None
            and record.spec.source == host
            and record.spec.trigger is Trigger.MAINTENANCE
        ]

    def vm_ended(self, vm: str, epoch: int, reason: str) -> list[Command]:
        """A VM, or the copy of it that a migration fills, has ended: nothing is left to move."""
        record = self._state.migration_of(vm)
        if record is None or record.committed:
            return []
        spec = record.spec
        if record.started_s is None:
            return [self._drop(record, f"{vm} has ended: {reason}")]
        if epoch == spec.epoch:
            record.refusal = record.refusal or f"the copy on {spec.destination} ended: {reason}"
        record.cancel_wanted = True
        return [CancelMigration(migration=spec.id, source=spec.source)]

    def host_failed(self, host: str, *, now: float) -> list[Command]:
        """Tell the other ends of a dead host's migrations; close those nobody drives any more."""
        commands: list[Command] = []
        for record in list(self._state.migrations.values()):
            spec = record.spec
            if record.onward == host:
                record.onward = None
            if host not in (spec.source, spec.destination):
                continue
            if record.started_s is None:
                commands.append(self._drop(record, f"{host} has failed"))
            elif host == spec.source:
                commands += self._close(record, host, now)
            else:
                record.refusal = record.refusal or (
                    "" if record.committed else f"{host} has failed"
                )
                commands.append(TellPeerLost(migration=spec.id, source=spec.source))
        return commands

    # Inside.

    def _destination(self, event: MigrationRequested) -> tuple[str, str] | Record:
        """Return source and destination, or why there is no migration."""
        state = self._state
        vm = state.vms.get(event.vm)
        if self._stopping:
            return notes.refused(event, "the cluster is stopping")
        if vm is None:
            return notes.refused(event, f"there is no VM {event.vm}")
        if vm.power is not PowerState.ON or vm.host is None:
            return notes.refused(event, f"{event.vm} is {vm.power.value}")
        if (other := state.migration_of(event.vm)) is not None:
            where = other.spec.destination
            return notes.refused(event, f"{event.vm} is migrating already to {where}")
        if event.destination is not None and event.destination not in state.hosts:
            return notes.refused(event, f"there is no host {event.destination}")
        if event.destination == vm.host:
            return notes.refused(event, f"{event.vm} runs on {event.destination} already")
        destination = event.destination or best_host(
            state, vm, Usage(state), but=frozenset((vm.host,))
        )
        if destination is None:
            return notes.refused(event, f"no other host can take {event.vm} now")
        return vm.host, destination

    def _mode(self, event: MigrationRequested, source: str, destination: str) -> tuple[Mode, str]:
        """Return the mode that both hosts can do, and what to say if it is another.

        An explicit post-copy stays what it is, for preflight to refuse.
        """
        wanted = event.mode or self._state.scenario.migration.mode
        hosts = self._state.hosts
        serve = all(hosts[h].serves_faults for h in (source, destination))
        if serve or wanted in (Mode.PRECOPY, Mode.POSTCOPY):
            return wanted, ""
        lacking = "a host without fault service cannot carry post-copy"
        return Mode.PRECOPY, f"{wanted.value} becomes precopy: {lacking}"

    def _spec(
        self, event: MigrationRequested, source: str, destination: str, mode: Mode
    ) -> MigrationSpec:
        self._count += 1
        settings = self._state.scenario.migration
        vm = self._state.vms[event.vm].spec
        downtime_s_max = vm.downtime_s_max or settings.downtime_s_max
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
            downtime_s_max=downtime_s_max,
            stun_s_max=vm.stun_s_max,
            stall_s_max=settings.stall_s_max,
            rounds_max=settings.rounds_max,
            compression=settings.compression,
            checksum=settings.checksum,
            verify=settings.verify,
            overhead_s=min(self._state.overhead_s, _OVERHEAD_RATIO_MAX * downtime_s_max),
        )

    def _objection(self, spec: MigrationSpec) -> str:
        """Return what stands against the commit now, or claim the record and return ""."""
        vm = self._state.vms[spec.vm]
        if vm.host == spec.source:
            usage = Usage(self._state)
            problems = admissible(
                self._state, vm, spec.destination, usage, mode=spec.mode, on_the_way=True
            )
            if problems:
                return in_words(problems)
        return self._state.ownership.claim(
            spec.vm, epoch=spec.epoch, source=spec.source, host=spec.destination
        )

    def _close(self, record: MigrationRecord, host: str, now: float) -> list[Command]:
        """The machine died with its source: before the commit the VM did too."""
        spec = record.spec
        del self._state.migrations[spec.id]
        there = self._state.answers(spec.destination)
        saved = record.committed and there
        began_s = record.started_s if record.started_s is not None else now
        outcome = replace(
            not_begun(f"{host} has failed", now=self._state.scenario_s(began_s)),
            result=Result.COMPLETED if saved else Result.LOST,
            duration_s=now - began_s,
        )
        commands: list[Command] = [
            notes.ended(spec, outcome),
            CloseMigration(spec=spec, outcome=outcome),
        ]
        if saved:
            self._state.vms[spec.vm].moved_at_s = now
            order = TakeOver(
                migration=spec.id, vm=spec.vm, destination=spec.destination, epoch=spec.epoch
            )
            self._state.taking_over[spec.vm] = order
            commands.append(order)
        elif there:
            commands.append(Discard(migration=spec.id, destination=spec.destination))
        return commands

    def _drop(self, record: MigrationRecord, reason: str) -> Record:
        """A migration that has not begun never will."""
        del self._state.migrations[record.spec.id]
        return notes.refused(record.spec, reason)

    def _learn(self, outcome: Outcome) -> None:
        if outcome.downtime is not None:
            measured = outcome.downtime.total_s - outcome.downtime.copy_s
            self._state.overhead_s += _OVERHEAD_WEIGHT * (measured - self._state.overhead_s)


def _second_leg(record: MigrationRecord, destination: str) -> MigrationRequested:
    spec = record.spec
    return MigrationRequested(
        vm=spec.vm,
        destination=destination,
        trigger=spec.trigger,
        mode=spec.mode,
        reason=spec.reason,
    )
