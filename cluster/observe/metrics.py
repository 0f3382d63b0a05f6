"""Every metric of the project in one table: the exporter, the reference page and the tests read it.

Names follow Prometheus' rules: base units, `_total` for counters, no VM's name in a
histogram. Labels are bounded, except `vm`, whose metrics can be switched off.

`python -m cluster.observe.metrics` prints docs/metrics.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product

from cluster.inventory.model import Mode
from cluster.migration.spec import Result, Trigger
from cluster.observe.record import DOWNTIME_PARTS
from cluster.policy.preflight import CHECKS

OTHER = "other"
"""A reason that is no check's: a VM that is off, a host that is not there."""


class Kind(Enum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Unit(Enum):
    """Base units; the value ends the metric's name, before a counter's `_total`."""

    SECONDS = "seconds"
    BYTES = "bytes"
    BYTES_PER_SECOND = "bytes_per_second"
    RATIO = "ratio"
    INFO = "info"
    NONE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the table.

    Attributes:
        buckets: Upper bounds of a histogram; +Inf is added.
        per_vm: One series a VM; left out where there are too many of them.
    """

    name: str
    kind: Kind
    unit: Unit
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def per_vm(self) -> bool:
        """Whether there is one series a VM, or more."""
        return "vm" in self.labels


# 50 and 300 ms are median and p99 at Google (VEE 2018), 0.9 s is KubeVirt's limit, 1 s
# VMware's promise; a bucket ends at each, so that "share below" is exact there.
_DOWNTIME = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0, 2.0, 5.0, 10.0)
_PART = (0.0001, 0.0002, 0.0005, *_DOWNTIME)
_DURATION = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_RATE = (1e6, 5e6, 1e7, 5e7, 1.25e8, 2.5e8, 5e8, 1e9, 1.25e9, 2.5e9, 5e9, 1.25e10)
# The pager counts by power of two of microseconds: a bucket ends at each.
_FAULT = tuple(2**power / 1e6 for power in range(4, 23))
_SOLVE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SHARE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


def _counter(name: str, help_: str, *labels: str, unit: Unit = Unit.NONE) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, unit=unit, help=help_, labels=labels)


def _gauge(name: str, help_: str, *labels: str, unit: Unit = Unit.NONE) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, unit=unit, help=help_, labels=labels)


def _histogram(
    name: str, help_: str, buckets: tuple[float, ...], *labels: str, unit: Unit = Unit.SECONDS
) -> Metric:
    return Metric(
        name=name, kind=Kind.HISTOGRAM, unit=unit, help=help_, labels=labels, buckets=buckets
    )


METRICS: tuple[Metric, ...] = (
    # The run.
    _gauge(
        "vmotion_run_info",
        "Always 1; what is running and how it tracks dirty pages.",
        "scenario",
        "engine",
        "tracker",
        unit=Unit.INFO,
    ),
    _gauge(
        "vmotion_run_time_seconds", "Time in the run; virtual in a simulation.", unit=Unit.SECONDS
    ),
    # Migrations that have ended.
    _counter(
        "vmotion_migrations_total",
        "Migrations that have ended.",
        "mode",
        "trigger",
        "result",
    ),
    _histogram(
        "vmotion_downtime_seconds",
        "Downtime: vCPUs execute nothing, from the stun to the resume.",
        _DOWNTIME,
        "mode",
    ),
    _histogram(
        "vmotion_downtime_part_seconds",
        "Named parts of the downtime; they add up to it.",
        _PART,
        "part",
    ),
    _histogram(
        "vmotion_client_blackout_seconds",
        "Blackout that a client saw: from the source's last answer to the destination's first.",
        _DOWNTIME,
        "mode",
    ),
    _histogram(
        "vmotion_client_stall_seconds",
        "Longest gap over 10 ms between answers to a client from the switchover until the "
        "remainder has drained; 0 without one.",
        _DOWNTIME,
        "mode",
    ),
    _histogram(
        "vmotion_client_stalled_seconds",
        "All such gaps of a migration together: brownout after the switchover.",
        _DOWNTIME,
        "mode",
    ),
    _histogram(
        "vmotion_predicted_downtime_seconds",
        "Downtime as predicted when the switchover was decided.",
        _DOWNTIME,
        "mode",
    ),
    _histogram(
        "vmotion_downtime_prediction_error_ratio",
        "Measured less predicted downtime, over predicted; 0 is exact, 1 is twice as long.",
        (-0.9, -0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        unit=Unit.RATIO,
    ),
    _histogram(
        "vmotion_migration_duration_seconds",
        "From begin to end of a migration.",
        _DURATION,
        "mode",
        "result",
    ),
    _counter(
        "vmotion_transfer_bytes_total",
        "Bytes that migrations sent, by phase: precopy, downtime, postcopy.",
        "phase",
        unit=Unit.BYTES,
    ),
    _counter("vmotion_zero_pages_total", "Pages that needed no bytes because they were zero."),
    _counter("vmotion_demand_faults_total", "Pages that a guest touched before they had arrived."),
    _histogram(
        "vmotion_demand_fault_seconds",
        "Time a guest waited for a page that it touched before it had arrived, from the fault "
        "read to the page mapped; counted by power of two of microseconds, so that the sum is "
        "right to a third.",
        _FAULT,
    ),
    _histogram(
        "vmotion_survivable_seconds",
        "Time from a resume until the VM would have survived the loss of its source's process, or "
        "of the source's whole node; of migrations whose memory came in part after the VM.",
        _PART,
        "loss",
    ),
    _histogram(
        "vmotion_precopy_rounds",
        "Pre-copy rounds of a migration, the first one included.",
        (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30),
        unit=Unit.NONE,
    ),
    _histogram(
        "vmotion_bandwidth_bytes_per_second",
        "Bandwidth that a migration had.",
        _RATE,
        unit=Unit.BYTES_PER_SECOND,
    ),
    _histogram(
        "vmotion_dirty_rate_bytes_per_second",
        "Distinct memory that the guest dirtied while it was migrated.",
        _RATE,
        unit=Unit.BYTES_PER_SECOND,
    ),
    _histogram(
        "vmotion_transmit_to_dirty_ratio",
        "Bandwidth over dirty rate; pre-copy cannot converge below 1.",
        (0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0, 50.0, 100.0),
        unit=Unit.RATIO,
    ),
    _histogram(
        "vmotion_amplification_ratio",
        "Bytes sent over the VM's memory.",
        (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0),
        unit=Unit.RATIO,
    ),
    _histogram(
        "vmotion_throttle_ratio",
        "Largest share of vCPU time that a migration took away to converge.",
        _SHARE,
        unit=Unit.RATIO,
    ),
    # Migrations waiting and under way.
    _gauge("vmotion_queued_migrations", "Migrations that wait for a limit to admit them."),
    _histogram("vmotion_queue_wait_seconds", "Time a migration waited to be admitted.", _DURATION),
    _gauge(
        "vmotion_active_migrations",
        "Migrations under way on a host; direction is out or in.",
        "host",
        "direction",
    ),
    _gauge("vmotion_vm_migration_round", "Round of the VM's migration under way.", "vm"),
    _gauge(
        "vmotion_vm_migration_dirty_bytes",
        "What is still to be sent in the VM's migration under way.",
        "vm",
        unit=Unit.BYTES,
    ),
    _gauge(
        "vmotion_vm_migration_rate_bytes_per_second",
        "Rate at which the VM's migration under way sends.",
        "vm",
        unit=Unit.BYTES_PER_SECOND,
    ),
    _gauge(
        "vmotion_vm_last_downtime_seconds",
        "Downtime of the VM's last migration.",
        "vm",
        unit=Unit.SECONDS,
    ),
    _gauge("vmotion_vm_owner_epoch", "Epoch of the VM's ownership; each migration adds 1.", "vm"),
    # Hosts.
    _gauge(
        "vmotion_host_cpu_load_ratio",
        "CPU entitlements of the host's VMs over its capacity.",
        "host",
        unit=Unit.RATIO,
    ),
    _gauge(
        "vmotion_host_memory_load_ratio",
        "Memory entitlements of the host's VMs over its capacity.",
        "host",
        unit=Unit.RATIO,
    ),
    _gauge(
        "vmotion_host_memory_bytes",
        "Memory that the host has for VMs.",
        "host",
        unit=Unit.BYTES,
    ),
    _gauge("vmotion_host_vms", "VMs on the host.", "host"),
    _gauge("vmotion_host_state", "1 for the state that the host is in, else 0.", "host", "state"),
    _counter(
        "vmotion_host_transmit_bytes_total",
        "Bytes that the host's VMotion network card sent.",
        "host",
        unit=Unit.BYTES,
    ),
    _counter(
        "vmotion_host_receive_bytes_total",
        "Bytes that the host's VMotion network card received.",
        "host",
        unit=Unit.BYTES,
    ),
    _counter(
        "vmotion_host_guest_behind_seconds_total",
        "Time that the host's guests should have run and did not, because the machine itself was "
        "late: brownout that no migration asked for.",
        "host",
        unit=Unit.SECONDS,
    ),
    _counter(
        "vmotion_host_guest_overruns_total",
        "Steps of guests that took longer than their quantum; a stun waits for such a step.",
        "host",
    ),
    _counter(
        "vmotion_host_guest_requests_total",
        "Requests of clients that the host's guests have answered.",
        "host",
    ),
    # VirtualCenter.
    _gauge(
        "vmotion_virtualcenter_up",
        "1 while VirtualCenter answers, else 0; VMs run on without it, and nothing migrates.",
    ),
    _counter(
        "vmotion_virtualcenter_restarts_total",
        "Times that VirtualCenter has died and begun again from its journal.",
    ),
    # HA.
    _counter(
        "vmotion_hosts_lost_total",
        "Times that a host was lost with the VMs that ran there.",
    ),
    _counter(
        "vmotion_vm_failures_total",
        "VMs that stopped without having been told to: by themselves, or with their host.",
    ),
    _counter("vmotion_ha_restarts_total", "VMs that HA restarted, without their memory."),
    _gauge(
        "vmotion_ha_waiting_vms",
        "VMs that HA has to restart and that wait for a host with room.",
    ),
    # Licences; none are used or free during an evaluation.
    _gauge(
        "vmotion_licences",
        "Licences of a feature; state is used or free.",
        "feature",
        "state",
    ),
    _gauge(
        "vmotion_licence_left_seconds",
        "Time until the feature's licence ends, in whole days; feature is evaluation, grace period "
        "or expired where no licence counts.",
        "feature",
        unit=Unit.SECONDS,
    ),
    _gauge(
        "vmotion_licence_server_away",
        "1 while the licence server does not answer and the grace period runs.",
    ),
    # Integrity.
    _counter("vmotion_verified_pages_total", "Pages compared with the source's frozen memory."),
    _counter(
        "vmotion_integrity_failures_total",
        "What integrity checks found: mismatched-page, lost-request or duplicated-request.",
        "check",
    ),
    # DRS.
    _gauge(
        "drs_imbalance_ratio", "Imbalance: standard deviation of normalised load.", unit=Unit.RATIO
    ),
    _gauge(
        "drs_resource_imbalance_ratio",
        "Imbalance of one resource: cpu or memory.",
        "resource",
        unit=Unit.RATIO,
    ),
    _gauge(
        "drs_imbalance_target_ratio",
        "Imbalance above which the migration threshold asks for migrations.",
        unit=Unit.RATIO,
    ),
    _counter("drs_passes_total", "Times DRS looked at the cluster."),
    _histogram("drs_solve_seconds", "Time DRS took to find a plan.", _SOLVE),
    _counter("drs_recommendations_total", "Recommendations by priority, 1 to 5.", "priority"),
    _counter(
        "drs_applied_recommendations_total",
        "Recommendations that were requested as migrations without asking anybody.",
    ),
    _counter(
        "drs_refused_recommendations_total",
        "Of the applied recommendations, those that VirtualCenter refused to start; reason is the "
        "first check that forbade it, or other.",
        "reason",
    ),
    _gauge(
        "drs_vm_happiness_ratio",
        "Share of its CPU demand that the VM gets; 1 without demand.",
        "vm",
        unit=Unit.RATIO,
    ),
    _gauge(
        "drs_host_happiness_ratio",
        "Share of their CPU demand that the host's VMs get, all of them together.",
        "host",
        unit=Unit.RATIO,
    ),
    _gauge(
        "drs_unmet_demand_ratio",
        "Share of the VMs' CPU demand that hosts cannot serve.",
        unit=Unit.RATIO,
    ),
    _gauge("drs_rule_violations", "Placement rules that are violated now."),
)

BY_NAME = {metric.name: metric for metric in METRICS}

HOSTS_OWN = tuple(
    BY_NAME[name]
    for name in (
        "vmotion_host_cpu_load_ratio",
        "vmotion_host_memory_load_ratio",
        "vmotion_host_memory_bytes",
        "vmotion_host_vms",
        "vmotion_host_transmit_bytes_total",
        "vmotion_host_receive_bytes_total",
        "vmotion_host_guest_behind_seconds_total",
        "vmotion_host_guest_overruns_total",
        "vmotion_host_guest_requests_total",
        "drs_host_happiness_ratio",
        "drs_vm_happiness_ratio",
    )
)
"""What a host knows of itself: where hosts export for themselves, only they serve these."""

LABEL_VALUES: dict[str, tuple[str, ...]] = {
    "mode": tuple(mode.value for mode in Mode),
    "trigger": tuple(trigger.value for trigger in Trigger),
    "result": tuple(result.value for result in Result),
    "part": DOWNTIME_PARTS,
    "phase": ("precopy", "downtime", "postcopy"),
    "loss": ("process", "node"),
    "reason": (*(check.name for check in CHECKS), OTHER),
    "check": ("mismatched-page", "lost-request", "duplicated-request"),
    "priority": ("1", "2", "3", "4", "5"),
}
"""All values of the labels whose values are known beforehand."""


def foreseeable_series(metric: Metric) -> Iterator[tuple[str, ...]]:
    """Yield the label values of a counter or histogram that can be known before it counts.

    A series that first appears when it is already 1 looks to `increase` as if nothing had
    happened: an alert on the first lost VM would stay silent. So these start at 0.
    """
    if metric.labels and metric.kind is not Kind.GAUGE and LABEL_VALUES.keys() >= {*metric.labels}:
        yield from product(*(LABEL_VALUES[label] for label in metric.labels))


_HEAD = """# Metrics

`vmotion run` and `vmotion up` serve these at `http://127.0.0.1:9400/metrics` (`--metrics-port` sets
another port). Generated from `cluster/observe/metrics.py` by `python -m cluster.observe.metrics`.

Names are an interface: they change only with an entry in the changelog. Metrics with
the label `vm` have a series a VM and can be switched off for large clusters. A
histogram `NAME` gives `NAME_bucket`, `NAME_sum` and `NAME_count`.

`dashboards/` has Prometheus' configuration, rules and alerts, and dashboards for Grafana;
[runbook.md](runbook.md) says what to do when an alert fires.
"""


def reference_page() -> str:
    """The table as Markdown, by kind of metric and in the table's order."""
    lines = [_HEAD]
    for kind in Kind:
        lines += [
            f"## {kind.value.capitalize()}s",
            "",
            "| Name | Unit | Labels | Meaning |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{metric.name}` | {metric.unit.value.replace('_', ' ') or '–'} "
            f"| {', '.join(f'`{label}`' for label in metric.labels) or '–'} | {metric.help} |"
            for metric in METRICS
            if metric.kind is kind
        ]
        lines.append("")
    lines += ["## Buckets", "", "| Histogram | Upper bounds |", "|---|---|"]
    lines += [
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |"
        for metric in METRICS
        if metric.kind is Kind.HISTOGRAM
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference_page(), end="")
