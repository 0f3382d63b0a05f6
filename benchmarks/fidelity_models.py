"""Pre-copy in virtual time beside SimGrid's predictions and the textbook formula.

SimGrid 3.32's live-migration plugin (CM02, cross-traffic off, a link of 100 us, working set 90 % of
memory, downtime target 30 ms) dirties linearly up to the working set: a sweeping guest here. The overheads of
this project's protocol are taken as nothing, as SimGrid takes them. The formula,
(memory / B) / (1 - D / B), holds only where rate x the longest round is below the working set and what is
left is above B x downtime.
"""

import math

from claims import Claim, arguments, finish

from cluster.inventory.model import Mode
from cluster.migration.spec import MigrationSpec
from cluster.simulation.trial import migrate_once
from drs.cost import Calibration, DirtyModel, DirtyPattern

GIB, MEGABYTE = 2**30, 1e6
DOWNTIME_S_MAX = 0.03
WORKING_SET_RATIO = 0.9
NO_OVERHEADS = Calibration(
    rate_efficiency_ratio=1.0,
    copy_rate_bytes_per_second_max=1e15,
    prepare_s=0.0,
    round_s=0.0,
    scan_s_per_gib=0.0,
    scan_s_per_dirty_page=0.0,
    quiesce_s=0.0,
    state_bytes=0.0,
    state_s=0.0,
    commit_s=0.0,
    resume_s=0.0,
)
# Memory in GiB, link in Gbit/s, dirty rate in MB/s, working set as a share, seconds in all.
SIMGRID = (
    (1, 1, 0, 0.9, 8.590),
    (1, 1, 10, 0.9, 9.337),
    (1, 1, 25, 0.9, 10.735),
    (1, 1, 50, 0.9, 14.308),
    (1, 1, 100, 0.9, 42.857),
    (4, 1, 0, 0.9, 34.360),
    (4, 1, 10, 0.9, 37.347),
    (4, 1, 25, 0.9, 42.948),
    (4, 1, 50, 0.9, 57.253),
    (4, 1, 100, 0.9, 171.704),
    (4, 1, 110, 0.9, 286.177),
    (4, 1, 100, 0.1, 51.448),
    (16, 1, 0, 0.9, 137.439),
    (16, 1, 25, 0.9, 171.797),
    (16, 1, 50, 0.9, 229.057),
    (16, 1, 100, 0.9, 687.098),
    (16, 10, 0, 0.9, 13.744),
    (16, 10, 125, 0.9, 15.270),
    (16, 10, 625, 0.9, 27.463),
    (16, 10, 1000, 0.9, 68.626),
    (16, 25, 1562, 0.9, 10.972),
    (64, 1, 50, 0.9, 916.246),
    (64, 10, 0, 0.9, 54.976),
    (64, 10, 625, 0.9, 109.927),
    (64, 10, 1000, 0.9, 274.782),
    (64, 25, 1562, 0.9, 43.947),
)


def simulated_s(memory_gib: int, link_gbit_s: int, dirty_mb_s: int, share: float) -> float:
    """Return how long the migration takes here."""
    memory_bytes = memory_gib * GIB
    spec = MigrationSpec(
        id="m",
        vm="vm",
        source="a",
        destination="b",
        epoch=2,
        memory_bytes=memory_bytes,
        mode=Mode.PRECOPY,
        downtime_s_max=DOWNTIME_S_MAX,
        rounds_max=10_000,
        overhead_s=0.0,
    )
    guest = DirtyModel(
        pattern=DirtyPattern.SWEEP,
        write_rate_bytes_per_second=dirty_mb_s * MEGABYTE,
        working_set_bytes=share * memory_bytes,
    )
    trial = migrate_once(
        spec, guest, rate_bytes_per_second=link_gbit_s * 1.25e8, calibration=NO_OVERHEADS
    )
    return trial.outcome.duration_s


def formula_s(memory_gib: int, link_gbit_s: int, dirty_mb_s: int, share: float) -> float | None:
    """Return the textbook's duration, or None where it does not hold."""
    memory_bytes, rate, dirty = memory_gib * GIB, link_gbit_s * 1.25e8, dirty_mb_s * MEGABYTE
    longest_s = memory_bytes / rate
    if dirty * longest_s > share * memory_bytes or dirty * longest_s < rate * DOWNTIME_S_MAX:
        return None
    return longest_s / (1 - dirty / rate)


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    claims = []
    for memory_gib, link, dirty, share, simgrid_s in SIMGRID:
        name = f"{memory_gib} GiB, {link} Gbit/s, {dirty} MB/s, working set {share:.0%}"
        here_s = simulated_s(memory_gib, link, dirty, share)
        textbook_s = formula_s(memory_gib, link, dirty, share)
        for whose, other_s in (("SimGrid", simgrid_s), ("the formula", textbook_s)):
            if other_s is not None:
                error = abs(here_s / other_s - 1) if math.isfinite(here_s) else math.inf
                claims.append(
                    Claim(
                        claim=f"{name}: off {whose}",
                        value=100 * error,
                        unit="%",
                        bar="<= 2",
                        holds=error <= 0.02,
                        conditions=f"{here_s:.3f} s here, {other_s:.3f} s there",
                    )
                )
    return finish(claims, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
