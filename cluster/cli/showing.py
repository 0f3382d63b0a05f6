"""What the live view shows of a cluster: of a run, and of one that stands."""

from collections import deque

from cluster.actors.reports import HostSample
from cluster.actors.views import ClusterView, HostView, MigrationView
from cluster.migration.spec import Result
from cluster.observe.live import SPARK_WIDTH, LiveDrs, LiveHost, LiveMigration, LiveState
from cluster.policy.messages import Record, Topic


class Showing:
    """Turns view after view into pictures; what it remembers does not grow."""

    def __init__(
        self, name: str, *, duration_s: float | None, drs_interval_s: float | None, sample_s: float
    ) -> None:
        """Show a cluster from now on.

        Args:
            duration_s: None for a cluster that goes on until it is told to end.
            drs_interval_s: None if DRS does not look.
            sample_s: How often the imbalance is worth a point.
        """
        self._name = name
        self._duration_s = duration_s
        self._drs_interval_s = drs_interval_s
        self._sample_s = sample_s
        self._sampled_s = float("-inf")
        self._imbalance: deque[float] = deque(maxlen=SPARK_WIDTH)
        self._highest = 0.0
        self._samples: dict[str, HostSample] = {}
        self._rates: dict[str, tuple[float, float]] = {}
        self._completed = self._failed = self._refused = 0
        self._passes = self._recommended = self._applied = 0

    def look(
        self,
        view: ClusterView,
        footnotes: tuple[str, ...] = (),
        problems: tuple[str, ...] = (),
    ) -> LiveState:
        """Take in a view, and return the picture of this moment."""
        for ended in view.ended:
            self._ended(ended.outcome.result is Result.COMPLETED)
        for happening in view.happened:
            self._happened(happening.record)
        if view.time_s - self._sampled_s >= self._sample_s and view.time_s > 0.0:
            self._sampled_s = view.time_s
            self._imbalance.append(view.balance.imbalance)
            self._highest = max(self._highest, view.balance.imbalance)
        for host, sample in view.samples.items():
            self._measure(host, sample)
        return LiveState(
            scenario=self._name,
            time_s=max(view.time_s, 0.0),
            duration_s=self._duration_s,
            hosts=tuple(map(self._host, view.hosts)),
            migrations=tuple(_migration(m) for m in view.migrations if m.started_s is not None),
            imbalance=tuple(self._imbalance),
            imbalance_max=self._highest,
            imbalance_target=view.balance.target if view.balance.target < 1e9 else None,
            completed=self._completed,
            failed=self._failed,
            refused=self._refused,
            queued=sum(m.started_s is None for m in view.migrations),
            drs=self._drs(view.time_s),
            problems=problems,
            footnotes=footnotes,
        )

    def _happened(self, record: Record) -> None:
        match record.topic, record.what:
            case Topic.MIGRATION, "refused":
                self._refused += 1
            case Topic.DRS, "pass":
                fields = dict(record.fields)
                recommendations, applied = fields["recommendations"], fields["applied"]
                assert isinstance(recommendations, tuple)
                assert isinstance(applied, int)
                self._passes += 1
                self._recommended += len(recommendations)
                self._applied += applied

    def _ended(self, completed: bool) -> None:
        self._completed += completed
        self._failed += not completed

    def _measure(self, host: str, sample: HostSample) -> None:
        """Bytes a second between a host's last two samples."""
        before = self._samples.get(host)
        if before is not None and before.time_s == sample.time_s:
            return
        self._samples[host] = sample
        if before is None or sample.time_s < before.time_s or sample.tx_bytes < before.tx_bytes:
            return  # its first, or that of a host that has started again
        span_s = sample.time_s - before.time_s
        self._rates[host] = (
            (sample.tx_bytes - before.tx_bytes) / span_s,
            (sample.rx_bytes - before.rx_bytes) / span_s,
        )

    def _host(self, host: HostView) -> LiveHost:
        sent, received = self._rates.get(host.name, (0.0, 0.0))
        return LiveHost(
            name=host.name,
            cpu_load=host.demand_mhz / host.cpu_mhz,
            memory_load=host.used_mib / host.memory_mib,
            vms=host.vms,
            state=host.state.value,
            tx_bytes_per_second=sent,
            rx_bytes_per_second=received,
        )

    def _drs(self, time_s: float) -> LiveDrs | None:
        if self._drs_interval_s is None:
            return None
        return LiveDrs(
            passes=self._passes,
            recommended=self._recommended,
            applied=self._applied,
            next_s=self._next_pass_s(self._drs_interval_s, time_s),
        )

    def _next_pass_s(self, interval_s: float, time_s: float) -> float | None:
        """When DRS looks again: at every whole interval, as the Center counts; None at the end."""
        due_s = (max(time_s, 0.0) // interval_s + 1) * interval_s
        return due_s if self._duration_s is None or due_s < self._duration_s else None


def _migration(view: MigrationView) -> LiveMigration:
    progress = view.progress
    return LiveMigration(
        vm=view.spec.vm,
        source=view.spec.source,
        destination=view.spec.destination,
        phase="queued" if progress is None else progress.phase.replace("_", " "),
        round=progress.round if progress else 0,
        rate_bytes_per_second=progress.rate_bytes_per_second if progress else 0.0,
        dirty_pages=progress.dirty_pages if progress else 0,
        progress=progress.sent_bytes / view.spec.memory_bytes if progress else 0.0,
    )
