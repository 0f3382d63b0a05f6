"""Prometheus metrics of a run: fed by plain calls, served over HTTP on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)

from cluster.observe.metrics import METRICS, Kind, foreseeable_series
from cluster.observe.record import (
    DrsPass,
    Engine,
    Integrity,
    MigrationRow,
    TimelineRow,
    downtime_parts,
)

ADDRESS = "127.0.0.1"
PORT = 9400

_Instrument = Counter | Gauge | Histogram


class PortTakenError(Exception):
    """The port that the user named cannot be had; the message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveMigration:
    """A migration under way, as metrics and the live view show it."""

    vm: str
    source: str
    destination: str
    round: int
    dirty_bytes: int
    rate_bytes_per_second: float


class Exporter:
    """All metrics of one run in a registry of its own. Feed it from one thread."""

    def __init__(self, *, per_vm: bool = True) -> None:
        """`per_vm=False` leaves out every metric that has a series a VM."""
        # A time of creation for each series would double the scrape, and Prometheus does
        # not use it in this format.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._per_vm = per_vm
        self._instruments: dict[str, _Instrument] = {}
        for metric in METRICS:
            if metric.per_vm and not per_vm:
                continue
            match metric.kind:
                case Kind.COUNTER:
                    made: _Instrument = Counter(
                        metric.name, metric.help, metric.labels, registry=self.registry
                    )
                case Kind.GAUGE:
                    made = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
                case Kind.HISTOGRAM:
                    made = Histogram(
                        metric.name,
                        metric.help,
                        metric.labels,
                        buckets=metric.buckets,
                        registry=self.registry,
                    )
            self._instruments[metric.name] = made
            for labels in foreseeable_series(metric):
                made.labels(*labels)
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

    def licences_counted(self, feature: str, *, used: int, free: int, left_s: float) -> None:
        """Say how many licences of a feature there are, and for how long they are valid."""
        self._set("vmotion_licences", used, feature, "used")
        self._set("vmotion_licences", free, feature, "free")
        self._set("vmotion_licence_left_seconds", left_s, feature)

    def migration_admitted(self, *, wait_s: float) -> None:
        """A migration begins after it has waited this long."""
        self._observe("vmotion_queue_wait_seconds", wait_s)

    def migration_ended(
        self, row: MigrationRow, *, epoch: int | None = None, stall_s_max: float | None = None
    ) -> None:
        """Count a migration, whatever became of it.

        `epoch` is that of the VM's owner now; `stall_s_max` what a client saw after the
        blackout, None without a client.
        """
        mode, result = row.mode.value, row.result.value
        self._add("vmotion_migrations_total", 1, mode, row.trigger.value, result)
        self._observe("vmotion_migration_duration_seconds", row.duration_s, mode, result)
        self._observe_downtime(row)
        self._observe_transfer(row)
        if stall_s_max is not None:
            self._observe("vmotion_client_stall_seconds", stall_s_max, mode)
        if self._per_vm and epoch is not None:
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
        if self._per_vm:
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
        if self._per_vm:
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

    def recommendation_refused(self) -> None:
        """Count a migration that DRS asked for and VirtualCenter did not start."""
        self._add("drs_refused_recommendations_total", 1)

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
        return generate_latest(self.registry).decode()

    def _observe_downtime(self, row: MigrationRow) -> None:
        mode = row.mode.value
        parts = downtime_parts(row)
        if parts is not None and row.downtime_s is not None:
            self._observe("vmotion_downtime_seconds", row.downtime_s, mode)
            for part, seconds in parts.items():
                self._observe("vmotion_downtime_part_seconds", seconds, part)
            if self._per_vm:
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
                self._instruments[name].remove(vm)
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
            self._instruments["drs_vm_happiness_ratio"].remove(vm)
        self._running_vms = set(happiness)
        for vm, ratio in happiness.items():
            self._set("drs_vm_happiness_ratio", ratio, vm)

    def _set_state(self, host: str, state: str) -> None:
        before = self._states.get(host)
        if before is not None and before != state:
            self._set("vmotion_host_state", 0, host, before)
        self._states[host] = state
        self._set("vmotion_host_state", 1, host, state)

    def _set(self, name: str, value: float, *labels: str) -> None:
        instrument = self._instruments[name]
        assert isinstance(instrument, Gauge)
        (instrument.labels(*labels) if labels else instrument).set(value)

    def _add(self, name: str, amount: float, *labels: str) -> None:
        instrument = self._instruments[name]
        assert isinstance(instrument, Counter)
        (instrument.labels(*labels) if labels else instrument).inc(amount)

    def _observe(self, name: str, value: float, *labels: str) -> None:
        instrument = self._instruments[name]
        assert isinstance(instrument, Histogram)
        (instrument.labels(*labels) if labels else instrument).observe(value)


_OF_A_MOVING_VM = (
    "vmotion_vm_migration_round",
    "vmotion_vm_migration_dirty_bytes",
    "vmotion_vm_migration_rate_bytes_per_second",
)


class MetricsServer:
    """Serves an exporter's metrics on 127.0.0.1 until it is closed; a context manager."""

    def __init__(self, exporter: Exporter, *, port: int | None = None) -> None:
        """Serve on `port`; without one on 9400, or on a free one if that is taken.

        Raises:
            PortTakenError: If the port that was named cannot be had.
        """
        try:
            self._server, self._thread = self._serve(exporter, PORT if port is None else port)
        except (OSError, OverflowError) as error:
            if port is not None:
                raise PortTakenError(
                    f"metrics cannot be served on port {port} of {ADDRESS}: {error}"
                ) from error
            self._server, self._thread = self._serve(exporter, 0)
        self.port: int = self._server.server_port

    @staticmethod
    def _serve(exporter: Exporter, port: int) -> tuple[WSGIServer, Thread]:
        return start_http_server(port, addr=ADDRESS, registry=exporter.registry)

    @property
    def url(self) -> str:
        """Where Prometheus finds the metrics."""
        return f"http://{ADDRESS}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
