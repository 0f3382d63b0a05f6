"""One life of VirtualCenter: hears, writes down, decides with the pure `Center`, carries out."""

import asyncio
import os
import sys
import time

import numpy as np
import ray

from cluster.actors.background import Background
from cluster.actors.carrying import Carrier
from cluster.actors.center_line import CenterDoor
from cluster.actors.chronicle import Chronicle, Kind
from cluster.actors.licence_server import LicenceLink
from cluster.actors.named import host_name
from cluster.actors.replies import Handle
from cluster.actors.reports import Verification
from cluster.actors.views import EndedMigration, Happening
from cluster.inventory.model import Scenario
from cluster.journal.database import JournalFailed
from cluster.journal.journal import Journal, Noted
from cluster.journal.replay import Known
from cluster.migration.spec import MigrationSpec
from cluster.migration.story import Entry
from cluster.policy.center import Center
from cluster.policy.licences import begins_unix_s
from cluster.policy.messages import (
    CalendarTold,
    CloseMigration,
    Command,
    CommitRequested,
    Event,
    GrantCommit,
    HostFailed,
    LoadSampled,
    MigrationEnded,
    Record,
    RefuseCommit,
    Restarted,
    Ticked,
)

_KEEP_EVENTS_MIN = 500
_KEEP_EVENTS_MAX = 20_000
_HOUSEKEEPING_S = 1.0
_CHECK_S = 4.0


class Life:
    """From what was known at its beginning to its death; the next one knows what is written.

    Attributes:
        center: What is decided; everything that changes it goes through `feed`.
        carrier: The actors that are known, and the calls to them.
        chronicle: What has happened, for those who look.
        licences: The link to the licence server.
        work: What goes on beside the calls; what ends in an error is noted as a problem.
        resumes: It has lived before, and finds its hosts by itself.
    """

    def __init__(self, known: Known, journal: Journal | None) -> None:
        self.center = known.center
        self.resumes = known.restarted
        self.work = Background(lambda error: self.problem(f"{type(error).__name__}: {error}"))
        self._rng = known.rng
        self._journal = journal
        self._zero_s = time.monotonic() - known.now_s - max(0.0, time.time() - known.unix_s)
        self._woken = asyncio.Event()
        self.chronicle = Chronicle(journal)
        self.door = CenterDoor(self.commit)
        self.carrier = Carrier(known.center, self.feed, self.now, self.door)
        self.licences = LicenceLink(known.center, self.feed, self.problem)
        if self.resumes:
            self.work.spawn(self._resume())

    @classmethod
    def of(cls, scenario: Scenario, *, seed: int) -> "Life":
        """Begin one that keeps nothing, and has no next."""
        rng = np.random.default_rng(seed)
        known = Known(center=Center(scenario), rng=rng, now_s=0.0, unix_s=time.time())
        return cls(known, None)

    def now(self) -> float:
        """Return VirtualCenter's time; it goes on over its deaths."""
        return time.monotonic() - self._zero_s

    def start(self, hosts: dict[str, Handle]) -> None:
        """Connect the hosts; again it does nothing."""
        if self.resumes or self.carrier.hosts:
            return
        self.carrier.hosts = hosts
        self._go()

    def feed(
        self, event: Event, story: tuple[Entry, ...] = (), *, verifying: bool = False
    ) -> tuple[Command, ...]:
        """Decide on an event, write it down, and only then carry out what was decided."""
        center, now = self.center, self.now()
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
                _die(error)
        self.chronicle.add(entries)
        for command in commands:
            self.carrier.carry_out(command, self.work)
        if ended is not None:
            self.carrier.forget(ended.id)
        self._woken.set()
        return commands

    def commit(self, migration: str, epoch: int) -> str:
        """Decide about a commit: "" when the destination owns the VM now, or why not."""
        for answer in self.feed(CommitRequested(migration=migration, epoch=epoch)):
            match answer:
                case GrantCommit():
                    record = self.center.state.migrations.get(migration)
                    if record is not None:
                        self.carrier.committed(record.spec)
                    return ""
                case RefuseCommit(reason=reason):
                    return reason
        return "VirtualCenter gave no answer"

    def problem(self, text: str) -> None:
        """Note what should not have happened."""
        self.note(Kind.PROBLEM, text)

    def note(self, kind: Kind, thing: Verification | str) -> None:
        """Note something that no event says."""
        time_s = self.center.scenario_s(self.now())
        try:
            self.chronicle.note(kind, thing, time_s=time_s)
        except JournalFailed as error:
            _die(error)

    # Inside.

    def _entries(self, commands: tuple[Command, ...]) -> list[Noted]:
        """Return what people see of an event's consequences."""
        time_s = self.center.scenario_s(self.now())
        entries: list[Noted] = []
        for command in commands:
            if isinstance(command, Record):
                entries.append(self._entry(Kind.STORY, Happening(time_s=time_s, record=command)))
            elif isinstance(command, CloseMigration):
                thing = EndedMigration(spec=command.spec, outcome=command.outcome)
                entries.append(self._entry(Kind.ENDED, thing))
        return entries

    def _entry(self, kind: Kind, thing: Happening | EndedMigration) -> Noted:
        return self.chronicle.made(kind, thing, time_s=self.center.scenario_s(self.now()))

    async def _resume(self) -> None:
        """After our own death: find the hosts by their names, and say again what is under way."""
        missing: list[str] = []
        for name in self.center.state.hosts:
            try:
                self.carrier.hosts[name] = ray.get_actor(host_name(name))
            except ValueError:
                missing.append(name)
        self.feed(Restarted())
        for name in missing:
            self.feed(HostFailed(host=name, reason="its process died with VirtualCenter away"))
        self._go()

    def _go(self) -> None:
        if self.center.state.licensing is None:
            unix_s = begins_unix_s(self.center.state.scenario, time.time())
            self.feed(CalendarTold(unix_s=unix_s))
        self.work.spawn(self._keep_time())
        self.work.spawn(self.carrier.warm_solver())
        if self._journal is not None:
            path = self._journal.path
            self.work.spawn(self.licences.watch(path.with_name(f"{path.stem}-licences.lic")))
            self.work.spawn(self._keep_house(self._journal))
        me = ray.get_runtime_context().current_actor
        for name in self.carrier.hosts:
            self.work.spawn(self.carrier.connect(name, me, self.work))

    async def _keep_house(self, journal: Journal) -> None:
        """Bound what a restart hears again, bring it all to the disk, and look whether it is whole."""
        loop = asyncio.get_running_loop()
        checked_s = time.monotonic()
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            try:
                journal.note(())
                since = journal.events_since_kept
                quiet = not self.center.state.running()
                if since > _KEEP_EVENTS_MAX or (quiet and since > _KEEP_EVENTS_MIN):
                    journal.keep((self.center, self._rng), now_s=self.now())
                await loop.run_in_executor(None, journal.checkpoint)
                if time.monotonic() - checked_s > _CHECK_S:
                    await loop.run_in_executor(None, journal.check)
                    checked_s = time.monotonic()
            except JournalFailed as error:
                _die(error)

    async def _keep_time(self) -> None:
        while True:
            self._woken.clear()
            wake_at = self.center.wake_at
            wait_s = None if wake_at is None else max(0.0, wake_at - self.now())
            try:
                await asyncio.wait_for(self._woken.wait(), wait_s)
            except TimeoutError:
                self.feed(Ticked())


def _spec_of(center: Center, event: Event) -> MigrationSpec | None:
    """Return the migration that an event ends, if it has not ended already."""
    if not isinstance(event, MigrationEnded):
        return None
    record = center.state.migrations.get(event.migration)
    return None if record is None else record.spec


def _die(error: JournalFailed) -> None:
    """End this life: what was decided is not written down, so nobody may hear of it.

    Ray begins the next one, which knows what is written.
    """
    print(f"VirtualCenter ends: {error}", file=sys.stderr, flush=True)
    os._exit(1)
