"""VirtualCenter as a Ray actor: what the run, operators and hosts call; a `Life` does what they say.

With a journal it may die at any instant: Ray starts it again, it hears from the journal what
it had heard, and connects to the hosts, which have gone on meanwhile.
"""

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ray

from cluster.actors.awakening import Awakening
from cluster.actors.background import Background
from cluster.actors.chronicle import Kind
from cluster.actors.life import Life
from cluster.actors.peer import PeerAddress
from cluster.actors.priority import goes_first
from cluster.actors.replies import CenterDown, Handle, Place
from cluster.actors.reports import HostSample, MigrationProgress, Verification
from cluster.actors.showing import cluster_view, licence_view, vm_view
from cluster.actors.views import ClusterView, LicenceView, VmView
from cluster.inventory.model import Scenario
from cluster.journal.journal import Noted
from cluster.journal.replay import go_on
from cluster.migration.spec import MigrationSpec, Outcome
from cluster.migration.story import Entry
from cluster.policy.balancing import OpenRecommendation
from cluster.policy.center import Center
from cluster.policy.forecast import Candidate, Queued, candidates, queue
from cluster.policy.messages import (
    Asked,
    CancelRequested,
    Discard,
    LinksMeasured,
    LoadSampled,
    MigrationEnded,
    MigrationRequested,
    Started,
    Stopping,
    VmEnded,
)
from cluster.policy.state import HostState, PowerState
from cluster.policy.tasks import Task
from drs import Policy, Snapshot

_PLACE_PAUSE_S = 0.02
# A VM's host may be connecting again; then clients ask once more.
_PLACE_S_MAX = 10.0


class VirtualCenter:
    """The cluster's one decision maker and the keeper of ownership."""

    def __init__(self, scenario: Scenario, *, seed: int, database: str | None = None) -> None:
        """`database` None keeps nothing: such a one lives once."""
        goes_first()
        self._life: Life | None = None
        self._first = True
        self._samples: dict[str, HostSample] = {}
        self._verifying: dict[str, MigrationSpec] = {}
        self._waking = Background(lambda error: traceback.print_exception(error))
        if database is None:
            self._life = Life.of(scenario, seed=seed)
            return
        # Beginning again is all that Ray would do about an error here, and after it nothing more.
        self._awakening = Awakening(lambda: self._begin(Path(database), scenario.name))
        if not self._awakening.tried():
            self._waking.spawn(self._awakening.done())

    # The run's calls.

    async def start(self, hosts: dict[str, Handle]) -> None:
        """Connect the hosts and power on every VM; `view().all_up` says when that is done."""
        self._living.start(hosts)

    async def begin(self) -> None:
        """Start the scenario's clock: its events and DRS count from now."""
        if self._center.state.began_s is not None:
            return
        self._living.feed(Started())
        for host in self._living.carrier.hosts.values():
            self._living.work.spawn(_begun(host))

    async def stopping(self) -> None:
        """Start nothing new."""
        self._living.feed(Stopping())

    async def links_measured(self, measured: LinksMeasured) -> None:
        """Count with what the network between the nodes carries."""
        self._living.feed(measured)

    async def request_migration(self, request: MigrationRequested) -> None:
        """Ask for a migration; what becomes of it is in the story."""
        self._living.feed(request)

    async def request_cancel(self, vm: str) -> None:
        """Ask for a VM's migration to be stopped."""
        self._living.feed(CancelRequested(vm=vm))

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
            handle = self._living.carrier.vms.get(vm)
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
        return self._living.carrier.hosts[record.host]

    # An operator's calls.

    async def ask(self, asked: Asked) -> Task:
        """Begin a task; asked again with the same key it is the same one."""
        self._living.feed(asked)
        task = self._center.tasks.asked_before(asked.key)
        assert task is not None
        return task

    async def licence_server(self, *, runs: bool) -> None:
        """Start the licence server, or end it."""
        if runs:
            self._living.licences.start()
        else:
            self._living.licences.stop()

    async def licences(self) -> LicenceView | None:
        """Return what the right to use features rests on, and what each host has."""
        return licence_view(self._center, now=self._living.now())

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
        return queue(self._center.state, now=self._living.now())

    async def recommendations(self) -> tuple[OpenRecommendation, ...]:
        """Return what DRS waits for somebody's consent with."""
        return self._center.recommendations()

    async def drs_input(self) -> tuple[Snapshot, Policy]:
        """Return the snapshot and the policy that a DRS pass would decide on now."""
        return self._center.drs_input(now=self._living.now())

    async def records(self, after: int, count_max: int = 1000) -> list[Noted]:
        """Return the story's entries after a number, the newest so many."""
        return self._living.chronicle.since(after, kind=Kind.STORY, count_max=count_max)

    async def defects(self, count_max: int = 10) -> list[str]:
        """Return what should not have happened, the newest so many."""
        found = self._living.chronicle.since(0, kind=Kind.PROBLEM, count_max=count_max)
        return [entry.text for entry in found]

    async def view(self, after: int = 0) -> ClusterView:
        """Return what there is to see, and what has happened after that number."""
        self._give_up_comparisons()
        return cluster_view(
            self._center,
            now=self._living.now(),
            reports=self._living.carrier.reports,
            samples=self._samples,
            progress=self._living.carrier.progress,
            verifying=len(self._verifying),
            entries=self._living.chronicle.since(after),
            number=self._living.chronicle.newest,
        )

    # The hosts' calls.

    async def prepared(self, migration: str, there: Handle) -> None:
        """A migration's destination is ready; `there` is the VM if it is committed."""
        self._living.carrier.there[migration] = there

    async def commit(self, migration: str, epoch: int) -> str:
        """The commit point: return "" when the destination owns the VM now, or why not."""
        return self._living.commit(migration, epoch)

    async def door(self, host: str) -> PeerAddress:
        """Return where a host can ask for commits without Ray, once."""
        return await self._living.door.expect(host)

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
        self._living  # noqa: B018  raises while VirtualCenter is down
        self._samples[sample.load.host] = sample
        self._living.feed(LoadSampled(load=sample.load))

    async def vm_ended(self, vm: str, epoch: int, reason: str) -> None:
        """A VM has stopped by itself."""
        self._living.feed(VmEnded(vm=vm, epoch=epoch, reason=reason))

    async def migration_progressed(self, progress: MigrationProgress) -> None:
        """A migration has taken a turn."""
        if progress.migration in self._center.state.migrations:
            self._living.carrier.progress[progress.migration] = progress

    async def migration_ended(
        self, migration: str, outcome: Outcome, story: tuple[Entry, ...], *, verifying: bool
    ) -> None:
        """A machine has finished; with `verifying` a call of `verified` follows."""
        moving = self._center.state.migrations.get(migration)
        if verifying and moving is not None:
            self._verifying[migration] = moving.spec
        self._living.feed(
            MigrationEnded(migration=migration, outcome=outcome), story, verifying=verifying
        )

    async def verified(self, verification: Verification) -> None:
        """A migrated VM's memory has been compared, or could not be."""
        self._verifying.pop(verification.migration, None)
        self._living.note(Kind.VERIFIED, verification)

    async def driver_failed(self, subject: str, error: str) -> None:
        """A host's work, a migration's among it, could not go on: a defect, which fails the run."""
        self._living.problem(f"{subject}: {error}")

    # Inside.

    def _give_up_comparisons(self) -> None:
        """Wait no longer for a source that has died between its migration's end and the comparison."""
        hosts = self._center.state.hosts
        for spec in list(self._verifying.values()):
            if hosts[spec.source].state is HostState.NOT_RESPONDING:
                del self._verifying[spec.id]
                why = f"{spec.source} died before the memory was compared"
                lost = Verification(
                    migration=spec.id, vm=spec.vm, pages=0, mismatched_pages=0, uncompared=why
                )
                self._living.note(Kind.VERIFIED, lost)
                self._living.carrier.carry_out(
                    Discard(migration=spec.id, destination=spec.destination), self._living.work
                )

    @property
    def _living(self) -> Life:
        """Raises:
        CenterDown: If it has not begun, for want of a journal or whatever else it needs.
        """
        if self._life is None:
            raise CenterDown(self._awakening.why_down)
        return self._life

    @property
    def _center(self) -> Center:
        return self._living.center

    def _begin(self, database: Path, name: str) -> None:
        """Begin a life; one after the first try finds its hosts itself, for `start` has gone by.

        Raises:
            JournalFailed: If there is no journal to work with.
        """
        first, self._first = self._first, False
        with contextlib.ExitStack() as unless_begun:
            journal, known = go_on(database, name=name)
            unless_begun.callback(journal.abandon)
            if first and not ray.get_runtime_context().was_current_actor_reconstructed:
                # It was launched just now, and its time begins.
                known = replace(known, restarted=False, unix_s=time.time())
            self._life = Life(known, journal)
            unless_begun.pop_all()


async def _begun(host: Handle) -> None:
    """Let a host's clock begin; one that is dead is reported by its lifeline."""
    with contextlib.suppress(ray.exceptions.RayError):
        await host.begin.remote(0.0)
