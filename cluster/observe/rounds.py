"""Pre-copy rounds as rows: how each migration came to its switchover."""

from dataclasses import dataclass

from cluster.migration.spec import MigrationSpec, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One pre-copy round, as in rounds.parquet; (vm, started_s) is its migration's row.

    Attributes:
        started_s: Of the migration.
        round: 0 sends everything; each later one what was dirty when it began.
        sent_pages: Zero pages included.
        dirty_pages: Left dirty when the round ended.
    """

    vm: str
    started_s: float
    round: int
    duration_s: float
    sent_pages: int
    zero_pages: int
    sent_bytes: int
    dirty_pages: int


def round_rows(spec: MigrationSpec, outcome: Outcome) -> list[RoundRow]:
    """Return a row for each pre-copy round that the migration finished."""
    return [
        RoundRow(
            vm=spec.vm,
            started_s=outcome.started_s,
            round=one.round,
            duration_s=one.duration_s,
            sent_pages=one.pages_sent,
            zero_pages=one.zero_pages,
            sent_bytes=one.sent_bytes,
            dirty_pages=one.pages_dirty,
        )
        for one in outcome.rounds
    ]
