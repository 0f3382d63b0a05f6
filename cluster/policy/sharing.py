"""How migrations share network cards: max–min fair, and one batch after another.

Both drivers use this file: the hosts shape real bytes with it, the simulator moves
counted ones.
"""

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
    with the least left for each of its flows fixes their rate; then the next.
    """
    rates = np.full(len(links), np.inf)
    left = np.asarray(capacity, dtype=np.float64).copy()
    crossing: list[set[int]] = [set() for _ in left]
    for flow, used in enumerate(links):
        for link in used:
            crossing[link].add(flow)
    for _ in range(len(left)):
        share, link = min(
            ((left[link] / len(flows), link) for link, flows in enumerate(crossing) if flows),
            default=(math.inf, -1),
        )
        if math.isinf(share):
            break
        for flow in list(crossing[link]):
            rates[flow] = share
            for other in links[flow]:
                if flow in crossing[other]:
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
