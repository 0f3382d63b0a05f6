"""A run told in a few sentences, and as the lines that end a run in the terminal."""

from cluster.observe import words
from cluster.observe.record import Counts, Percentiles, Summary


def story(summary: Summary) -> list[str]:
    """Tell the run in up to five sentences; what is not known is not told."""
    return [
        sentence
        for sentence in (
            _what_ran(summary),
            _migrations(summary),
            _downtime(summary),
            _balance(summary),
            _integrity(summary),
        )
        if sentence
    ]


def summary_text(summary: Summary) -> str:
    """The summary as aligned lines for a terminal, without a line's end."""
    counts = summary.migrations
    rows = [
        ("migrations", _counts_in_words(counts)),
        ("downtime", _percentiles_in_words(summary.downtime_s)),
        ("client blackout", _percentiles_in_words(summary.client_blackout_s)),
        ("sent", _sent_in_words(summary)),
        ("imbalance", _imbalance_in_words(summary)),
        ("DRS", _drs_in_words(summary)),
        ("unmet demand", _unmet_in_words(summary)),
        ("energy", _energy_in_words(summary)),
        ("rules", words.count(summary.rule_violations, "violation")),
        ("integrity", _integrity_in_words(summary)),
    ]
    head = (
        f"{summary.scenario} ({summary.engine.value}, seed {summary.seed}): "
        f"{words.count(summary.hosts, 'host')}, {words.count(summary.vms, 'VM')}, "
        f"{words.seconds(summary.duration_s)}"
    )
    return "\n".join([head, *(f"  {name:<16}{text}" for name, text in rows if text)])


def _energy_in_words(summary: Summary) -> str:
    use = summary.power
    if use is None:
        return ""
    return (
        f"{use.energy_kwh:.1f} kWh, {use.hosts_on_mean:.1f} hosts on, "
        f"SLATAH {use.slatah_ratio:.2%}, PDM {use.pdm_ratio:.4%}"
    )


def _what_ran(summary: Summary) -> str:
    how = "ran" if summary.engine.value == "live" else "was simulated"
    return (
        f"The scenario {summary.scenario} {how} for {words.seconds(summary.duration_s)} with "
        f"{words.count(summary.hosts, 'ESX host')} and {words.count(summary.vms, 'VM')}."
    )


def _migrations(summary: Summary) -> str:
    counts = summary.migrations
    if not counts.started + counts.refused:
        return "No VM was migrated."
    sentence = (
        f"Of {words.count(counts.started, 'migration')} that started, {counts.completed:,} completed, "
        f"{counts.aborted:,} were aborted and {counts.lost:,} lost"
    )
    if summary.sent_bytes:
        sentence += f"; together they sent {words.size(summary.sent_bytes)}"
        if summary.bandwidth_bytes_per_second:
            sentence += f" at {words.rate(summary.bandwidth_bytes_per_second.mean)} on average"
    return sentence + "."


def _downtime(summary: Summary) -> str:
    downtime = summary.downtime_s
    if downtime is None:
        return ""
    sentence = (
        f"A VM stood still for {words.seconds(downtime.p50)} in the median of all switchovers "
        f"and for {words.seconds(downtime.max)} at worst"
    )
    if summary.client_blackout_s:
        sentence += (
            f"; clients were without an answer for {words.seconds(summary.client_blackout_s.p50)} "
            f"in the median and {words.seconds(summary.client_blackout_s.max)} at worst"
        )
    return sentence + "."


def _balance(summary: Summary) -> str:
    imbalance, drs = summary.imbalance, summary.drs
    if imbalance is None:
        return ""
    sentence = f"The imbalance went from {imbalance.start:.3f} to {imbalance.end:.3f}"
    if not drs.passes:
        return sentence + ", without DRS."
    sentence += (
        f": DRS looked {words.count(drs.passes, 'time')}, recommended "
        f"{words.count(drs.recommended, 'migration')} and carried out {drs.applied:,}"
    )
    if drs.solve_s:
        sentence += f", thinking for {words.seconds(drs.solve_s.max)} at most"
    return sentence + "."


def _integrity(summary: Summary) -> str:
    found = summary.integrity
    if found is None:
        return ""
    if found.sound:
        return (
            f"The memory of all {words.count(found.vms_checked, 'VM')} that were checked was right "
            "to the last page, and every request was answered exactly once."
        )
    return (
        f"Integrity was violated: {found.mismatched_pages:,} pages mismatched, "
        f"{found.lost_requests:,} requests lost, {found.duplicated_requests:,} done twice."
    )


def _counts_in_words(counts: Counts) -> str:
    parts = [f"{counts.completed:,} of {counts.started:,} completed"]
    parts += [
        f"{number:,} {what}"
        for number, what in (
            (counts.aborted, "aborted"),
            (counts.lost, "lost"),
            (counts.refused, "refused"),
        )
        if number
    ]
    return ", ".join(parts)


def _percentiles_in_words(found: Percentiles | None) -> str:
    if found is None:
        return ""
    return (
        f"p50 {words.seconds(found.p50)}, p99 {words.seconds(found.p99)}, "
        f"max {words.seconds(found.max)}"
    )


def _sent_in_words(summary: Summary) -> str:
    text = words.size(summary.sent_bytes)
    bandwidth = summary.bandwidth_bytes_per_second
    if bandwidth is None:
        return text
    return f"{text}, {words.rate(bandwidth.mean)} mean, {words.rate(bandwidth.max)} max"


def _imbalance_in_words(summary: Summary) -> str:
    imbalance = summary.imbalance
    if imbalance is None:
        return ""
    return f"{imbalance.start:.3f} at the start, {imbalance.end:.3f} at the end"


def _drs_in_words(summary: Summary) -> str:
    drs = summary.drs
    text = (
        f"{words.count(drs.passes, 'pass', 'passes')}, {drs.recommended:,} recommended, "
        f"{drs.applied:,} applied"
    )
    if drs.solve_s is None:
        return text
    return (
        f"{text}, solved in {words.seconds(drs.solve_s.p50)} (max {words.seconds(drs.solve_s.max)})"
    )


def _unmet_in_words(summary: Summary) -> str:
    unmet = summary.unmet_demand_ratio
    return "" if unmet is None else f"{unmet.mean:.1%} mean, {unmet.max:.1%} max"


def _integrity_in_words(summary: Summary) -> str:
    found = summary.integrity
    if found is None:
        return ""
    return (
        f"{words.count(found.vms_checked, 'VM')} checked, "
        f"{words.count(found.mismatched_pages, 'mismatched page')}, "
        f"{words.count(found.lost_requests, 'lost request')}, "
        f"{words.count(found.duplicated_requests, 'duplicated request')}"
    )
