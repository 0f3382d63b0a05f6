"""What would another policy do? Runs side by side: simulations, and live ones."""

from typing import Any

from dashboards.panels import (
    BYTES,
    DOWNTIME_STEPS,
    OF,
    SECONDS,
    SHARE,
    board,
    lines,
    q,
    ranking,
    row,
)


def build() -> Any:
    """Make the dashboard."""
    made = board(
        "vmotion-policies",
        "What would another policy do?",
        "Choose runs at the top: each line or bar is one. Simulated runs begin at the time that was "
        "given when their samples were written; with the same time they lie over each other.",
    )
    for panel in _courses():
        made = made.with_panel(panel)
    made = made.with_row(row("Over the time shown"))
    for panel in _totals():
        made = made.with_panel(panel)
    return made


def _courses() -> tuple[Any, ...]:
    migrations = f'sum by (run) (vmotion_migrations_total{{{OF}, result="completed"}})'
    return (
        lines(
            "Imbalance",
            "How even each run's cluster was.",
            q(f"max by (run) (drs_imbalance_ratio{{{OF}}})", "{{run}}"),
        ),
        lines(
            "Unmet demand",
            "Share of the CPU demand that hosts could not serve: what imbalance costs.",
            q(f"max by (run) (drs_unmet_demand_ratio{{{OF}}})", "{{run}}"),
            unit=SHARE,
        ),
        lines(
            "Migrations so far",
            "Completed migrations since the run began: what balance costs.",
            q(migrations, "{{run}}"),
        ),
        lines(
            "Sent so far",
            "Bytes that migrations have sent since the run began.",
            q(f"sum by (run) (vmotion_transfer_bytes_total{{{OF}}})", "{{run}}"),
            unit=BYTES,
        ),
    )


def _totals() -> tuple[Any, ...]:
    worst = f"sum by (run, le) (max_over_time(vmotion_downtime_seconds_bucket{{{OF}}}[$__range]))"
    migrations = f'sum by (run) (max_over_time(vmotion_migrations_total{{{OF}, result="completed"}}[$__range]))'
    return (
        ranking(
            "Mean imbalance",
            "Lower is more even.",
            q(f"max by (run) (avg_over_time(drs_imbalance_ratio{{{OF}}}[$__range]))", "{{run}}"),
            unit="short",
        ),
        ranking(
            "Mean unmet demand",
            "Lower is better for the VMs.",
            q(f"max by (run) (avg_over_time(drs_unmet_demand_ratio{{{OF}}}[$__range]))", "{{run}}"),
            unit=SHARE,
        ),
        ranking(
            "Migrations",
            "Completed migrations.",
            q(migrations, "{{run}}"),
            unit="short",
        ),
        ranking(
            "Downtime, p99",
            "Of the run's switchovers. Colours change at 50 ms, 300 ms and 1 s.",
            q(f"histogram_quantile(0.99, {worst})", "{{run}}"),
            unit=SECONDS,
            steps=DOWNTIME_STEPS,
        ),
    )
