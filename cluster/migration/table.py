"""Which event may happen in which phase, what it does, and where it may lead: all of it, as data.

What is not in the table is a `ProtocolError`, a defect of ours. Three things are no events
of the table, because they are dropped in every phase: an answer or a report to a command
that is over, and a tick before `wake_at`.

What the table cannot say: within a phase the fields of `State` decide (a cancel that
waits, a dead host, what was left at the source); `check` in `state` relates them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cluster.migration import endings, steps
from cluster.migration.state import FINAL, Phase
from cluster.migration.turn import Turn


class Kind(Enum):
    """What an event is to the table."""

    BEGUN = "Begun"
    CANCEL_REQUESTED = "CancelRequested"
    SOURCE_LOST = "HostLost(source)"
    DESTINATION_LOST = "HostLost(destination)"
    PROGRESSED = "Progressed"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # answered so, or silent for too long
    REFUSED = "Refused"
    RETRY_DUE = "retry due"  # Ticked, at the end of a pause


@dataclass(frozen=True, slots=True)
class Edge:
    """What happens, and the phases it may end in."""

    act: Callable[[Turn, Any], None]
    to: frozenset[Phase]


def _edge(act: Callable[[Turn, Any], None], *to: Phase) -> Edge:
    return Edge(act, frozenset(to))


P, K = Phase, Kind

TABLE: Mapping[tuple[Phase, Kind], Edge] = {
    (P.CREATED, K.BEGUN): _edge(steps.begin, P.PREPARING),
    (P.CREATED, K.CANCEL_REQUESTED): _edge(endings.cancel_unbegun, P.ABORTED),
    (P.CREATED, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.CREATED, K.DESTINATION_LOST): _edge(endings.destination_lost_unbegun, P.ABORTED),
    #
    (P.PREPARING, K.SUCCEEDED): _edge(steps.prepared, P.PRECOPYING, P.STUNNING, P.ROLLING_BACK),
    (P.PREPARING, K.FAILED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.PREPARING, K.REFUSED): _edge(steps.prepare_refused, P.REFUSED),
    (P.PREPARING, K.PROGRESSED): _edge(steps.progressed, P.PREPARING),
    (P.PREPARING, K.CANCEL_REQUESTED): _edge(endings.cancel_later, P.PREPARING),
    (P.PREPARING, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.PREPARING, K.DESTINATION_LOST): _edge(endings.destination_lost, P.ROLLING_BACK),
    #
    (P.PRECOPYING, K.SUCCEEDED): _edge(steps.round_sent, P.PRECOPYING, P.STUNNING, P.ROLLING_BACK),
    (P.PRECOPYING, K.FAILED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.PRECOPYING, K.REFUSED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.PRECOPYING, K.PROGRESSED): _edge(steps.progressed, P.PRECOPYING),
    (P.PRECOPYING, K.CANCEL_REQUESTED): _edge(endings.cancel_send, P.INTERRUPTING),
    (P.PRECOPYING, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.PRECOPYING, K.DESTINATION_LOST): _edge(endings.destination_lost, P.ROLLING_BACK),
    #
    (P.INTERRUPTING, K.SUCCEEDED): _edge(steps.interrupted, P.ROLLING_BACK),
    (P.INTERRUPTING, K.FAILED): _edge(steps.interrupted, P.ROLLING_BACK),
    (P.INTERRUPTING, K.REFUSED): _edge(steps.interrupted, P.ROLLING_BACK),
    (P.INTERRUPTING, K.PROGRESSED): _edge(endings.ignore, P.INTERRUPTING),
    (P.INTERRUPTING, K.CANCEL_REQUESTED): _edge(endings.ignore, P.INTERRUPTING),
    (P.INTERRUPTING, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.INTERRUPTING, K.DESTINATION_LOST): _edge(endings.destination_lost, P.ROLLING_BACK),
    #
    (P.STUNNING, K.SUCCEEDED): _edge(steps.stunned, P.SENDING_STATE, P.ROLLING_BACK),
    (P.STUNNING, K.FAILED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.STUNNING, K.REFUSED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.STUNNING, K.PROGRESSED): _edge(steps.progressed, P.STUNNING),
    (P.STUNNING, K.CANCEL_REQUESTED): _edge(endings.cancel_later, P.STUNNING),
    (P.STUNNING, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.STUNNING, K.DESTINATION_LOST): _edge(endings.destination_lost, P.ROLLING_BACK),
    #
    (P.SENDING_STATE, K.SUCCEEDED): _edge(steps.state_sent, P.COMMITTING),
    (P.SENDING_STATE, K.FAILED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.SENDING_STATE, K.REFUSED): _edge(steps.step_failed, P.ROLLING_BACK),
    (P.SENDING_STATE, K.PROGRESSED): _edge(steps.progressed, P.SENDING_STATE),
    (P.SENDING_STATE, K.CANCEL_REQUESTED): _edge(endings.cancel_send, P.INTERRUPTING),
    (P.SENDING_STATE, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.SENDING_STATE, K.DESTINATION_LOST): _edge(endings.destination_lost, P.ROLLING_BACK),
    #
    (P.COMMITTING, K.SUCCEEDED): _edge(steps.committed, P.RESUMING, P.LOST),
    (P.COMMITTING, K.FAILED): _edge(steps.try_later, P.COMMITTING),
    (P.COMMITTING, K.REFUSED): _edge(steps.commit_refused, P.ROLLING_BACK, P.LOST),
    (P.COMMITTING, K.RETRY_DUE): _edge(steps.ask_again, P.COMMITTING),
    (P.COMMITTING, K.PROGRESSED): _edge(steps.progressed, P.COMMITTING),
    (P.COMMITTING, K.CANCEL_REQUESTED): _edge(endings.cancel_too_late, P.COMMITTING),
    (P.COMMITTING, K.SOURCE_LOST): _edge(endings.source_lost_committing, P.COMMITTING, P.LOST),
    (P.COMMITTING, K.DESTINATION_LOST): _edge(
        endings.destination_lost_committing, P.COMMITTING, P.LOST
    ),
    #
    (P.RESUMING, K.SUCCEEDED): _edge(steps.resumed, P.REMAINDER, P.UNREGISTERING, P.COMPLETED),
    (P.RESUMING, K.FAILED): _edge(steps.try_later, P.RESUMING),
    (P.RESUMING, K.REFUSED): _edge(steps.destination_gone, P.LOST),
    (P.RESUMING, K.RETRY_DUE): _edge(steps.ask_again, P.RESUMING),
    (P.RESUMING, K.PROGRESSED): _edge(steps.progressed, P.RESUMING),
    (P.RESUMING, K.CANCEL_REQUESTED): _edge(endings.cancel_too_late, P.RESUMING),
    (P.RESUMING, K.SOURCE_LOST): _edge(endings.source_lost_resuming, P.RESUMING, P.LOST),
    (P.RESUMING, K.DESTINATION_LOST): _edge(endings.destination_lost_running, P.LOST),
    #
    (P.REMAINDER, K.SUCCEEDED): _edge(steps.remainder_sent, P.UNREGISTERING, P.COMPLETED),
    (P.REMAINDER, K.FAILED): _edge(steps.try_later, P.REMAINDER),
    (P.REMAINDER, K.REFUSED): _edge(steps.destination_gone, P.LOST),
    (P.REMAINDER, K.RETRY_DUE): _edge(steps.ask_again, P.REMAINDER),
    (P.REMAINDER, K.PROGRESSED): _edge(steps.progressed, P.REMAINDER),
    (P.REMAINDER, K.CANCEL_REQUESTED): _edge(endings.cancel_too_late, P.REMAINDER),
    (P.REMAINDER, K.SOURCE_LOST): _edge(endings.source_lost_remainder, P.REMAINDER),
    (P.REMAINDER, K.DESTINATION_LOST): _edge(endings.destination_lost_running, P.LOST),
    #
    (P.UNREGISTERING, K.SUCCEEDED): _edge(steps.unregistered, P.COMPLETED),
    (P.UNREGISTERING, K.FAILED): _edge(steps.unregister_failed, P.UNREGISTERING, P.COMPLETED),
    (P.UNREGISTERING, K.REFUSED): _edge(steps.unregister_refused, P.COMPLETED),
    (P.UNREGISTERING, K.RETRY_DUE): _edge(steps.ask_again, P.UNREGISTERING),
    (P.UNREGISTERING, K.PROGRESSED): _edge(steps.progressed, P.UNREGISTERING),
    (P.UNREGISTERING, K.CANCEL_REQUESTED): _edge(endings.cancel_too_late, P.UNREGISTERING),
    (P.UNREGISTERING, K.SOURCE_LOST): _edge(endings.source_lost_unregistering, P.COMPLETED),
    (P.UNREGISTERING, K.DESTINATION_LOST): _edge(
        endings.destination_lost_unregistering, P.UNREGISTERING
    ),
    #
    (P.ROLLING_BACK, K.SUCCEEDED): _edge(steps.rolled_back, P.ABORTED),
    (P.ROLLING_BACK, K.FAILED): _edge(steps.try_later, P.ROLLING_BACK),
    (P.ROLLING_BACK, K.REFUSED): _edge(steps.source_gone, P.LOST),
    (P.ROLLING_BACK, K.RETRY_DUE): _edge(steps.ask_again, P.ROLLING_BACK),
    (P.ROLLING_BACK, K.PROGRESSED): _edge(steps.progressed, P.ROLLING_BACK),
    (P.ROLLING_BACK, K.CANCEL_REQUESTED): _edge(endings.ignore, P.ROLLING_BACK),
    (P.ROLLING_BACK, K.SOURCE_LOST): _edge(endings.source_lost, P.LOST),
    (P.ROLLING_BACK, K.DESTINATION_LOST): _edge(
        endings.destination_lost_rolling_back, P.ROLLING_BACK
    ),
    #
    (P.ABORTED, K.BEGUN): _edge(endings.begin_after_end, P.ABORTED),
    (P.LOST, K.BEGUN): _edge(endings.begin_after_end, P.LOST),
    **{
        (phase, kind): _edge(endings.ignore, phase)
        for phase in sorted(FINAL, key=lambda phase: phase.value)
        for kind in (K.CANCEL_REQUESTED, K.SOURCE_LOST, K.DESTINATION_LOST)
    },
}
