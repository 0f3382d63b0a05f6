"""Are migrations healthy?"""

from typing import Any

from dashboards.panels import (
    ANY_IS_BAD,
    BYTES,
    COUNT,
    DOWNTIME_STEPS,
    GREEN,
    OF,
    ORANGE,
    RATE,
    RED,
    SECONDS,
    SHARE,
    YELLOW,
    board,
    distribution,
    figure,
    lines,
    q,
    ranking,
    row,
)

_SPAN = "$__rate_interval"


def _quantile(metric: str, share: float, *, span: str = _SPAN) -> str:
    per_bucket = f"sum by (le) (rate({metric}_bucket{{{OF}}}[{span}]))"
    return f"histogram_quantile({share}, {per_bucket})"


def _quantiles(metric: str, *shares: float) -> list[Any]:
    return [q(_quantile(metric, share), f"p{100 * share:g}") for share in shares]


def _ended(result: str) -> str:
    return f'sum(increase(vmotion_migrations_total{{{OF}, result=~"{result}"}}[$__range]))'


def _share_below(le: str) -> str:
    below = f'sum(increase(vmotion_downtime_seconds_bucket{{{OF}, le="{le}"}}[$__range]))'
    return f"{below} / sum(increase(vmotion_downtime_seconds_count{{{OF}}}[$__range]))"


def build() -> Any:
    """Make the dashboard."""
    made = board(
        "vmotion-migrations",
        "Are migrations healthy?",
        "Downtime and what it is made of, what clients saw, what migrations send, and what failed.",
    )
    for panel in (*_now(), *_downtime()):
        made = made.with_panel(panel)
    made = made.with_row(row("Traffic and convergence"))
    for panel in _traffic():
        made = made.with_panel(panel)
    made = made.with_row(row("Waiting, duration, faults"))
    for panel in _rest():
        made = made.with_panel(panel)
    return made


def _now() -> tuple[Any, ...]:
    return (
        figure(
            "Under way",
            "Migrations that are moving a VM now.",
            q(f'sum(vmotion_active_migrations{{{OF}, direction="out"}}) or vector(0)'),
        ),
        figure(
            "Waiting",
            "Migrations that wait for a slot at a host.",
            q(f"sum(vmotion_queued_migrations{{{OF}}})"),
        ),
        figure(
            "Completed",
            "Migrations that completed in the time shown.",
            q(_ended("completed")),
        ),
        figure(
            "Aborted or lost",
            "Aborted migrations leave their VM running at the source; lost ones lose its memory.",
            q(_ended("aborted|lost")),
            steps=((None, GREEN), (0.5, ORANGE), (5, RED)),
        ),
        figure(
            "Integrity failures",
            "Pages that differ from the source's, and requests lost or done twice. Each is a defect.",
            q(f"sum(increase(vmotion_integrity_failures_total{{{OF}}}[$__range]))"),
            steps=ANY_IS_BAD,
        ),
        figure(
            "Alerts firing",
            "Alerts of this project that fire now; docs/runbook.md says what to do.",
            q(f'count(ALERTS{{{OF}, alertstate="firing"}}) or vector(0)'),
            steps=ANY_IS_BAD,
        ),
    )


def _downtime() -> tuple[Any, ...]:
    parts = f"sum by (part) (rate(vmotion_downtime_part_seconds_sum{{{OF}}}[{_SPAN}]))"
    switchovers = f"scalar(sum(rate(vmotion_downtime_seconds_count{{{OF}}}[{_SPAN}])))"
    return (
        lines(
            "Downtime",
            "From the stun to the resume, by percentile. Lines: 50 ms, 300 ms and 1 s.",
            *_quantiles("vmotion_downtime_seconds", 0.5, 0.9, 0.99),
            unit=SECONDS,
            steps=DOWNTIME_STEPS,
            logarithmic=True,
        ),
        lines(
            "What downtime is made of",
            "Mean seconds of each named part; they add up to the mean downtime.",
            q(f"{parts} / {switchovers}", "{{part}}"),
            unit=SECONDS,
            stacked=True,
        ),
        lines(
            "What clients saw",
            "Blackout: the longest gap between answers around the switchover. Stall: the longest "
            "one after it until the remainder has drained.",
            q(_quantile("vmotion_client_blackout_seconds", 0.5), "blackout p50"),
            q(_quantile("vmotion_client_blackout_seconds", 0.99), "blackout p99"),
            q(_quantile("vmotion_client_stall_seconds", 0.99), "stall p99"),
            unit=SECONDS,
            steps=DOWNTIME_STEPS,
            logarithmic=True,
        ),
        lines(
            "Predicted against measured",
            "Measured less predicted downtime, over predicted: 0 is exact, 1 is twice as long.",
            *_quantiles("vmotion_downtime_prediction_error_ratio", 0.1, 0.5, 0.9),
            unit=SHARE,
            low=None,
        ),
        distribution(
            "Downtime, all of it",
            "How many switchovers fell into each bucket of downtime.",
            q(
                f"sum by (le) (increase(vmotion_downtime_seconds_bucket{{{OF}}}[{_SPAN}]))",
                "{{le}}",
            ),
            unit=SECONDS,
        ),
        ranking(
            "Share of switchovers below",
            "Of the switchovers in the time shown, those with a downtime below each anchor.",
            q(_share_below("0.05"), "50 ms"),
            q(_share_below("0.3"), "300 ms"),
            q(_share_below("1.0"), "1 s"),
            unit=SHARE,
            steps=((None, RED), (0.5, ORANGE), (0.9, YELLOW), (0.99, GREEN)),
            most=1.0,
        ),
    )


def _traffic() -> tuple[Any, ...]:
    return (
        lines(
            "Bytes by phase",
            "What migrations send: in pre-copy rounds, in the downtime, and after it.",
            q(f"sum by (phase) (rate(vmotion_transfer_bytes_total{{{OF}}}[{_SPAN}]))", "{{phase}}"),
            unit=RATE,
            stacked=True,
        ),
        lines(
            "Bandwidth against dirty rate",
            "Medians. Where guests dirty memory as fast as it is sent, pre-copy cannot converge.",
            q(_quantile("vmotion_bandwidth_bytes_per_second", 0.5), "bandwidth p50"),
            q(_quantile("vmotion_dirty_rate_bytes_per_second", 0.5), "dirty rate p50"),
            unit=RATE,
        ),
        lines(
            "Transmit to dirty",
            "Bandwidth over dirty rate; the line is 1, below which pre-copy cannot converge.",
            *_quantiles("vmotion_transmit_to_dirty_ratio", 0.1, 0.5),
            unit=COUNT,
            steps=((None, RED), (1.0, GREEN)),
            logarithmic=True,
        ),
        lines(
            "Rounds and amplification",
            "Pre-copy rounds of a migration, and bytes sent over the VM's memory.",
            q(_quantile("vmotion_precopy_rounds", 0.9), "rounds p90"),
            q(_quantile("vmotion_amplification_ratio", 0.9), "amplification p90"),
        ),
    )


def _rest() -> tuple[Any, ...]:
    results = f"sum by (result) (increase(vmotion_migrations_total{{{OF}}}[{_SPAN}]))"
    return (
        lines(
            "How migrations ended",
            "Migrations by result. An aborted one has left its VM running at the source.",
            q(results, "{{result}}"),
            stacked=True,
            bars=True,
        ),
        lines(
            "Queue",
            "Migrations that wait for a slot, and the time that nine of ten waited at most.",
            q(f"sum(vmotion_queued_migrations{{{OF}}})", "waiting"),
            q(_quantile("vmotion_queue_wait_seconds", 0.9), "wait p90 (s)"),
        ),
        lines(
            "Duration",
            "From begin to end of a migration.",
            *_quantiles("vmotion_migration_duration_seconds", 0.5, 0.99),
            unit=SECONDS,
        ),
        lines(
            "Throttling",
            "Largest share of vCPU time that a migration took away to converge.",
            *_quantiles("vmotion_throttle_ratio", 0.5, 0.9),
            unit=SHARE,
        ),
        lines(
            "Demand faults and zero pages",
            "Pages that a guest touched before they had arrived, and pages that needed no bytes.",
            q(f"sum(rate(vmotion_demand_faults_total{{{OF}}}[{_SPAN}]))", "demand faults a second"),
            q(f"sum(rate(vmotion_zero_pages_total{{{OF}}}[{_SPAN}]))", "zero pages a second"),
        ),
        lines(
            "Demand-fault latency",
            "How long guests waited for pages that they touched before they had arrived.",
            *_quantiles("vmotion_demand_fault_seconds", 0.5, 0.99),
            unit=SECONDS,
            logarithmic=True,
        ),
        lines(
            "Until the source may be lost",
            "Time from the resume until the VM would have survived the loss of its source's "
            "process, or of its whole node; half of the migrations with a late remainder.",
            q(
                f"histogram_quantile(0.5, sum by (le, loss) "
                f"(rate(vmotion_survivable_seconds_bucket{{{OF}}}[{_SPAN}])))",
                "{{loss}}",
            ),
            unit=SECONDS,
            logarithmic=True,
        ),
        lines(
            "Brownout",
            "Stalled: all gaps over 10 ms that clients felt after a switchover, nine of ten "
            "migrations at most. Behind: guest time a second that the machine itself was late with.",
            q(_quantile("vmotion_client_stalled_seconds", 0.9), "stalled p90"),
            q(f"sum(rate(vmotion_host_guest_behind_seconds_total{{{OF}}}[{_SPAN}]))", "behind"),
            unit=SECONDS,
        ),
        lines(
            "Verified memory",
            "Memory compared, page by page, with what the source had when it was frozen.",
            q(f"4096 * sum(rate(vmotion_verified_pages_total{{{OF}}}[{_SPAN}]))", "verified"),
            unit=BYTES,
        ),
    )
