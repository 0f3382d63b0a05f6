"""How migrations share network cards: max–min fair, and one batch after another.

Both drivers use this file: the hosts shape real bytes with it, the simulator moves
counted ones.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def max_min_shares(
    links: Sequence[Sequence[int]], capacity: Sequence[float] | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return each flow's max–min fair rate: none can grow without a smaller one shrinking.

    Args:
        links: For each flow the indices into `capacity` of the links it crosses.
        capacity: Of each link; `inf` is a link that never is the bottleneck.

    Returns:
        (flows,) float64, in the unit of `capacity`; `inf` for a flow without a bottleneck.

    Progressive filling (Bertsekas and Gallager, Data Networks, §6.5.2): the link
    with the least left for each of its flows fixes their rate; then the next. What a link
    has for each of its flows only grows while others are fixed, so a heap may hold an old,
    too small figure and correct it when it comes up.
    """
    rates = np.full(len(links), np.inf)
    crossing: dict[int, set[int]] = {}
    for flow, used in enumerate(links):
        for link in used:
            crossing.setdefault(link, set()).add(flow)
    left = {link: float(capacity[link]) for link in crossing}
    heap = [(left[link] / len(flows), link) for link, flows in crossing.items()]
    heapq.heapify(heap)
    while heap:
        noted, link = heapq.heappop(heap)
        if not (flows := crossing[link]):
            continue
        share = left[link] / len(flows)
        if share > noted:
            heapq.heappush(heap, (share, link))
            continue
        if math.isinf(share):
            break
        for flow in sorted(flows):
            rates[flow] = share
            for other in set(links[flow]):
                crossing[other].discard(flow)
                left[other] = max(0.0, left[other] - share)
    return rates


@dataclass(slots=True)
class SerialLink:
    """One direction of a network card: batches leave one after another at its rate.

    Attributes:
        rate_bytes_per_second: None never makes anybody wait.
        busy_until_s: When everything accepted so far has left.

    A batch that comes while the link is idle starts at once, so short gaps between
    batches are lost as they are on a wire.
    """

    rate_bytes_per_second: float | None
    busy_until_s: float = 0.0
    sent_bytes: int = 0

    def accept(self, nbytes: int, *, now: float) -> float:
        """Take a batch; return when its last byte will have left."""
        self.sent_bytes += nbytes
        if self.rate_bytes_per_second is None:
            return now
        start = max(now, self.busy_until_s)
        self.busy_until_s = start + nbytes / self.rate_bytes_per_second
        return self.busy_until_s
