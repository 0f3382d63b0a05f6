"""A real Ray, started once, and clusters of real processes on it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import ray

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.session import ray_session
from cluster.actors.views import ClusterView, EndedMigration
from cluster.inventory.model import Scenario
from cluster.memory.tracker import TrackerKind, probe
from cluster.migration.spec import Trigger
from cluster.policy.messages import MigrationRequested

SILENCE_S_MAX = 60.0


def pytest_collection_modifyitems(items):
    for item in items:
        if "session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)


@pytest.fixture(scope="session")
def session() -> Iterator[None]:
    with ray_session(None, namespace="tests"):
        yield


@dataclass
class Watch:
    """A running cluster, and all that was seen of it."""

    cluster: Cluster
    views: list[ClusterView] = field(default_factory=list)

    def look(self) -> ClusterView:
        self.views.append(self.cluster.view())
        return self.views[-1]

    def until(self, true: Callable[["Watch"], object]) -> object:
        """Look until `true` gives something; fail after a minute of nothing."""
        end = time.monotonic() + SILENCE_S_MAX
        while time.monotonic() < end:
            self.look()
            if found := true(self):
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited in vain; the story so far: {self.story()}")

    @property
    def ended(self) -> list[EndedMigration]:
        return [one for view in self.views for one in view.ended]

    @property
    def verified(self):
        return [one for view in self.views for one in view.verified]

    @property
    def problems(self) -> list[str]:
        return [one for view in self.views for one in view.problems]

    def story(self) -> list[str]:
        return [one.record.text for view in self.views for one in view.happened]

    def where(self, name: str) -> str | None:
        return next(host for vm, host, _ in self.look().vms if vm == name)

    def migrate(self, name: str, destination: str | None = None, **fields) -> None:
        request = MigrationRequested(
            vm=name, destination=destination, trigger=Trigger.USER, **fields
        )
        ray.get(self.cluster.center.request_migration.remote(request))

    def cancel(self, name: str) -> None:
        ray.get(self.cluster.center.request_cancel.remote(name))

    def until_ended(self, count: int) -> list[EndedMigration]:
        self.until(lambda watch: len(watch.ended) >= count)
        return self.ended

    def until_verified(self, count: int):
        self.until(lambda watch: len(watch.verified) >= count)
        return self.verified

    def finish(self):
        """Settle clients and audit every VM; return both."""
        books = self.cluster.settle()
        return books, self.cluster.audit(books)


@pytest.fixture
def launch(session) -> Iterator[Callable[..., Watch]]:
    """Launch clusters that are taken down again after the test."""
    clusters: list[Cluster] = []

    def start(
        scenario: Scenario, *, tracker: TrackerKind | None = None, begin=True, database=None
    ) -> Watch:
        clusters.append(Cluster.launch(scenario, tracker=tracker, database=database))
        watch = Watch(clusters[-1])
        wait_until_up(watch.cluster, watch.views.append)
        if begin:
            watch.cluster.begin()
        return watch

    yield start
    for cluster in clusters:
        cluster.stop()


@pytest.fixture(params=list(TrackerKind), ids=str)
def tracker(request: pytest.FixtureRequest) -> TrackerKind:
    if request.param is TrackerKind.WRITE_PROTECT:
        kind, why = probe()
        if kind is not TrackerKind.WRITE_PROTECT:
            pytest.skip(f"{why}; needs Linux 6.7 and sysctl vm.unprivileged_userfaultfd=1 or root")
    return request.param
