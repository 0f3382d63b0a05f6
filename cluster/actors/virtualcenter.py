"""VirtualCenter as a Ray actor: hears, writes down, decides with the pure `Center`, carries out.

With a journal it may die at any instant: Ray starts it again, it hears from the journal what
it had heard, and connects to the hosts, which have gone on meanwhile.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray

from cluster.actors.background import Background
from cluster.actors.carrying import Carrier
from cluster.actors.chronicle import Chronicle, Kind
from cluster.actors.licence_server import LicenceLink
from cluster.actors.named import host_name
from cluster.actors.priority import goes_first
from cluster.actors.replies import CenterDown, Handle, Place
from cluster.actors.reports import HostSample, MigrationProgress, Verification
from cluster.actors.showing import cluster_view, licence_view, vm_view
from cluster.actors.views import (
    ClusterView,
    EndedMigration,
    Happening,
    LicenceView,
    VmView,
)
from cluster.inventory.model import Scenario
from cluster.journal.database import JournalFailed
from cluster.journal.journal import Journal, Noted
from cluster.journal.replay import Known, begin, restore
from cluster.migration.spec import MigrationSpec, Outcome
from cluster.migration.story import Entry
from cluster.policy.balancing import OpenRecommendation
from cluster.policy.center import Center
from cluster.policy.forecast import Candidate, Queued, candidates, queue
from cluster.policy.licences import begins_unix_s
from cluster.policy.messages import (
    Asked,
    CalendarTold,
    CancelRequested,
    CloseMigration,
    Command,
    CommitRequested,
    Event,
    GrantCommit,
    HostFailed,
    LinksMeasured,
    LoadSampled,
    MigrationEnded,
    MigrationRequested,
    Record,
    RefuseCommit,
    Restarted,
    Started,
    Stopping,
    Ticked,
    VmEnded,
)
from cluster.policy.state import PowerState
from cluster.policy.tasks import Task

_KEEP_EVENTS_MIN = 500
_KEEP_EVENTS_MAX = 20_000
_HOUSEKEEPING_S = 1.0
_CHECK_S = 4.0
_MEND_S = 1.0
_PLACE_PAUSE_S = 0.02
# A VM's host may be connecting again; then clients ask once more.
_PLACE_S_MAX = 10.0


class VirtualCenter:
    """The cluster's one decision maker and the keeper of ownership."""

    def __init__(self, scenario: Scenario, *, seed: int, database: str | None = None) -> None:
        """`database` None keeps nothing: such a one lives once."""
        goes_first()
        self._why_down = ""
        self._journal: Journal | None = None
        self._known: Known | None = None
        self._work = Background(self._work_failed)
        self._woken = asyncio.Event()
        self._samples: dict[str, HostSample] = {}
        self._verifying: set[str] = set()
        self._restarted_s = 0.0
        try:
            known = self._learn(scenario, seed, database)
        except JournalFailed as error:
            self._why_down = str(error)
            self._work.spawn(self._mend(Path(str(database))))
            return
        self._known = known
        self._zero_s = time.monotonic() - known.now_s - max(0.0, time.time() - known.unix_s)
        self._chronicle = Chronicle(self._journal)
        self._carrier = Carrier(known.center, self._feed, self._now)
        self._licences = LicenceLink(
            known.center, self._feed, lambda text: self._note(Kind.PROBLEM, text)
        )
        self._database = None if database is None else Path(database)
        if known.restarted:
            self._work.spawn(self._resume())

    # The run's calls.

    async def start(self, hosts: dict[str, Handle]) -> None:
        """Connect the hosts and power on every VM; `view().all_up` says when that is done."""
        self._center  # noqa: B018  raises while VirtualCenter is down
        if self._carrier.hosts:
            return
        self._carrier.hosts = hosts
        self._go()

    async def begin(self) -> None:
        """Start the scenario's clock: its events and DRS count from now."""
        if self._center.state.began_s is not None:
            return
        self._feed(Started())
        for host in self._carrier.hosts.values():
            self._work.spawn(_begun(host))

    async def stopping(self) -> None:
        """Start nothing new."""
        self._feed(Stopping())

    async def links_measured(self, measured: LinksMeasured) -> None:
        """Count with what the network between the nodes carries."""
        self._feed(measured)

    async def request_migration(self, request: MigrationRequested) -> None:
        """Ask for a migration; what becomes of it is in the story."""
        self._feed(request)

    async def request_cancel(self, vm: str) -> None:
        """Ask for a VM's migration to be stopped."""
        self._feed(CancelRequested(vm=vm))

    async def locate(self, vm: str) -> Place | None:
        """Return where a VM runs, when it has started; None if it is off.

        One that HA is to restart is waited for; without room for it, it is off.

        Raises:
            TimeoutError: If it is starting, or its host has not told yet where its process is.
        """
        end_s = time.monotonic() + _PLACE_S_MAX
        record = self._center.state.vms.get(vm)
        while time.monotonic() < end_s:
            if record is None or (record.power is PowerState.OFF and not record.restart_wanted):
                return None
            handle = self._carrier.vms.get(vm)
            if record.power is PowerState.ON and handle is not None:
                return Place(vm=handle, epoch=record.epoch, born=record.born)
            await asyncio.sleep(_PLACE_PAUSE_S)
        if record is not None and record.power is PowerState.OFF:
            return None
        raise TimeoutError(f"the place of {vm} is not known yet")

    async def host_of(self, vm: str) -> Handle:
        """Return the handle of the host a VM runs on; None if it is off."""
        record = self._center.state.vms.get(vm)
        if record is None or record.host is None:
            return None
        return self._carrier.hosts[record.host]

    # An operator's calls.

    async def ask(self, asked: Asked) -> Task:
        """Begin a task; asked again with the same key it is the same one."""
        self._feed(asked)
        task = self._center.tasks.asked_before(asked.key)
        assert task is not None
        return task

    async def licence_server(self, *, runs: bool) -> None:
        """Start the licence server, or end it."""
        if runs:
            self._licences.start()
        else:
            self._licences.stop()

    async def licences(self) -> LicenceView | None:
        """Return what the right to use features rests on, and what each host has."""
        return licence_view(self._center, now=self._now())

    async def task(self, name: str) -> Task | None:
        """Return a task; None if it is unknown, or long over."""
        return self._center.tasks.get(name)

    async def tasks(self) -> tuple[Task, ...]:
        """Return all tasks that are remembered, the oldest first."""
        return self._center.tasks.all()

    async def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of all hosts, and of all VMs."""
        return tuple(self._center.state.hosts), tuple(self._center.state.vms)

    async def process(self) -> int:
        """Return this life's process."""
        return os.getpid()

    async def scenario(self) -> Scenario:
        """Return the scenario, as it is configured now."""
        return self._center.state.scenario

    async def vm(self, name: str) -> VmView | None:
        """Return a VM as it is now; None if there is none of this name."""
        return vm_view(self._center, name, self._samples)

    async def candidates(self, vm: str) -> tuple[Candidate, ...]:
        """Return every other host, and what speaks against it or what a migration would cost."""
        return candidates(self._center.state, vm)

    async def queue(self) -> tuple[Queued, ...]:
        """Return the migrations that wait, in order."""
        return queue(self._center.state, now=self._now())

    async def recommendations(self) -> tuple[OpenRecommendation, ...]:
        """Return what DRS waits for somebody's consent with."""
        return self._center.recommendations()

    async def records(self, after: int, count_max: int = 1000) -> list[Noted]:
        """Return the story's entries after a number, the newest so many."""
        self._center  # noqa: B018  raises while VirtualCenter is down
        return self._chronicle.since(after, kind=Kind.STORY, count_max=count_max)

    async def defects(self, count_max: int = 10) -> list[str]:
        """Return what should not have happened, the newest so many."""
        self._center  # noqa: B018  raises while VirtualCenter is down
        found = self._chronicle.since(0, kind=Kind.PROBLEM, count_max=count_max)
        return [entry.text for entry in found]

    async def view(self, after: int = 0) -> ClusterView:
        """Return what there is to see, and what has happened after that number."""
        return cluster_view(
            self._center,
            now=self._now(),
            reports=self._carrier.reports,
            samples=self._samples,
            progress=self._carrier.progress,
            verifying=len(self._verifying),
            entries=self._chronicle.since(after),
            number=self._chronicle.newest,
        )

    # The hosts' calls.

    async def prepared(self, migration: str, there: Handle) -> None:
        """A migration's destination is ready; `there` is the VM if it is committed."""
        self._center  # noqa: B018  raises while VirtualCenter is down
        self._carrier.there[migration] = there

    async def commit(self, migration: str, epoch: int) -> str:
        """The commit point: return "" when the destination owns the VM now, or why not."""
        answers = self._feed(CommitRequested(migration=migration, epoch=epoch))
        for answer in answers:
            match answer:
                case GrantCommit():
                    record = self._center.state.migrations.get(migration)
                    if record is not None:
                        self._carrier.committed(record.spec)
                    return ""
                case RefuseCommit(reason=reason):
                    return reason
        return "VirtualCenter gave no answer"

    async def owned(self, host: str, vms: Sequence[tuple[str, int]]) -> list[str]:
        """Return which of these (VM, epoch) that host may run."""
        owned = self._center.state.ownership
        return [
            vm
            for vm, epoch in vms
            if (record := owned.get(vm)) is not None
            and (record.epoch, record.host) == (epoch, host)
        ]

    async def report(self, sample: HostSample) -> None:
        """Take a host's sample."""
        self._center  # noqa: B018  raises while VirtualCenter is down
        self._samples[sample.load.host] = sample
        self._feed(LoadSampled(load=sample.load))

    async def vm_ended(self, vm: str, epoch: int, reason: str) -> None:
        """A VM has stopped by itself."""
        self._feed(VmEnded(vm=vm, epoch=epoch, reason=reason))

    async def migration_progressed(self, progress: MigrationProgress) -> None:
        """A migration has taken a turn."""
        if progress.migration in self._center.state.migrations:
            self._carrier.progress[progress.migration] = progress

    async def migration_ended(
        self, migration: str, outcome: Outcome, story: tuple[Entry, ...], *, verifying: bool
    ) -> None:
        """A machine has finished; with `verifying` a call of `verified` follows."""
        if verifying:
            self._verifying.add(migration)
        self._feed(MigrationEnded(migration=migration, outcome=outcome), story, verifying=verifying)

    async def verified(self, verification: Verification) -> None:
        """A migrated VM's memory has been compared, or could not be."""
        self._verifying.discard(verification.migration)
        self._note(Kind.VERIFIED, verification)

    async def driver_failed(self, subject: str, error: str) -> None:
        """A host's work, a migration's among it, could not go on: a defect, which fails the run."""
        self._note(Kind.PROBLEM, f"{subject}: {error}")

    # Inside.

    @property
    def _center(self) -> Center:
        """Raises:
        CenterDown: If there is no journal to work with.
        """
        if self._known is None:
            raise CenterDown(self._why_down)
        return self._known.center

    @property
    def _rng(self) -> np.random.Generator:
        assert self._known is not None
        return self._known.rng

    def _now(self) -> float:
        return time.monotonic() - self._zero_s

    def _learn(self, scenario: Scenario, seed: int, database: str | None) -> Known:
        """Raises:
        JournalFailed: If there is no journal to be had.
        """
        unix_s = time.time()
        if database is None:
            center, rng = Center(scenario), np.random.default_rng(seed)
            return Known(center=center, rng=rng, now_s=0.0, unix_s=unix_s)
        self._journal = journal = Journal(Path(database))
        if ray.get_runtime_context().was_current_actor_reconstructed:
            if (known := restore(journal)) is not None:
                return known
            # Dead before it could begin: nobody calls `start` again, so the hosts are looked for.
            return replace(begin(journal, scenario, seed=seed, unix_s=unix_s), restarted=True)
        return begin(journal, scenario, seed=seed, unix_s=unix_s)

    async def _resume(self) -> None:
        """After our own death: find the hosts by their names, and say again what is under way."""
        missing: list[str] = []
        for name in self._center.state.hosts:
            try:
                self._carrier.hosts[name] = ray.get_actor(host_name(name))
            except ValueError:
                missing.append(name)
        self._feed(Restarted())
        for name in missing:
            self._feed(HostFailed(host=name, reason="its process died with VirtualCenter away"))
        self._go()

    def _go(self) -> None:
        if self._center.state.licensing is None:
            unix_s = begins_unix_s(self._center.state.scenario, time.time())
            self._feed(CalendarTold(unix_s=unix_s))
        if self._database is not None:
            at = self._database.with_name(f"{self._database.stem}-licences.lic")
            self._work.spawn(self._licences.watch(at))
        self._work.spawn(self._keep_time())
        self._work.spawn(self._carrier.warm_solver())
        if self._journal is not None:
            self._work.spawn(self._keep_house(self._journal))
        me = ray.get_runtime_context().current_actor
        for name in self._carrier.hosts:
            self._work.spawn(self._carrier.connect(name, me, self._work))

    def _feed(
        self, event: Event, story: tuple[Entry, ...] = (), *, verifying: bool = False
    ) -> tuple[Command, ...]:
        """Decide on an event, write it down, and only then carry out what was decided."""
        center, now = self._center, self._now()
        if isinstance(event, LoadSampled):
            center.handle(event, now=now, rng=self._rng)
            if self._journal is not None:
                self._journal.hear_later(event, now_s=now)
            return ()
        ended = _spec_of(center, event)
        commands = center.handle(event, now=now, rng=self._rng)
        entries = self._entries(commands)
        if ended is not None and isinstance(event, MigrationEnded):
            thing = EndedMigration(
                spec=ended, outcome=event.outcome, story=story, verifying=verifying
            )
            entries.append(self._entry(Kind.ENDED, thing))
        if self._journal is not None:
            try:
                self._journal.hear(event, entries, now_s=now)
            except JournalFailed as error:
                self._die(error)
        self._chronicle.add(entries)
        for command in commands:
            self._carrier.carry_out(command, self._work)
        if ended is not None:
            self._carrier.forget(ended.id)
        self._woken.set()
        return commands

    def _entries(self, commands: tuple[Command, ...]) -> list[Noted]:
        """Return what people see of an event's consequences."""
        time_s = self._center.scenario_s(self._now())
        entries: list[Noted] = []
        for command in commands:
            if isinstance(command, Record):
                entries.append(self._entry(Kind.STORY, Happening(time_s=time_s, record=command)))
            elif isinstance(command, CloseMigration):
                thing = EndedMigration(spec=command.spec, outcome=command.outcome)
                entries.append(self._entry(Kind.ENDED, thing))
        return entries

    def _entry(self, kind: Kind, thing: Happening | EndedMigration) -> Noted:
        return self._chronicle.made(kind, thing, time_s=self._center.scenario_s(self._now()))

    def _note(self, kind: Kind, thing: Verification | str) -> None:
        time_s = self._center.scenario_s(self._now())
        try:
            self._chronicle.note(kind, thing, time_s=time_s)
        except JournalFailed as error:
            self._die(error)

    def _work_failed(self, error: BaseException) -> None:
        self._note(Kind.PROBLEM, f"{type(error).__name__}: {error}")

    def _die(self, error: JournalFailed) -> None:
        """End this life: what was decided is not written down, so nobody may hear of it.

        Ray begins the next one, which knows what is written.
        """
        print(f"VirtualCenter ends: {error}", file=sys.stderr, flush=True)
        os._exit(1)

    async def _mend(self, database: Path) -> None:
        """Without a journal nothing can be decided: try until there is one, and begin anew."""
        while True:
            await asyncio.sleep(_MEND_S)
            try:
                Journal(database).close()
            except JournalFailed as error:
                self._why_down = str(error)
            else:
                os._exit(0)

    async def _keep_house(self, journal: Journal) -> None:
        """Bound what a restart hears again, bring it all to the disk, and look whether it is whole."""
        loop = asyncio.get_running_loop()
        checked_s = time.monotonic()
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                journal.note(())
                since = journal.events_since_kept
                quiet = not self._center.state.running()
                if since > _KEEP_EVENTS_MAX or (quiet and since > _KEEP_EVENTS_MIN):
                    journal.keep((self._center, self._rng), now_s=self._now())
                await loop.run_in_executor(None, journal.checkpoint)
                if time.monotonic() - checked_s > _CHECK_S:
                    await loop.run_in_executor(None, journal.check)
                    checked_s = time.monotonic()
            except JournalFailed as error:
                self._die(error)

    async def _keep_time(self) -> None:
        while True:
            self._woken.clear()
            wake_at = self._center.wake_at
            wait_s = None if wake_at is None else max(0.0, wake_at - self._now())
            try:
                await asyncio.wait_for(self._woken.wait(), wait_s)
            except TimeoutError:
                self._feed(Ticked())


def _spec_of(center: Center, event: Event) -> MigrationSpec | None:
    """Return the migration that an event ends, if it has not ended already."""
    if not isinstance(event, MigrationEnded):
        return None
    record = center.state.migrations.get(event.migration)
    return None if record is None else record.spec


async def _begun(host: Handle) -> None:
    """Let a host's clock begin; one that is dead is reported by its lifeline."""
    with contextlib.suppress(ray.exceptions.RayError):
        await host.begin.remote(0.0)
