"""Runs a scenario on Ray from power-on to the last audit, and shows it meanwhile."""

import contextlib
import time
from collections import Counter
from dataclasses import dataclass

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.load import Books
from cluster.actors.recording import Recorder
from cluster.actors.session import ray_session, terminated_as_interrupt
from cluster.actors.shipping import shipped
from cluster.actors.verifying import Audit
from cluster.actors.views import ClusterView
from cluster.cli.showing import Showing
from cluster.inventory.model import Scenario
from cluster.observe.exporter import Exporter
from cluster.observe.live import View
from cluster.observe.logs import QUIET, RunLog
from cluster.observe.record import Engine, EventKind, EventRow, Integrity, Summary
from cluster.observe.serving import ADDRESS, MetricsServer, host_targets
from cluster.observe.summary import summarise
from cluster.policy.state import PowerState

_LOOK_S = 0.25
# Migrations under way at the end may go on for as long as they make progress.
_DRAIN_SILENCE_S_MAX = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMetrics:
    """Every host serves its own metrics; `per_vm` as the exporter has it."""

    per_vm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run that is over.

    Attributes:
        failures: Why its exit status is 1; empty if all went well.
        interrupted: Somebody stopped it before its time.
    """

    summary: Summary
    recorder: Recorder
    failures: tuple[str, ...]
    interrupted: bool


def run_live(
    scenario: Scenario,
    *,
    view: View,
    exporter: Exporter,
    server: MetricsServer,
    address: str | None,
    host_metrics: HostMetrics | None = None,
    log: RunLog = QUIET,
) -> LiveRun:
    """Run it; whatever happens, nothing of it is left running.

    Raises:
        NoRay: If there is no Ray to run on.
        ClusterFailed: If the cluster does not come up or stops answering.
    """
    run = _Run(scenario, view=view, exporter=exporter, server=server, log=log)
    with contextlib.ExitStack() as open_until_the_end:
        enter = open_until_the_end.enter_context
        enter(terminated_as_interrupt())
        runtime_env = None
        if address is not None:
            scenario, runtime_env = enter(shipped(scenario))
        namespace = f"vmotion-{scenario.name}"
        enter(ray_session(address, namespace=namespace, runtime_env=runtime_env))
        enter(terminated_as_interrupt())  # again: Ray puts a handler of its own in place
        cluster = Cluster.launch(scenario)
        try:
            if host_metrics is not None:
                # A Ray of our own is nobody else's business; on a cluster Prometheus is elsewhere.
                where = cluster.serve_host_metrics(
                    address=ADDRESS if address is None else None, per_vm=host_metrics.per_vm
                )
                server.discovered(host_targets(where))
            run.go(cluster)
        finally:
            cluster.stop()
    return run.result()


class _Run:
    """One run's loop and what it has learnt so far."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        view: View,
        exporter: Exporter,
        server: MetricsServer,
        log: RunLog,
    ) -> None:
        self._scenario = scenario
        self._screen = view
        self._exporter = exporter
        self._footnotes: tuple[str, ...] = (f"metrics: {server.url}",)
        self._recorder = Recorder(scenario, exporter, log)
        self._showing = Showing(
            scenario.name,
            duration_s=scenario.duration_s,
            drs_interval_s=scenario.drs.interval_s if scenario.drs.enabled else None,
            sample_s=scenario.sample_s,
        )
        self._audits: list[Audit] | None = None
        self._failures: list[str] = []
        self._interrupted = False
        self._duration_s = 0.0

    def go(self, cluster: Cluster) -> None:
        """Power on, run, drain, audit; an interrupt leaves out what has not begun."""
        try:
            up = wait_until_up(cluster, lambda seen: self._show(seen, cluster))
            self._note_tracker(up, cluster)
            later = self._scenario.arriving
            off = [n for n, _, power in up.vms if power is PowerState.OFF and n not in later]
            if off:
                self._failures.append(f"not powered on: {', '.join(off)}")
                return
            cluster.begin()
            self._until_over(cluster)
            self._drain(cluster)
            books = cluster.settle()
            self._recorder.finish({book.vm: book.gaps for book in books})
            self._audits = cluster.audit(books)
            self._judge(books)
        except KeyboardInterrupt:
            self._interrupted = True
            self._recorder.finish({})

    def result(self) -> LiveRun:
        """Condense what was recorded."""
        recorder, scenario = self._recorder, self._scenario
        integrity = self._integrity()
        if integrity is not None:
            self._exporter.requests_settled(integrity)
        summary = summarise(
            scenario=scenario.name,
            engine=Engine.LIVE,
            seed=scenario.seed,
            hosts=len(scenario.hosts),
            vms=len(scenario.vms),
            duration_s=self._duration_s,
            migrations=recorder.migrations,
            timeline=recorder.timeline,
            drs_passes=recorder.passes,
            unmet_demand_ratios=recorder.unmet_ratios,
            rule_violations=recorder.rule_violations,
            integrity=integrity,
            imbalance_from_s=recorder.balanced_from_s,
        )
        failures = (*self._failures, *recorder.problems)
        return LiveRun(
            summary=summary,
            recorder=recorder,
            failures=failures,
            interrupted=self._interrupted,
        )

    def _show(self, view: ClusterView, cluster: Cluster) -> None:
        for event in self._recorder.look(view, cluster):
            self._screen.note(event)
        self._screen.show(self._showing.look(view, self._footnotes))

    def _note_tracker(self, up: ClusterView, cluster: Cluster) -> None:
        """Say how dirty pages are found, and why not in the best way."""
        kinds = Counter(host.facts.tracker.value for host in up.hosts if host.facts)
        named = ", ".join(sorted(kinds))
        why = next((h.facts.tracker_why for h in up.hosts if h.facts and h.facts.tracker_why), "")
        self._footnotes += (f"dirty tracking: {named}" + (f" ({why})" if why else ""),)
        if cluster.lines:
            slow, fast = (pick(rate for *_, rate in cluster.lines) for pick in (min, max))
            text = f"network between nodes: {slow / 1e6:.0f} to {fast / 1e6:.0f} MB/s, measured"
            self._footnotes += (text,)
            row = EventRow(time_s=0.0, kind=EventKind.NOTE, text=text)
            self._recorder.note(row)
            self._screen.note(row)
        if up.licences is not None:
            self._footnotes += (f"licences: {up.licences.text}",)
        self._exporter.run_started(scenario=self._scenario.name, engine=Engine.LIVE, tracker=named)

    def _until_over(self, cluster: Cluster) -> None:
        while True:
            view = cluster.view()
            self._show(view, cluster)
            self._duration_s = view.time_s
            left_s = self._scenario.duration_s - view.time_s
            if left_s <= 0:
                return
            time.sleep(min(_LOOK_S, left_s))

    def _drain(self, cluster: Cluster) -> None:
        """Wait for the migrations under way and their comparisons."""
        cluster.stopping()
        seen, heard_s = None, time.monotonic()
        while True:
            view = cluster.view()
            self._show(view, cluster)
            if not view.migrations and not view.verifying:
                return
            if (now := (view.migrations, view.verifying)) != seen:
                seen, heard_s = now, time.monotonic()
            elif time.monotonic() - heard_s > _DRAIN_SILENCE_S_MAX:
                stuck = ", ".join(m.spec.id for m in view.migrations) or "a comparison"
                self._failures.append(f"{stuck}: no progress for {_DRAIN_SILENCE_S_MAX:.0f} s")
                return
            time.sleep(_LOOK_S)

    def _judge(self, books: list[Books]) -> None:
        """Turn what the audits found into failures, each in a sentence."""
        for audit in self._audits or ():
            settled = audit.settlement
            found = [
                *([audit.error] if audit.error else []),
                *_count(audit.mismatched_pages, "page that its replay does not explain"),
                *_count(settled.lost, "lost request"),
                *_count(settled.duplicated, "duplicated request"),
            ]
            if found:
                self._fail(f"{audit.vm}: {', '.join(found)}")
        for book in books:
            for text in _said_of(book):
                row = EventRow(time_s=self._duration_s, kind=EventKind.NOTE, text=text, vm=book.vm)
                self._recorder.note(row)
                self._screen.note(row)

    def _fail(self, text: str) -> None:
        self._failures.append(text)
        row = EventRow(time_s=self._duration_s, kind=EventKind.INTEGRITY_FAILED, text=text)
        self._recorder.note(row)
        self._screen.note(row)

    def _integrity(self) -> Integrity | None:
        if self._audits is None:
            return None
        return Integrity(
            vms_checked=len(self._audits),
            mismatched_pages=self._recorder.mismatched_pages
            + sum(audit.mismatched_pages for audit in self._audits),
            lost_requests=sum(audit.settlement.lost for audit in self._audits),
            duplicated_requests=sum(audit.settlement.duplicated for audit in self._audits),
        )


def _said_of(book: Books) -> list[str]:
    """Return what is worth knowing of a VM's clients and is no failure of theirs."""
    said = []
    if book.restarts:
        times = "once" if book.restarts == 1 else f"{book.restarts} times"
        text = "what its clients asked before is compared with nothing"
        said.append(f"{book.vm}: restarted {times} without its memory, {text}")
    if book.off:
        said.append(f"{book.vm}: its clients stopped early, {book.off}")
    return said


def _count(number: int, what: str) -> list[str]:
    return [f"{number} {what}{'s' if number > 1 else ''}"] if number else []
