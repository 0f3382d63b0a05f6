"""What is seen of a cluster that stays, through its keeper: metrics, log and traces outlive VirtualCenter."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Mapping

from ray.exceptions import RayError

from cluster.actors.cluster import Cluster, ClusterFailed
from cluster.actors.own_metrics import OwnEndpoints
from cluster.actors.places import Watching
from cluster.actors.recording import Recorder
from cluster.observe.exporter import Exporter
from cluster.observe.logs import Level, open_log
from cluster.observe.record import Engine
from cluster.observe.serving import MetricsServer, host_targets
from cluster.observe.tracing import tracing_from

_LOOK_S = 0.5
# A whole look's worth of waiting for a VirtualCenter that does not answer.
_ANSWER_S_MAX = 10.0


class LogFailed(Exception):
    """The log that the user named cannot be written; the message says why."""


class StandingMetrics:
    """Looks at VirtualCenter twice a second, and serves what it sees, until it is closed.

    While VirtualCenter is away, `vmotion_virtualcenter_up` is 0 and everything else stays as it
    was; its next life tells what has happened since the last look, so no counter misses it.
    Spans go to the collector that the environment names, and lines to the log, as for a run.
    """

    def __init__(self, watching: Watching) -> None:
        """Serve, nothing as yet, on the port named; without one on 9400, or on a free one.

        Raises:
            PortTakenError: If the port that was named cannot be had.
            TracingMissingError: If the environment names a collector and OpenTelemetry is missing.
            LogFailed: If the log cannot be written.
        """
        self._watching = watching
        self._exporter = Exporter(per_vm=watching.vm_metrics, hosts_own=not watching.host_metrics)
        with contextlib.ExitStack() as opened:
            try:
                level = Level[watching.log_level.upper()]
                self._log = opened.enter_context(open_log(watching.log, level))
            except OSError as error:
                raise LogFailed(f"{watching.log}: {error.strerror}") from error
            self._tracing = tracing_from(os.environ)
            if self._tracing is not None:
                opened.push(self._tracing)
            self._server = MetricsServer(self._exporter.metrics, port=watching.metrics_port)
            opened.callback(self._server.close)
            self._opened = opened.pop_all()
        self._tracker = ""
        self._endpoints: OwnEndpoints | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, cluster: Cluster, *, hosts_at: str | None) -> None:
        """Look at this cluster from now on; nobody else may ask it for its views.

        `hosts_at` is the address where hosts serve their own metrics if they are to; None is
        that of each one's node.
        """
        if self._watching.host_metrics:

            def serve(hosts: Iterable[str]) -> Mapping[str, str]:
                cluster.find_again(hosts)
                return cluster.serve_host_metrics(
                    address=hosts_at, per_vm=self._watching.vm_metrics, hosts=hosts
                )

            self._server.discovered(host_targets(serve(cluster.hosts)))
            self._endpoints = OwnEndpoints(serve)
        recorder = Recorder(cluster.scenario, self._exporter, self._log)
        self._thread = threading.Thread(
            target=self._look_on, args=(cluster, recorder), name="looking", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where Prometheus finds them."""
        return self._server.url

    def close(self) -> None:
        """Serve no longer, and send the last spans; again it does nothing."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(2 * _ANSWER_S_MAX)
        self._opened.close()

    def _look_on(self, cluster: Cluster, recorder: Recorder) -> None:
        said = ""
        while not self._over.wait(_LOOK_S):
            try:
                self._look(cluster, recorder)
                said = ""
            except (RayError, ClusterFailed) as error:
                self._exporter.center_answers(False)
                if said != (text := f"metrics: {str(error).splitlines()[0]}"):
                    said = text
                    print(text, file=sys.stderr, flush=True)
            except BaseException:
                # A defect. Figures that stand still would look like a calm cluster: a scrape fails.
                self._server.close()
                raise

    def _look(self, cluster: Cluster, recorder: Recorder) -> None:
        view = cluster.view(silence_s_max=_ANSWER_S_MAX)
        tracker = ", ".join(sorted({h.facts.tracker.value for h in view.hosts if h.facts}))
        if tracker != self._tracker:
            self._tracker = tracker
            self._exporter.run_started(
                scenario=cluster.scenario.name, engine=Engine.LIVE, tracker=tracker
            )
        if self._endpoints is not None and (where := self._endpoints.look(view.hosts)) is not None:
            self._server.discovered(host_targets(where))
        recorder.look(view, cluster)
        if self._tracing is not None and recorder.began_unix_s is not None:
            for span in recorder.spans:
                self._tracing.tell(span, run_began_unix_s=recorder.began_unix_s)
        recorder.forget()
