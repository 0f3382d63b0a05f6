"""A network whose links share their bandwidth max–min among the flows that cross them.

A flow slows down the moment another joins one of its links, and speeds up when one leaves.
Bytes are counted, not moved: between two changes a rate is constant, so a flow costs one
timer however large it is.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from cluster.policy.sharing import max_min_shares
from cluster.simulation.clock import Clock, Timer


class Flow:
    """Bytes on their way over some links.

    Attributes:
        limit_bytes_per_second: Of this flow alone, below what the links would give it.
        rate_bytes_per_second: Now.
        sent_bytes: Up to `counted_s`; ask the network for what it is now.
    """

    __slots__ = (
        "counted_s",
        "done",
        "limit_bytes_per_second",
        "links",
        "rate_bytes_per_second",
        "sent_bytes",
        "timer",
        "total_bytes",
    )

    def __init__(
        self,
        links: tuple[int, ...],
        total_bytes: int,
        limit_bytes_per_second: float,
        done: Callable[[], None],
        now: float,
    ) -> None:
        self.links = links
        self.total_bytes = total_bytes
        self.limit_bytes_per_second = limit_bytes_per_second
        self.done = done
        self.rate_bytes_per_second = 0.0
        self.sent_bytes = 0.0
        self.counted_s = now
        self.timer: Timer | None = None


class Network:
    """Links by index, and the flows on them."""

    def __init__(self, clock: Clock, capacity: Sequence[float]) -> None:
        """`capacity` in bytes a second for each link; inf never is the bottleneck."""
        self._clock = clock
        self._capacity = list(capacity)
        self._flows: list[dict[Flow, None]] = [{} for _ in self._capacity]
        self._carried = [0.0] * len(self._capacity)

    def start(
        self,
        links: Iterable[int],
        total_bytes: int,
        done: Callable[[], None],
        *,
        limit_bytes_per_second: float = math.inf,
    ) -> Flow:
        """Send `total_bytes` and call `done` when the last has arrived; no bytes take no time."""
        flow = Flow(tuple(links), total_bytes, limit_bytes_per_second, done, self._clock.now)
        for link in flow.links:
            self._flows[link][flow] = None
        self._share_anew(flow.links)
        if not flow.links:
            self._set_rate(flow, limit_bytes_per_second)
        return flow

    def stop(self, flow: Flow) -> int:
        """Take a flow off its links; return the bytes it has sent, whole ones."""
        self._count(flow)
        if flow.timer is not None:
            flow.timer.cancel()
        for link in flow.links:
            self._flows[link].pop(flow, None)
        self._share_anew(flow.links)
        return int(flow.sent_bytes)

    def limit(self, flow: Flow, limit_bytes_per_second: float) -> None:
        """Give a flow another limit of its own."""
        flow.limit_bytes_per_second = limit_bytes_per_second
        self._share_anew(flow.links)

    def set_capacity(self, link: int, capacity_bytes_per_second: float) -> None:
        """Make a link slow, fast again, or cut it (0)."""
        self._capacity[link] = capacity_bytes_per_second
        self._share_anew((link,))

    def sent_bytes(self, flow: Flow) -> int:
        """Return what a flow has sent up to now, whole bytes."""
        self._count(flow)
        return int(flow.sent_bytes)

    def carried_bytes(self) -> list[float]:
        """Return what each link has carried up to now."""
        for flows in self._flows:
            for flow in flows:
                self._count(flow)
        return list(self._carried)

    def _count(self, flow: Flow) -> None:
        elapsed_s = self._clock.now - flow.counted_s
        flow.counted_s = self._clock.now
        left = flow.total_bytes - flow.sent_bytes
        # inf · 0 is no number: a flow without a bottleneck has arrived whenever one looks.
        sent = (
            left
            if math.isinf(flow.rate_bytes_per_second)
            else elapsed_s * (flow.rate_bytes_per_second)
        )
        sent = min(sent, left)
        flow.sent_bytes += sent
        for link in flow.links:
            self._carried[link] += sent

    def _share_anew(self, touched: Iterable[int]) -> None:
        """Share what the touched links and all that hangs together with them can carry.

        Links that no common flow connects do not matter to each other, so the cost is
        that of one group of flows and not of the whole network.
        """
        flows = self._connected(touched)
        if not flows:
            return
        index: dict[int, int] = {}
        for flow in flows:
            for link in flow.links:
                index.setdefault(link, len(index))
        capacity = [self._capacity[link] for link in index]
        crossing = []
        for flow in flows:
            crossed = [index[link] for link in flow.links]
            if not math.isinf(flow.limit_bytes_per_second):
                crossed.append(len(capacity))  # its own limit is a link that it has for itself
                capacity.append(flow.limit_bytes_per_second)
            crossing.append(crossed)
        rates = max_min_shares(crossing, capacity).tolist()
        for flow, rate in zip(flows, rates, strict=True):
            self._set_rate(flow, rate)

    def _connected(self, touched: Iterable[int]) -> list[Flow]:
        flows: dict[Flow, None] = {}
        seen = set(touched)
        waiting = list(seen)
        while waiting:
            for flow in self._flows[waiting.pop()]:
                if flow not in flows:
                    flows[flow] = None
                    fresh = [link for link in flow.links if link not in seen]
                    seen.update(fresh)
                    waiting += fresh
        return list(flows)

    def _set_rate(self, flow: Flow, rate: float) -> None:
        if rate == flow.rate_bytes_per_second and flow.timer is not None:
            return
        self._count(flow)
        flow.rate_bytes_per_second = rate
        if flow.timer is not None:
            flow.timer.cancel()
            flow.timer = None
        left = flow.total_bytes - flow.sent_bytes
        if left <= 0 or math.isinf(rate):
            flow.timer = self._clock.after(0.0, lambda: self._arrive(flow))
        elif rate > 0:
            flow.timer = self._clock.after(left / rate, lambda: self._arrive(flow))

    def _arrive(self, flow: Flow) -> None:
        self._count(flow)
        left = flow.total_bytes - flow.sent_bytes  # what rounding left over
        for link in flow.links:
            self._carried[link] += left
        flow.sent_bytes = float(flow.total_bytes)
        flow.timer = None
        for link in flow.links:
            self._flows[link].pop(flow, None)
        self._share_anew(flow.links)
        flow.done()
