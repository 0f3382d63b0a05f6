"""Turns what VirtualCenter shows, look by look, into the rows and metrics of a run."""

import time
from collections.abc import Mapping

from cluster.actors.cluster import Cluster
from cluster.actors.guest_work import GuestCounters
from cluster.actors.own_metrics import served
from cluster.actors.reports import Verification
from cluster.actors.views import ClusterView, EndedMigration, Happening, HostView
from cluster.guests.clients import Gaps
from cluster.inventory.model import MIB, Scenario
from cluster.migration.spec import Trigger
from cluster.observe.exporter import ActiveMigration, Exporter, Stalls
from cluster.observe.logs import QUIET, RunLog
from cluster.observe.record import (
    DrsPass,
    EventKind,
    EventRow,
    MigrationRow,
    TimelineRow,
    migration_row,
)
from cluster.observe.rounds import RoundRow, round_rows
from cluster.observe.story_rows import event_row, refused_row
from cluster.observe.waterfall import Span, migration_span, pass_span
from cluster.policy.messages import Record, Topic
from cluster.policy.state import HostState

# A client has seen a migration by then, or does not look.
_GAPS_S_MAX = 3.0
# Probes go on for half a second after the switchover; stalls are known only then.
_STALLS_S = 0.75
# What a pager served is told with the comparison of the memory, which a host that dies does
# not finish.
_VERIFIED_S_MAX = 30.0


class Recorder:
    """Collects a run; everything it knows it was told by a view.

    Attributes:
        events, migrations, rounds, timeline, passes, unmet_ratios: What has been recorded, in order.
        mismatched_pages: Found by comparing migrated memory with the source's.
        problems: Defects that fail the run.
        spans: Migrations and passes of DRS for a trace; their times are the run's.
        began_unix_s: When the run's time was 0, as exactly as a look is quick; None before.
    """

    def __init__(self, scenario: Scenario, exporter: Exporter, log: RunLog = QUIET) -> None:
        self._scenario = scenario
        self._log = log
        self._exporter = exporter
        self.events: list[EventRow] = []
        self.migrations: list[MigrationRow] = []
        self.rounds: list[RoundRow] = []
        self.timeline: list[TimelineRow] = []
        self.passes: list[DrsPass] = []
        self.unmet_ratios: list[float] = []
        self.rule_violations = 0
        self.mismatched_pages = 0
        self.problems: list[str] = []
        self.spans: list[Span] = []
        self.began_unix_s: float | None = None
        self._waiting: list[tuple[float, EndedMigration]] = []
        self._sampled_s = 0.0
        self._bytes: dict[str, tuple[int, int]] = {}
        self._admitted: set[str] = set()
        self._verified: dict[str, Verification] = {}
        self._guests = GuestCounters()
        exporter.hosts_known({host.name: host.memory_mib * MIB for host in scenario.hosts})

    def look(self, view: ClusterView, cluster: Cluster) -> list[EventRow]:
        """Take in a view; return what has happened since the last one."""
        if self.began_unix_s is None and view.time_s > 0.0:
            self.began_unix_s = time.time() - view.time_s
        happened = [self._happening(one) for one in view.happened]
        happened += [self._problem(view.time_s, text) for text in view.problems]
        happened += [row for row in map(self._verification, view.verified) if row is not None]
        for ended in view.ended:
            self._waiting.append((view.time_s, ended))
        self._note_gaps(view.time_s, cluster)
        self._under_way(view)
        if view.time_s - self._sampled_s >= self._scenario.sample_s > 0.0:
            self._sample(view)
        self.events += happened
        return happened

    def finish(self, gaps: Mapping[str, Mapping[int, Gaps]]) -> None:
        """Close the books with what clients felt, by VM and epoch."""
        for _, ended in self._waiting:
            self._end(ended, gaps.get(ended.spec.vm, {}).get(ended.spec.epoch))
        self._waiting = []

    def forget(self) -> None:
        """Drop the rows, which metrics do not need: for clusters that stay."""
        for rows in (
            *(self.events, self.migrations, self.rounds, self.timeline, self.passes),
            *(self.unmet_ratios, self.problems, self.spans),
        ):
            rows.clear()

    def note(self, row: EventRow) -> None:
        """Add an event of the run itself."""
        self.events.append(row)

    @property
    def balanced_from_s(self) -> float:
        """When DRS first found something to do: the imbalance it met is where the run starts."""
        return next((one.time_s for one in self.passes if one.recommended), 0.0)

    # What views hold.

    def _happening(self, one: Happening) -> EventRow:
        record = one.record
        self._log.happened(one.time_s, record)
        if (record.topic, record.what) == (Topic.DRS, "pass"):
            self._pass(one.time_s, record)
        if (row := refused_row(one.time_s, record, self._scenario)) is not None:
            self._refused(row, record)
        self._count(record)
        return event_row(one.time_s, record)

    def _count(self, record: Record) -> None:
        """Count what no row tells."""
        match record.topic, record.what:
            case Topic.CLUSTER, "center_restarted":
                self._exporter.center_restarted()
            case Topic.HOST, "failed":
                self._exporter.host_lost()
            case Topic.VM, "failed":
                self._exporter.vm_failed()
            case Topic.VM, "restarted":
                self._exporter.vm_restarted()

    def _problem(self, time_s: float, text: str) -> EventRow:
        self.problems.append(text)
        self._log.failed(time_s, text)
        return EventRow(time_s=time_s, kind=EventKind.INTEGRITY_FAILED, text=text)

    def _verification(self, found: Verification) -> EventRow | None:
        self._exporter.pages_verified(pages=found.pages, mismatched_pages=found.mismatched_pages)
        self._verified[found.migration] = found
        if found.served is not None:
            self._exporter.faults_served(found.served.latency_us)
        self.mismatched_pages += found.mismatched_pages
        if found.uncompared:
            text = f"{found.vm} after {found.migration}: {found.uncompared}"
            return EventRow(time_s=self._sampled_s, kind=EventKind.NOTE, text=text, vm=found.vm)
        if not found.mismatched_pages and not found.error:
            return None
        wrong = found.error or f"{found.mismatched_pages} of {found.pages} pages differ"
        text = f"{found.vm} after {found.migration}: {wrong}"
        self.problems.append(text)
        self._log.failed(self._sampled_s, text, migration=found.migration, vm=found.vm)
        return EventRow(
            time_s=self._sampled_s, kind=EventKind.INTEGRITY_FAILED, text=text, vm=found.vm
        )

    def _pass(self, time_s: float, record: Record) -> None:
        fields = dict(record.fields)
        recommendations = fields["recommendations"]
        assert isinstance(recommendations, tuple)
        passed = DrsPass(
            time_s=time_s,
            solve_s=_number(fields["solve_s"]),
            imbalance_before=_number(fields["imbalance_before"]),
            imbalance_after=_number(fields["imbalance_after"]),
            priorities=tuple(priority for _, _, priority, _ in recommendations),
            applied=int(_number(fields["applied"])),
        )
        self.passes.append(passed)
        self.spans.append(pass_span(passed))
        self._exporter.drs_passed(passed)

    def _refused(self, row: MigrationRow, record: Record) -> None:
        self.migrations.append(row)
        self._exporter.migration_ended(row)
        if row.trigger is Trigger.DRS:
            checks = dict(record.fields).get("checks")
            first = checks[0] if isinstance(checks, tuple) and checks else ""
            self._exporter.recommendation_refused(str(first))

    def _note_gaps(self, time_s: float, cluster: Cluster) -> None:
        """Close migrations whose blackout and demand faults are known, or will not be."""
        if not self._waiting:
            return
        wanted = [(ended.spec.vm, ended.spec.epoch) for _, ended in self._waiting]
        still: list[tuple[float, EndedMigration]] = []
        for (ended_s, ended), gaps in zip(self._waiting, cluster.gaps(wanted), strict=True):
            age_s = time_s - ended_s
            felt = age_s >= (_GAPS_S_MAX if gaps is None else _STALLS_S)
            compared = (
                not ended.verifying or ended.spec.id in self._verified or age_s >= _VERIFIED_S_MAX
            )
            if not (felt and compared):
                still.append((ended_s, ended))
            else:
                self._end(ended, gaps)
        self._waiting = still

    def _end(self, ended: EndedMigration, gaps: Gaps | None) -> None:
        verified = self._verified.pop(ended.spec.id, None)
        pager = None if verified is None else verified.served
        row = migration_row(
            ended.spec,
            ended.outcome,
            client_blackout_s=None if gaps is None else gaps.blackout_s,
            demand_faults=0 if pager is None else pager.demand_faults,
            survives_process_s=None if pager is None else pager.survives_process_s,
            survives_node_s=None if pager is None else pager.survives_node_s,
        )
        self.migrations.append(row)
        self.rounds += round_rows(ended.spec, ended.outcome)
        self._log.migrated(ended.spec, ended.outcome, ended.story)
        self.spans.append(migration_span(ended.spec, ended.outcome, ended.story))
        self._exporter.migration_ended(
            row,
            epoch=ended.spec.epoch,
            stalls=None
            if gaps is None
            else Stalls(longest_s=gaps.stall_s_max, sum_s=gaps.stall_s_sum),
        )

    def _under_way(self, view: ClusterView) -> None:
        active = [
            ActiveMigration(
                vm=m.spec.vm,
                source=m.spec.source,
                destination=m.spec.destination,
                round=m.progress.round if m.progress else 0,
                dirty_bytes=m.progress.dirty_pages * 4096 if m.progress else 0,
                rate_bytes_per_second=m.progress.rate_bytes_per_second if m.progress else 0.0,
            )
            for m in view.migrations
            if m.started_s is not None
        ]
        self._exporter.center_answers(True)
        self._admit(view)
        queued = len(view.migrations) - len(active)
        self._exporter.migrations_under_way(active, queued=queued)
        self._exporter.vms_await_restart(view.awaiting_restart)

    def _admit(self, view: ClusterView) -> None:
        """Note how long migrations waited; one that begins and ends between two looks is missed."""
        waits = {
            m.spec.id: m.started_s - m.queued_s for m in view.migrations if m.started_s is not None
        }
        for migration, wait_s in waits.items():
            if migration not in self._admitted:
                self._exporter.migration_admitted(wait_s=wait_s)
        self._admitted = set(waits)

    def _sample(self, view: ClusterView) -> None:
        interval_s = view.time_s - self._sampled_s
        self._sampled_s = view.time_s
        rows = [self._row(view, host, interval_s) for host in view.hosts]
        demand = sum(host.demand_mhz for host in view.hosts)
        granted = sum(host.granted_mhz for host in view.hosts)
        unmet = max(0.0, 1.0 - granted / demand) if demand > 0 else 0.0
        self.timeline += rows
        self.unmet_ratios.append(unmet)
        self.rule_violations = view.balance.rule_violations
        if view.licences is not None:
            self._exporter.licences_known(view.licences)
        for name, work in self._guests.since_last(view.samples).items():
            self._exporter.guests_worked(name, work)
        self._exporter.sampled(
            rows,
            interval_s=interval_s,
            resource_imbalance=dict(view.balance.by_resource),
            unmet_demand_ratio=unmet,
            rule_violations=view.balance.rule_violations,
            imbalance_target=view.balance.target,
            happiness={host.name: served(host.granted_mhz, host.demand_mhz) for host in view.hosts},
            vm_happiness={
                vm.vm: served(vm.granted_mhz, vm.demand_mhz)
                for host in view.hosts
                if host.state is HostState.CONNECTED and host.name in view.samples
                for vm in view.samples[host.name].load.vms
            },
        )

    def _row(self, view: ClusterView, host: HostView, interval_s: float) -> TimelineRow:
        tx_bytes, rx_bytes = self._carried(view, host)
        return TimelineRow(
            time_s=view.time_s,
            host=host.name,
            cpu_load=host.demand_mhz / host.cpu_mhz,
            memory_load=host.used_mib / host.memory_mib,
            vms=host.vms,
            tx_bytes_per_second=tx_bytes / interval_s,
            rx_bytes_per_second=rx_bytes / interval_s,
            state=host.state.value,
            imbalance=view.balance.imbalance,
        )

    def _carried(self, view: ClusterView, host: HostView) -> tuple[int, int]:
        """Return what a host sent and received since its last sample; never less than nothing.

        A VirtualCenter that has begun again has no sample yet, which is not a count of zero.
        """
        if host.name not in view.samples:
            return 0, 0
        now = (host.tx_bytes, host.rx_bytes)
        tx, rx = self._bytes.get(host.name, now)
        self._bytes[host.name] = now
        return max(0, now[0] - tx), max(0, now[1] - rx)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
