"""Prometheus metrics of a run, fed by plain calls; `serving` serves them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from cluster.observe.instruments import Instruments
from cluster.observe.metrics import HOSTS_OWN, LABEL_VALUES, METRICS, OTHER
from cluster.observe.record import (
    DrsPass,
    Engine,
    Integrity,
    MigrationRow,
    TimelineRow,
    downtime_parts,
)
from cluster.policy.licensing import Status

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveMigration:
    """A migration under way, as metrics and the live view show it."""

    vm: str
    source: str
    destination: str
    round: int
    dirty_bytes: int
    rate_bytes_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Gaps over 10 ms that a client felt after a switchover, until the remainder had drained."""

    longest_s: float
    sum_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWork:
    """What a host's guests have done since the last sample, all of them together."""

    behind_s: float
    overruns: int
    requests: int


class Exporter:
    """All metrics of one run in a registry of its own. Feed it from one thread."""

    def __init__(self, *, per_vm: bool = True, hosts_own: bool = True) -> None:
        """Leave out what is not wanted.

        Args:
            per_vm: Metrics that have a series a VM.
            hosts_own: Metrics that hosts serve themselves, where they do.
        """
        left_out = [metric for metric in METRICS if metric.per_vm and not per_vm]
        left_out += [] if hosts_own else HOSTS_OWN
        self._instruments = Instruments(METRICS, left_out=left_out)
        self.metrics, self.registry = self._instruments, self._instruments.registry
        self._set, self._add = self._instruments.set, self._instruments.add
        self._observe, self._remove = self._instruments.observe, self._instruments.remove
        self._licensed: set[str] = set()
        self._states: dict[str, str] = {}
        self._hosts_with_migrations: set[str] = set()
        self._moving_vms: set[str] = set()
        self._running_vms: set[str] = set()

    def run_started(self, *, scenario: str, engine: Engine, tracker: str) -> None:
        """Say what runs; `tracker` names how dirty pages are found."""
        self._set("vmotion_run_info", 1, scenario, engine.value, tracker)

    def hosts_known(self, memory_bytes: Mapping[str, float]) -> None:
        """Say what each host has for VMs."""
        for host, capacity in memory_bytes.items():
            self._set("vmotion_host_memory_bytes", capacity, host)

    def licences_known(self, status: Status) -> None:
        """Say what the right to use features rests on, to a day; an evaluation counts none."""
        left_s = inf if status.days_left is None else status.days_left * _DAY_S
        left = {use.feature.title: min(left_s, use.left_s) for use in status.uses}
        left = left or {status.mode.value: left_s}
        for feature in self._licensed - set(left):
            self._remove("vmotion_licence_left_seconds", feature)
        self._licensed = set(left)
        for feature, feature_s in left.items():
            self._set("vmotion_licence_left_seconds", feature_s, feature)
        self._set("vmotion_licence_server_away", float(status.server_away))
        for use in status.uses:
            free = use.installed - use.used
            self._set("vmotion_licences", use.used, use.feature.title, "used")
            self._set("vmotion_licences", free, use.feature.title, "free")

    def migration_admitted(self, *, wait_s: float) -> None:
        """A migration begins after it has waited this long."""
        self._observe("vmotion_queue_wait_seconds", wait_s)

    def migration_ended(
        self, row: MigrationRow, *, epoch: int | None = None, stalls: Stalls | None = None
    ) -> None:
        """Count a migration, whatever became of it.

        `epoch` is that of the VM's owner now; `stalls` what a client saw after the
        blackout, None without a client.
        """
        mode, result = row.mode.value, row.result.value
        self._add("vmotion_migrations_total", 1, mode, row.trigger.value, result)
        self._observe("vmotion_migration_duration_seconds", row.duration_s, mode, result)
        self._observe_downtime(row)
        self._observe_transfer(row)
        if stalls is not None:
            self._observe("vmotion_client_stall_seconds", stalls.longest_s, mode)
            self._observe("vmotion_client_stalled_seconds", stalls.sum_s, mode)
        if epoch is not None:
            self._set("vmotion_vm_owner_epoch", epoch, row.vm)

    def migrations_under_way(self, active: Sequence[ActiveMigration], *, queued: int) -> None:
        """Replace what is known of migrations that wait or run."""
        self._set("vmotion_queued_migrations", queued)
        counts: dict[tuple[str, str], int] = {}
        for one in active:
            counts[one.source, "out"] = counts.get((one.source, "out"), 0) + 1
            counts[one.destination, "in"] = counts.get((one.destination, "in"), 0) + 1
        self._hosts_with_migrations |= {host for host, _ in counts}
        for host in self._hosts_with_migrations:
            for direction in ("out", "in"):
                self._set(
                    "vmotion_active_migrations", counts.get((host, direction), 0), host, direction
                )
        self._set_moving_vms(active)

    def sampled(
        self,
        rows: Sequence[TimelineRow],
        *,
        interval_s: float,
        resource_imbalance: Mapping[str, float],
        unmet_demand_ratio: float,
        rule_violations: int,
        imbalance_target: float | None = None,
        happiness: Mapping[str, float] | None = None,
        vm_happiness: Mapping[str, float] | None = None,
    ) -> None:
        """Take a sample of every host; it covers the last `interval_s`.

        `happiness` is by host; `vm_happiness` names every VM that runs, and no other.
        """
        for row in rows:
            self._set("vmotion_run_time_seconds", row.time_s)
            self._set("drs_imbalance_ratio", row.imbalance)
            self._set("vmotion_host_cpu_load_ratio", row.cpu_load, row.host)
            self._set("vmotion_host_memory_load_ratio", row.memory_load, row.host)
            self._set("vmotion_host_vms", row.vms, row.host)
            sent, received = row.tx_bytes_per_second, row.rx_bytes_per_second
            self._add("vmotion_host_transmit_bytes_total", sent * interval_s, row.host)
            self._add("vmotion_host_receive_bytes_total", received * interval_s, row.host)
            self._set_state(row.host, row.state)
        for resource, value in resource_imbalance.items():
            self._set("drs_resource_imbalance_ratio", value, resource)
        for host, ratio in (happiness or {}).items():
            self._set("drs_host_happiness_ratio", ratio, host)
        self._set_happy_vms(vm_happiness or {})
        self._set("drs_unmet_demand_ratio", unmet_demand_ratio)
        self._set("drs_rule_violations", rule_violations)
        if imbalance_target is not None:
            self._set("drs_imbalance_target_ratio", imbalance_target)

    def drs_passed(self, passed: DrsPass) -> None:
        """Count a look of DRS at the cluster and what it recommended."""
        self._add("drs_passes_total", 1)
        self._observe("drs_solve_seconds", passed.solve_s)
        for priority in passed.priorities:
            self._add("drs_recommendations_total", 1, str(priority))
        self._add("drs_applied_recommendations_total", passed.applied)

    def recommendation_refused(self, reason: str) -> None:
        """Count a migration that DRS asked for and VirtualCenter did not start.

        `reason` is the name of the check that forbade it; another one counts as other.
        """
        known = reason if reason in LABEL_VALUES["reason"] else OTHER
        self._add("drs_refused_recommendations_total", 1, known)

    def faults_served(self, latency_us: Sequence[int]) -> None:
        """Count demand faults: `latency_us[i]` of them took from 2**(i-1) to 2**i microseconds."""
        for power, count in enumerate(latency_us):
            for _ in range(count):
                self._observe("vmotion_demand_fault_seconds", 0.75 * 2**power / 1e6)

    def guests_worked(self, host: str, work: GuestWork) -> None:
        """Count what a host's guests have done since the last time."""
        self._add("vmotion_host_guest_behind_seconds_total", work.behind_s, host)
        self._add("vmotion_host_guest_overruns_total", work.overruns, host)
        self._add("vmotion_host_guest_requests_total", work.requests, host)

    def center_answers(self, answers: bool) -> None:
        """Say whether VirtualCenter answers."""
        self._set("vmotion_virtualcenter_up", answers)

    def center_restarted(self) -> None:
        """Count a life of VirtualCenter after the first."""
        self._add("vmotion_virtualcenter_restarts_total", 1)

    def host_lost(self) -> None:
        """Count a host that was lost with its VMs."""
        self._add("vmotion_hosts_lost_total", 1)

    def vm_failed(self) -> None:
        """Count a VM that stopped without having been told to."""
        self._add("vmotion_vm_failures_total", 1)

    def vm_restarted(self) -> None:
        """Count a VM that HA restarted."""
        self._add("vmotion_ha_restarts_total", 1)

    def vms_await_restart(self, count: int) -> None:
        """Say how many VMs HA has to restart and cannot yet."""
        self._set("vmotion_ha_waiting_vms", count)

    def pages_verified(self, *, pages: int, mismatched_pages: int) -> None:
        """Count a migration's comparison with the source's frozen memory."""
        self._add("vmotion_verified_pages_total", pages)
        self._add("vmotion_integrity_failures_total", mismatched_pages, "mismatched-page")

    def requests_settled(self, integrity: Integrity) -> None:
        """Count what the clients' books say at the end of a run."""
        self._add("vmotion_integrity_failures_total", integrity.lost_requests, "lost-request")
        self._add(
            "vmotion_integrity_failures_total", integrity.duplicated_requests, "duplicated-request"
        )

    def text(self) -> str:
        """What a scrape gets."""
        return self._instruments.text()

    def _observe_downtime(self, row: MigrationRow) -> None:
        mode = row.mode.value
        parts = downtime_parts(row)
        if parts is not None and row.downtime_s is not None:
            self._observe("vmotion_downtime_seconds", row.downtime_s, mode)
            for part, seconds in parts.items():
                self._observe("vmotion_downtime_part_seconds", seconds, part)
            self._set("vmotion_vm_last_downtime_seconds", row.downtime_s, row.vm)
        if row.client_blackout_s is not None:
            self._observe("vmotion_client_blackout_seconds", row.client_blackout_s, mode)
        if row.predicted_downtime_s is not None:
            self._observe("vmotion_predicted_downtime_seconds", row.predicted_downtime_s, mode)
            if row.downtime_s is not None and row.predicted_downtime_s > 0:
                error = row.downtime_s / row.predicted_downtime_s - 1
                self._observe("vmotion_downtime_prediction_error_ratio", error)

    def _observe_transfer(self, row: MigrationRow) -> None:
        self._add("vmotion_transfer_bytes_total", row.precopy_bytes, "precopy")
        self._add("vmotion_transfer_bytes_total", row.downtime_bytes, "downtime")
        self._add("vmotion_transfer_bytes_total", row.postcopy_bytes, "postcopy")
        self._add("vmotion_zero_pages_total", row.zero_pages)
        self._add("vmotion_demand_faults_total", row.demand_faults)
        for loss, seconds in (("process", row.survives_process_s), ("node", row.survives_node_s)):
            if seconds is not None:
                self._observe("vmotion_survivable_seconds", seconds, loss)
        if not row.sent_bytes:
            return
        self._observe("vmotion_precopy_rounds", row.rounds)
        self._observe("vmotion_bandwidth_bytes_per_second", row.bandwidth_bytes_per_second)
        self._observe("vmotion_dirty_rate_bytes_per_second", row.dirty_rate_bytes_per_second)
        self._observe("vmotion_amplification_ratio", row.sent_bytes / row.memory_bytes)
        self._observe("vmotion_throttle_ratio", row.throttle_max)
        if row.dirty_rate_bytes_per_second > 0:
            ratio = row.bandwidth_bytes_per_second / row.dirty_rate_bytes_per_second
            self._observe("vmotion_transmit_to_dirty_ratio", ratio)

    def _set_moving_vms(self, active: Sequence[ActiveMigration]) -> None:
        """Show each VM's migration under way, and no longer those that have ended."""
        now_moving = {one.vm for one in active}
        for vm in self._moving_vms - now_moving:
            for name in _OF_A_MOVING_VM:
                self._remove(name, vm)
        self._moving_vms = now_moving
        for one in active:
            self._set("vmotion_vm_migration_round", one.round, one.vm)
            self._set("vmotion_vm_migration_dirty_bytes", one.dirty_bytes, one.vm)
            self._set(
                "vmotion_vm_migration_rate_bytes_per_second", one.rate_bytes_per_second, one.vm
            )

    def _set_happy_vms(self, happiness: Mapping[str, float]) -> None:
        """Show each VM that runs, and no longer those that have stopped."""
        for vm in self._running_vms - happiness.keys():
            self._remove("drs_vm_happiness_ratio", vm)
        self._running_vms = set(happiness)
        for vm, ratio in happiness.items():
            self._set("drs_vm_happiness_ratio", ratio, vm)

    def _set_state(self, host: str, state: str) -> None:
        before = self._states.get(host)
        if before is not None and before != state:
            self._set("vmotion_host_state", 0, host, before)
        self._states[host] = state
        self._set("vmotion_host_state", 1, host, state)


_OF_A_MOVING_VM = (
    "vmotion_vm_migration_round",
    "vmotion_vm_migration_dirty_bytes",
    "vmotion_vm_migration_rate_bytes_per_second",
)
