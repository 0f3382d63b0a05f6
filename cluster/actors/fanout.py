"""Experiments side by side on Ray: here or on a cluster, a few at once, each answered as it ends."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import ray

T = TypeVar("T")


class FanOut(Generic[T]):
    """Runs a function in Ray's workers, one core each; used within a `ray_session`.

    Attributes:
        at_once_max: As many as the cluster has cores.
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self._remote: Any = ray.remote(num_cpus=1, max_retries=1)(function)
        self._running: dict[Any, object] = {}
        self.at_once_max = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __len__(self) -> int:
        return len(self._running)

    def submit(self, key: object, *arguments: object) -> None:
        """Begin one; its answer comes under `key`."""
        self._running[self._remote.remote(*arguments)] = key

    def next(self, *, wait_s_max: float) -> tuple[object, T] | None:
        """Return the next that has ended, or None if none has until then.

        Raises:
            RayError: If it failed.
        """
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=wait_s_max)
        if not ready:
            return None
        key = self._running.pop(ready[0])
        found: T = ray.get(ready[0])
        return key, found
