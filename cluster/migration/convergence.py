"""When pre-copy goes on, switches over, throttles the guest or gives up: arithmetic only.

The rule looks at what a finished round left dirty, never at how long the migration has
lasted.
"""

import math
from dataclasses import dataclass
from enum import Enum

from cluster.inventory.model import PAGE_BYTES, Mode
from cluster.migration.estimates import Dirtying
from cluster.migration.messages import Seconds
from drs.cost import expected_downtime_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """The rule's constants.

    Attributes:
        progress_ratio_max: A round that leaves more than this share of the best so far
            made no progress (KubeVirt's stall detector has a margin of 4 %; this one is
            the same as in the cost model of `drs`).
        worthwhile_ratio_max: Before a flip to post-copy a further round is worth its bytes
            if it is expected to leave less than this share: what it leaves is sent twice,
            while the remainder is sent once.
        copy_ratio_max: Auto copies what is left, instead of flipping, if that adds at most this
            share of the overhead to the blackout: it spares the guest its faults afterwards.
        last_page_s: What a page of such a copy costs beside the wire: read, packed into the
            switchover's message and stored, each time in memory touched for the first time.
            Measured 12 to 19 µs a page on two cores: the column "copy" of `benchmarks/blackout.py`,
            1 GiB, auto, R = 50 MB/s, over the pages it had left.
        window_rounds: The local minimum is sought among this many latest rounds.
        soft_downtime_factor: With rounds used up or progress stopped at the highest
            throttle, pre-copy switches over up to this multiple of the downtime allowed.
        throttle_first_ratio: The least that a first throttle takes (QEMU's 20 %).
        throttle_step_ratio: The least that a further throttle adds (QEMU's 10 %).
        throttle_ratio_max: 0 never throttles.
    """

    progress_ratio_max: float = 0.95
    worthwhile_ratio_max: float = 0.5
    copy_ratio_max: float = 0.25
    last_page_s: Seconds = 15e-6
    window_rounds: int = 8
    soft_downtime_factor: float = 1.5
    throttle_first_ratio: float = 0.2
    throttle_step_ratio: float = 0.1
    throttle_ratio_max: float = 0.99


class Verdict(Enum):
    """What to do after a round."""

    NEXT_ROUND = "next round"
    SWITCH_OVER = "switch over"
    THROTTLE_MORE = "throttle more"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a pre-copy has gone so far, as the rule sees it after a round.

    Attributes:
        stun_s_max: The VM's own limit, which no switchover may be predicted to exceed.
        rounds_done: Finished rounds, at least 1.
        left_pages: What each of the latest rounds left dirty, oldest first.
        bytes_per_second: Smoothed bandwidth; None if nothing was ever sent.
        throttle_ratio: In force during the latest round.
    """

    mode: Mode
    memory_pages: int
    downtime_s_max: Seconds
    overhead_s: Seconds
    rounds_max: int
    rounds_done: int
    left_pages: tuple[int, ...]
    bytes_per_second: float | None
    dirtying: Dirtying
    throttle_ratio: float = 0.0
    stun_s_max: Seconds | None = None

    @property
    def left(self) -> int:
        """Pages dirty now."""
        return self.left_pages[-1]

    @property
    def copy_s(self) -> Seconds:
        """Time to send what is left."""
        return self.predicted_s - self.overhead_s

    @property
    def predicted_s(self) -> Seconds:
        """Downtime of a stop-and-copy now; writes between count and stun are not in it."""
        return expected_downtime_s(self.left, self._known_rate, self.overhead_s)

    @property
    def predicted_flip_s(self) -> Seconds:
        """Downtime of a flip to post-copy now."""
        return predicted_flip_s(
            self.memory_pages, self.left, self.bytes_per_second, self.overhead_s
        )

    @property
    def predicted_left(self) -> float:
        """Pages that one more round is expected to leave."""
        return self.dirtying.pages_after(self.copy_s)

    @property
    def _known_rate(self) -> float:
        # A link that never carried a byte (all pages were zero) and promises nothing is
        # taken as infinitely fast: the next round will tell.
        return math.inf if self.bytes_per_second is None else self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with its reason in words.

    Attributes:
        bitmap_only: For SWITCH_OVER: flip to post-copy.
        predicted_downtime_s: For SWITCH_OVER.
        throttle_ratio: For THROTTLE_MORE: the new one.
    """

    verdict: Verdict
    reason: str
    bitmap_only: bool = False
    predicted_downtime_s: Seconds = 0.0
    throttle_ratio: float = 0.0


def predicted_flip_s(
    memory_pages: int, left_pages: int, bytes_per_second: float | None, overhead_s: Seconds
) -> Seconds:
    """Return the downtime of a flip: the overhead, and the missing pages' numbers on the wire.

    They cost a bit for each page of memory or 4 bytes for each missing one, whichever is less.
    """
    number_bytes = min(memory_pages / 8, 4.0 * left_pages)
    rate = math.inf if bytes_per_second is None else bytes_per_second
    return expected_downtime_s(number_bytes / PAGE_BYTES, rate, overhead_s)


def decide(course: Course, rule: Convergence) -> Decision:
    """Return what to do after a round.

    Pre-copy switches over as soon as the predicted downtime is allowed. Hybrid and auto
    always can flip, so they only ask whether one more round is worth its bytes; auto then
    copies instead of flipping if that costs little beside the overhead.
    """
    match course.mode:
        case Mode.PRECOPY:
            decision = _decide_precopy(course, rule)
        case Mode.HYBRID | Mode.AUTO:
            decision = _decide_flip(course, rule)
        case Mode.POSTCOPY:
            raise ValueError("post-copy has no rounds to decide after")
    return _within_limit(decision, course.stun_s_max)


def _within_limit(decision: Decision, stun_s_max: Seconds | None) -> Decision:
    """Return the decision, or to give up if the VM would be stunned for longer than it allows."""
    over = over_limit(decision.predicted_downtime_s, stun_s_max)
    if decision.verdict is not Verdict.SWITCH_OVER or not over:
        return decision
    return Decision(verdict=Verdict.GIVE_UP, reason=over)


def over_limit(predicted_s: Seconds, stun_s_max: Seconds | None) -> str:
    """Return "", or that the prediction is over the VM's stun limit."""
    if stun_s_max is None or predicted_s <= stun_s_max:
        return ""
    return f"predicted downtime {_ms(predicted_s)} is over the VM's stun limit {_ms(stun_s_max)}"


def _decide_flip(course: Course, rule: Convergence) -> Decision:
    copy_s = course.copy_s + course.left * rule.last_page_s
    predicted_s = course.overhead_s + copy_s
    copies = (
        course.mode is Mode.AUTO
        and copy_s <= rule.copy_ratio_max * course.overhead_s
        and predicted_s <= course.downtime_s_max
    )
    if course.copy_s <= course.overhead_s:
        reason = f"what is left costs {_ms(course.copy_s)}, less than the switchover itself"
    elif course.rounds_done >= course.rounds_max:
        reason = f"round {course.rounds_max} was the last one allowed"
    elif _leaves_too_much(course, rule):
        reason = "one more round would not halve what is left"
    else:
        return Decision(
            verdict=Verdict.NEXT_ROUND,
            reason=f"a round is expected to leave {course.predicted_left:.0f} of {course.left} pages",
        )
    return Decision(
        verdict=Verdict.SWITCH_OVER,
        reason=reason,
        bitmap_only=not copies,
        predicted_downtime_s=predicted_s if copies else course.predicted_flip_s,
    )


def _leaves_too_much(course: Course, rule: Convergence) -> bool:
    """Whether a further round is not worth its bytes, by forecast or by the last round's result."""
    share = rule.worthwhile_ratio_max
    if course.predicted_left > share * course.left:
        return True
    return len(course.left_pages) > 1 and course.left > share * course.left_pages[-2]


def _decide_precopy(course: Course, rule: Convergence) -> Decision:
    predicted_s, allowed_s = course.predicted_s, course.downtime_s_max
    if predicted_s <= allowed_s:
        return _stop_and_copy(course, f"predicted downtime {_ms(predicted_s)} is allowed")
    soft = predicted_s <= allowed_s * rule.soft_downtime_factor
    if course.rounds_done >= course.rounds_max:
        if soft:
            return _stop_and_copy(course, f"rounds used up, {_ms(predicted_s)} is near enough")
        return Decision(
            verdict=Verdict.GIVE_UP,
            reason=f"not converged in {course.rounds_max} rounds: the downtime would be"
            f" {_ms(predicted_s)}, allowed are {_ms(allowed_s)}",
        )
    if course.overhead_s > allowed_s * rule.soft_downtime_factor:
        return Decision(
            verdict=Verdict.GIVE_UP,
            reason=f"a switchover takes {_ms(course.overhead_s)} without any page,"
            f" allowed are {_ms(allowed_s)}",
        )
    if _progresses(course, rule):
        return Decision(verdict=Verdict.NEXT_ROUND, reason="what is left shrinks")
    # A throttle shortens the copy and nothing else.
    if course.throttle_ratio < rule.throttle_ratio_max and course.overhead_s < allowed_s:
        ratio = _next_throttle(course, rule)
        return Decision(
            verdict=Verdict.THROTTLE_MORE,
            reason=f"the guest dirties as fast as the link sends; {ratio:.0%} of its time is taken",
            throttle_ratio=ratio,
        )
    return _at_full_throttle(course, rule, soft=soft)


def _at_full_throttle(course: Course, rule: Convergence, *, soft: bool) -> Decision:
    """Progress has stopped and cannot be forced: wait for a local minimum, or give up."""
    best = min(course.left_pages)
    minimum = course.left * rule.progress_ratio_max <= best
    if soft and minimum:
        return _stop_and_copy(course, "progress has stopped, at a local minimum")
    stalled = len(course.left_pages) >= rule.window_rounds and best == course.left_pages[0]
    if stalled and not soft:
        return Decision(
            verdict=Verdict.GIVE_UP,
            reason=f"no progress in {rule.window_rounds} rounds: the downtime would be"
            f" {_ms(course.predicted_s)}, allowed are {_ms(course.downtime_s_max)}",
        )
    return Decision(verdict=Verdict.NEXT_ROUND, reason="waiting for a local minimum")


def _progresses(course: Course, rule: Convergence) -> bool:
    """Whether what is left shrinks, by the forecast and by the rounds so far."""
    if course.predicted_left > rule.progress_ratio_max * course.left:
        return False
    earlier = course.left_pages[:-1]
    return not earlier or course.left <= rule.progress_ratio_max * min(earlier)


def _next_throttle(course: Course, rule: Convergence) -> float:
    """Return the throttle under which a round should halve what is left.

    A round lasts left ÷ bandwidth and may dirty half of what it sends, so the dirty rate
    has to fall to half the bandwidth; a saturating guest needs less than this bound.
    """
    ratio = course.throttle_ratio
    at_least = ratio + rule.throttle_step_ratio if ratio else rule.throttle_first_ratio
    unthrottled = course.dirtying.pages_per_second * PAGE_BYTES / (1 - ratio)
    needed = 0.0
    if course.bytes_per_second is not None and unthrottled > 0:
        needed = 1 - 0.5 * course.bytes_per_second / unthrottled
    return min(max(at_least, needed), rule.throttle_ratio_max)


def _stop_and_copy(course: Course, reason: str) -> Decision:
    return Decision(
        verdict=Verdict.SWITCH_OVER, reason=reason, predicted_downtime_s=course.predicted_s
    )


def _ms(duration_s: Seconds) -> str:
    return f"{duration_s * 1e3:.1f} ms"
