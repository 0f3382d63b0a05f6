"""The metrics of a cluster that stays, served by its keeper: they outlive VirtualCenter's lives."""

import sys
import threading

from ray.exceptions import RayError

from cluster.actors.cluster import Cluster, ClusterFailed
from cluster.actors.recording import Recorder
from cluster.observe.exporter import Exporter
from cluster.observe.record import Engine
from cluster.observe.serving import MetricsServer

_LOOK_S = 0.5
# A whole look's worth of waiting for a VirtualCenter that does not answer.
_ANSWER_S_MAX = 10.0


class StandingMetrics:
    """Looks at VirtualCenter twice a second, and serves what it sees, until it is closed.

    While VirtualCenter is away, `vmotion_virtualcenter_up` is 0 and everything else stays as it
    was; its next life tells what has happened since the last look, so no counter misses it.
    """

    def __init__(self, *, port: int | None) -> None:
        """Serve, nothing as yet, on `port`; without one on 9400, or on a free one.

        Raises:
            PortTakenError: If the port that was named cannot be had.
        """
        self._exporter = Exporter()
        self._server = MetricsServer(self._exporter.metrics, port=port)
        self._tracker = ""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, cluster: Cluster) -> None:
        """Look at this cluster from now on; nobody else may ask it for its views."""
        recorder = Recorder(cluster.scenario, self._exporter)
        self._thread = threading.Thread(
            target=self._look_on, args=(cluster, recorder), name="looking", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where Prometheus finds them."""
        return self._server.url

    def close(self) -> None:
        """Serve no longer."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(2 * _ANSWER_S_MAX)
        self._server.close()

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
        recorder.look(view, cluster)
        recorder.forget()
