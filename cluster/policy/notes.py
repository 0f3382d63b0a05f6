"""What the story says of migrations: one sentence each, and the same as data."""

from collections.abc import Sequence

from cluster.migration.spec import MigrationSpec, Outcome, Result
from cluster.policy.messages import MigrationRequested, Record, Topic
from cluster.policy.problems import Problem, as_data


def refused(
    asked: MigrationRequested | MigrationSpec, reason: str, problems: Sequence[Problem] = ()
) -> Record:
    """A migration that was asked for does not begin; what preflight found is there as data."""
    fields: tuple[tuple[str, object], ...] = (
        ("vm", asked.vm),
        ("destination", asked.destination),
        ("trigger", asked.trigger.value),
        ("reason", reason),
    )
    if isinstance(asked, MigrationSpec):
        fields = (("migration", asked.id), ("source", asked.source), *fields)
    if problems:
        checks = tuple(problem.check for problem in problems)
        fields = (*fields, ("checks", checks), ("problems", as_data(tuple(problems))))
    return Record(
        topic=Topic.MIGRATION,
        what="refused",
        text=f"{asked.vm} → {asked.destination or 'any host'}: refused, {reason}",
        fields=fields,
    )


def mode_replaced(spec: MigrationSpec, text: str) -> Record:
    """A migration goes another way than was asked for."""
    return Record(
        topic=Topic.MIGRATION,
        what="mode_replaced",
        text=f"{spec.vm}: {text}",
        fields=(("migration", spec.id), ("vm", spec.vm)),
    )


def started(spec: MigrationSpec) -> Record:
    """A migration begins."""
    return Record(
        topic=Topic.MIGRATION,
        what="started",
        text=f"{spec.vm} {spec.source} → {spec.destination}: started",
        fields=(
            ("migration", spec.id),
            ("vm", spec.vm),
            ("source", spec.source),
            ("destination", spec.destination),
            ("trigger", spec.trigger.value),
            ("mode", spec.mode.value),
            ("reason", spec.reason),
        ),
    )


def ended(spec: MigrationSpec, outcome: Outcome) -> Record:
    """A migration has ended, however it did."""
    text = f"{spec.vm} {spec.source} → {spec.destination}: {outcome.result.value}"
    if outcome.downtime is not None and outcome.result is Result.COMPLETED:
        text += f", downtime {outcome.downtime.total_s * 1000:.1f} ms"
    if outcome.error:
        text += f", {outcome.error}"
    return Record(
        topic=Topic.MIGRATION,
        what=outcome.result.value,
        text=text,
        fields=(
            ("migration", spec.id),
            ("vm", spec.vm),
            ("source", spec.source),
            ("destination", spec.destination),
            ("duration_s", outcome.duration_s),
            ("downtime_s", outcome.downtime.total_s if outcome.downtime else None),
            ("rounds", len(outcome.rounds)),
            ("error", outcome.error),
        ),
    )
