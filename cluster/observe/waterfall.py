"""A migration as spans of time, read from its machine's story: what it waited for, and how long."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cluster.migration.messages import (
    Command,
    Commit,
    Failed,
    Interrupt,
    Prepare,
    Refused,
    Resume,
    Rollback,
    SendDirty,
    SendRemainder,
    SendState,
    Stun,
    Succeeded,
    Throttle,
    Unregister,
)
from cluster.migration.spec import MigrationSpec, Outcome, Result
from cluster.migration.story import Entry
from cluster.observe.record import DrsPass

Attributes = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of the run's time with a name, and what happened inside of it.

    Attributes:
        error: Why it failed; empty if it did not.
    """

    name: str
    begin_s: float
    end_s: float
    attributes: Attributes = field(default_factory=dict)
    error: str = ""
    children: tuple["Span", ...] = ()


def migration_span(spec: MigrationSpec, outcome: Outcome, story: Iterable[Entry]) -> Span:
    """Return a migration: a child for each command until its answer, those of the downtime together."""
    attributes: dict[str, str | int | float] = {
        "migration": spec.id,
        "vm": spec.vm,
        "source": spec.source,
        "destination": spec.destination,
        "mode": spec.mode.value,
        "trigger": spec.trigger.value,
        "result": outcome.result.value,
        "memory_bytes": spec.memory_bytes,
        "sent_bytes": outcome.precopy_bytes + outcome.downtime_bytes + outcome.postcopy_bytes,
    }
    if outcome.downtime is not None:
        attributes["downtime_s"] = outcome.downtime.total_s
    return Span(
        name=f"migrate {spec.vm}",
        begin_s=outcome.started_s,
        end_s=outcome.started_s + outcome.duration_s,
        attributes=attributes,
        error="" if outcome.result is Result.COMPLETED else outcome.error,
        children=_with_downtime(_asked(list(story))),
    )


def pass_span(passed: DrsPass) -> Span:
    """Return a pass of DRS; it ended when its plan was there."""
    return Span(
        name="DRS pass",
        begin_s=passed.time_s - passed.solve_s,
        end_s=passed.time_s,
        attributes={
            "imbalance_before": passed.imbalance_before,
            "imbalance_after": passed.imbalance_after,
            "recommended": passed.recommended,
            "applied": passed.applied,
        },
    )


def _asked(story: Sequence[Entry]) -> list[tuple[Command, Span]]:
    """Return a span for each command, in the order they were asked."""
    spans: list[tuple[Command, Span]] = []
    out: tuple[Command, float] | None = None
    for entry in story:
        match entry.event:
            case Succeeded() | Failed() | Refused() as answer:
                if out is not None and out[0].seq == answer.reply_to:
                    spans.append((out[0], _answered(*out, entry.now_s, answer)))
                    out = None
            case _:
                pass
        for command in entry.commands:
            if isinstance(command, Throttle | Interrupt):
                continue
            if out is not None:
                spans.append((out[0], _unanswered(*out, entry.now_s)))
            out = command, entry.now_s
    if out is not None:
        spans.append((out[0], _unanswered(*out, story[-1].now_s)))
    return spans


def _answered(
    command: Command, begin_s: float, end_s: float, answer: Succeeded | Failed | Refused
) -> Span:
    attributes: dict[str, str | int | float] = {}
    error = ""
    match answer:
        case Succeeded():
            if answer.pages_sent:
                attributes = {
                    "sent_pages": answer.pages_sent,
                    "zero_pages": answer.zero_pages,
                    "sent_bytes": answer.sent_bytes,
                    "dirty_pages": answer.pages_dirty,
                }
        case Failed(reason=reason) | Refused(reason=reason):
            error = reason
    return Span(
        name=_name(command), begin_s=begin_s, end_s=end_s, attributes=attributes, error=error
    )


def _unanswered(command: Command, begin_s: float, end_s: float) -> Span:
    """A newer command, or the end, came before the answer."""
    return Span(name=_name(command), begin_s=begin_s, end_s=end_s, error="not answered")


def _with_downtime(asked: Sequence[tuple[Command, Span]]) -> tuple[Span, ...]:
    """Put what happened from the stun until a host ran the VM again under one span."""
    first = next((i for i, (command, _) in enumerate(asked) if isinstance(command, Stun)), None)
    spans = tuple(span for _, span in asked)
    if first is None:
        return spans
    ends = (
        i + 1
        for i, (command, span) in enumerate(asked)
        if i > first and isinstance(command, Resume | Rollback) and not span.error
    )
    after = next(ends, len(asked))
    inside = spans[first:after]
    downtime = Span(
        name="downtime", begin_s=inside[0].begin_s, end_s=inside[-1].end_s, children=inside
    )
    return (*spans[:first], downtime, *spans[after:])


def _name(command: Command) -> str:
    match command:
        case SendDirty(round=number):
            return f"round {number}"
        case Prepare():
            return "prepare"
        case Stun():
            return "stun"
        case SendState():
            return "send state"
        case Commit():
            return "commit"
        case Resume():
            return "resume"
        case SendRemainder():
            return "remainder"
        case Rollback():
            return "roll back"
        case Unregister():
            return "unregister"
        case Throttle() | Interrupt():
            raise AssertionError("nobody waits for these")
