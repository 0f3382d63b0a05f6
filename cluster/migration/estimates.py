"""What a migration learns from its own rounds: the link's bandwidth and how the guest dirties.

Both are uncertain, each in its way. A round of a few pages says little about the link, so
samples weigh by their bytes. The dirty pages at a round's end understate the dirty rate of
a guest whose working set is small, so the first count within the round is used as well.
"""

import math
from dataclasses import dataclass, replace

from cluster.migration.messages import Seconds

SMOOTHING_RATIO = 0.4
"""Weight of a full sample in the smoothed bandwidth, as in KubeVirt's stall detector."""
FULL_SAMPLE_BYTES = 16 << 20
"""A send of this many bytes is a full sample; smaller ones weigh in proportion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEstimate:
    """A smoothed bandwidth: decayed bytes over decayed seconds."""

    weighted_bytes: float = 0.0
    weighted_s: float = 0.0

    @property
    def bytes_per_second(self) -> float | None:
        """None before the first sample."""
        return self.weighted_bytes / self.weighted_s if self.weighted_s > 0 else None

    def sampled(self, sent_bytes: int, duration_s: Seconds) -> "LinkEstimate":
        """Return the estimate with one send more; an instant or empty send changes nothing.

        The old sums decay by (1 - smoothing)^w with w = min(1, bytes ÷ full sample), so
        that a hundred tiny rounds do not forget a gigabyte.
        """
        if sent_bytes <= 0 or duration_s <= 0:
            return self
        weight = min(1.0, sent_bytes / FULL_SAMPLE_BYTES)
        kept = (1.0 - SMOOTHING_RATIO) ** weight
        return LinkEstimate(
            weighted_bytes=kept * self.weighted_bytes + sent_bytes,
            weighted_s=kept * self.weighted_s + duration_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirtying:
    """How a guest dirties pages: a first rate, and a working set in which it saturates.

    Attributes:
        pages_per_second: Distinct pages a second while none is dirty yet.
        working_set_pages: inf when a round showed no saturation.
    """

    pages_per_second: float = 0.0
    working_set_pages: float = math.inf

    def pages_after(self, duration_s: Seconds) -> float:
        """Distinct pages dirty after `duration_s`: n(1 - exp(-r·t/n)), the uniform model.

        For a Zipf guest it is too low by the cold tail, for a sweep too low by at most
        1 - 1/e of the working set; one round later the measured count corrects it.
        """
        written = self.pages_per_second * duration_s
        if math.isinf(self.working_set_pages) or written == 0:
            return written
        return -self.working_set_pages * math.expm1(-written / self.working_set_pages)

    def throttled(self, ratio: float, before_ratio: float) -> "Dirtying":
        """Return the same guest when its throttle changes; rates follow vCPU time."""
        return replace(
            self, pages_per_second=self.pages_per_second * (1 - ratio) / (1 - before_ratio)
        )


def fit_dirtying(
    pages: int, duration_s: Seconds, first: tuple[Seconds, int] | None = None
) -> Dirtying:
    """Return the model that passes through the round's end and, if there was one, its first count.

    Args:
        pages: Dirty at the round's end.
        first: Seconds into the round and the pages dirty then.
    """
    if pages <= 0 or duration_s <= 0:
        return Dirtying()
    mean_rate = pages / duration_s
    if first is None or not 0 < first[0] < duration_s or first[1] <= 0:
        return Dirtying(pages_per_second=mean_rate)
    first_s, share = first[0], min(first[1] / pages, 0.999)
    # Within 5 % of a straight line the working set cannot be told from the noise.
    if share <= 1.05 * first_s / duration_s:
        return Dirtying(pages_per_second=mean_rate)
    decay = _decay_per_second(first_s, duration_s, share)
    working_set = -pages / math.expm1(-decay * duration_s)
    return Dirtying(pages_per_second=decay * working_set, working_set_pages=working_set)


def _decay_per_second(first_s: Seconds, duration_s: Seconds, share: float) -> float:
    """Solve (1 - exp(-a·first)) / (1 - exp(-a·duration)) = share for a > 0, by bisection.

    The left side grows with a, from first ÷ duration to 1.
    """
    low, high = 0.0, 1.0 / duration_s
    for _ in range(128):
        if math.expm1(-high * first_s) / math.expm1(-high * duration_s) >= share:
            break
        low, high = high, high * 2
    for _ in range(50):
        middle = (low + high) / 2
        if math.expm1(-middle * first_s) / math.expm1(-middle * duration_s) < share:
            low = middle
        else:
            high = middle
    return high
