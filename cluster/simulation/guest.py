"""A guest's memory in virtual time: how many pages are dirty, never which."""

from dataclasses import replace

from cluster.inventory.model import MIB, PAGE_BYTES, VmSpec
from drs.cost import DirtyModel, DirtyPattern, distinct_pages


class GuestMemory:
    """Counts the distinct pages that a guest has written since they were last sent.

    Guest time runs at `speed` (1 on a host that serves its whole demand), slower when
    throttled, and not at all while stunned; writes follow guest time. Counts are
    expectations of `drs.cost.distinct_pages`, rounded: the spread of a random guest around
    them (about the square root) is not modelled.

    Attributes:
        populated_pages: Written at least once; the others are not sent at all.
    """

    def __init__(
        self, pages: int, model: DirtyModel, *, now: float, populated_pages: int | None = None
    ) -> None:
        """`populated_pages` None is all of them."""
        self.pages = pages
        self.populated_pages = pages if populated_pages is None else populated_pages
        self.model = replace(
            model, working_set_bytes=min(model.working_set_bytes, float(pages * PAGE_BYTES))
        )
        self.throttle_ratio = 0.0
        self.running = True
        self._speed = 1.0
        self._written_s = 0.0  # guest time since tracking was armed anew
        self._counted_s = now

    def set_speed(self, speed: float, *, now: float) -> None:
        """Let guest time run at this share of the wall clock's."""
        self._count(now)
        self._speed = speed

    def throttle(self, ratio: float, *, now: float) -> None:
        """Take this share of vCPU time away."""
        self._count(now)
        self.throttle_ratio = ratio

    def stun(self, *, now: float) -> None:
        """Stop the vCPUs."""
        self._count(now)
        self.running = False

    def resume(self, *, now: float) -> None:
        """Start them, with all their time."""
        self._count(now)
        self.running = True
        self.throttle_ratio = 0.0

    def dirty_pages(self, *, now: float) -> int:
        """Return how many pages are dirty now."""
        self._count(now)
        return round(float(distinct_pages(self.model, self._written_s)))

    def harvest(self, *, now: float) -> int:
        """Take the dirty pages to send them; tracking begins anew."""
        taken = self.dirty_pages(now=now)
        self._written_s = 0.0
        return taken

    def put_back(self, pages: int) -> None:
        """An interrupted send has left so many of its pages; they are dirty still.

        Written as the guest time that would have dirtied them; pages that were dirtied
        meanwhile overlap with them as chance has it.
        """
        self._written_s += _time_to_dirty(self.model, pages)

    def _count(self, now: float) -> None:
        if self.running:
            self._written_s += (now - self._counted_s) * self._speed * (1 - self.throttle_ratio)
        self._counted_s = now


def _time_to_dirty(model: DirtyModel, pages: int) -> float:
    """Guest seconds after which about `pages` are dirty; a long time for more than there are."""
    rate = model.write_rate_bytes_per_second / PAGE_BYTES
    if pages <= 0 or rate <= 0:
        return 0.0
    low, high = 0.0, model.working_set_bytes / PAGE_BYTES / rate * 50
    for _ in range(40):
        middle = (low + high) / 2
        if float(distinct_pages(model, middle)) < pages:
            low = middle
        else:
            high = middle
    return high


def demand_faults(missing_pages: int, model: DirtyModel, drain_s: float) -> int:
    """Return how many accesses of the guest wait for a page while the remainder drains.

    A missing page faults if the guest touches it before the background brings it. For a
    uniform guest that touches each page λ times a second and pages that arrive evenly over
    the drain's T seconds, that is 1 - (1 - exp(-λT)) ÷ (λT) of them. Pre-paging around faults
    brings most of those ahead of their touch; what remains is taken as 21 %, the larger
    figure of Hines and Gopalan (VEE 2009). Reads do not count, Zipf and sweep are
    taken as uniform: an estimate of size, not of detail.
    """
    working_set = model.working_set_bytes / PAGE_BYTES
    if missing_pages <= 0 or working_set <= 0 or drain_s <= 0:
        return 0
    touches = model.write_rate_bytes_per_second / PAGE_BYTES / working_set * drain_s
    if touches <= 0:
        return 0
    faulting = 1 - float(distinct_pages(_UNIT, touches)) / touches
    return round(0.21 * faulting * min(missing_pages, working_set))


# One page written once a second: distinct_pages is 1 - exp(-t).
_UNIT = DirtyModel(write_rate_bytes_per_second=PAGE_BYTES, working_set_bytes=PAGE_BYTES)


def populated_pages(spec: VmSpec, age_s: float) -> int:
    """Return how many pages a VM has written `age_s` after its power-on, at full speed.

    A program of the user's own is taken to have filled its memory at once, as a filled guest has.
    """
    filled = dict(spec.guest.params).get("filled") is True
    if filled or spec.guest.program not in _BUILTIN:
        return spec.memory_bytes // PAGE_BYTES
    return round(float(distinct_pages(dirty_model(spec), age_s)))


_BUILTIN = frozenset({"idle", "writer", "trace", "keyvalue"})


def dirty_model(spec: VmSpec) -> DirtyModel:
    """Return how a VM's program writes, as its parameters say.

    A `keyvalue` guest writes a page for each request of its clients; `trace` goes through
    its ring once a second; a program of the user's own is taken as idle.
    """
    params = dict(spec.guest.params)
    match spec.guest.program:
        case "writer":
            working_set_mib = _number(params.get("working_set_mib"), float(spec.memory_mib))
            return DirtyModel(
                pattern=DirtyPattern(str(params.get("pattern", "uniform"))),
                write_rate_bytes_per_second=_number(params.get("rate_mb_s"), 10.0) * 1e6,
                working_set_bytes=working_set_mib * MIB,
            )
        case "trace":
            ring_bytes = _number(params.get("working_set_mib"), 2.0) * MIB
            return DirtyModel(
                pattern=DirtyPattern.SWEEP,
                write_rate_bytes_per_second=ring_bytes,
                working_set_bytes=ring_bytes,
            )
        case "keyvalue":
            clients = spec.clients
            requests_hz = 0.0 if clients is None else clients.count * clients.rate_hz
            return DirtyModel(
                write_rate_bytes_per_second=requests_hz * PAGE_BYTES,
                working_set_bytes=float(spec.memory_bytes),
            )
        case _:
            return DirtyModel()


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
