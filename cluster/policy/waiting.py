"""Which waiting migrations start now, which go on waiting, and which have nothing to wait for."""

from cluster.policy.messages import Command, StartMigration
from cluster.policy.notes import refused, started
from cluster.policy.preflight import admissible
from cluster.policy.problems import Problem, in_words
from cluster.policy.state import ClusterState, MigrationRecord
from cluster.policy.usage import Usage


def start_waiting(state: ClusterState, *, now: float, only_room: bool = False) -> list[Command]:
    """Start what may start, in the order it was asked for; a later one may pass one that waits.

    One goes on waiting while a slot is missing, or while somebody leaves its destination
    who may make the room it needs. The rest is refused with every reason. `only_room`: nothing
    but slots and room has changed, so who lacks a slot still need not be judged again (a plan
    of hundreds of moves would be hundreds of times).
    """
    waiting = [record for record in state.migrations.values() if record.started_s is None]
    if not waiting:
        return []
    usage = Usage(state)
    commands: list[Command] = []
    blocked: list[tuple[MigrationRecord, list[Problem]]] = []
    for record in waiting:
        spec = record.spec
        full = usage.full(spec)
        if full and only_room and record.waiting_for:
            record.waiting_for = f"a slot at {full}"
            blocked.append((record, []))
            continue
        problems = admissible(
            state,
            state.vms[spec.vm],
            spec.destination,
            usage,
            mode=spec.mode,
            on_the_way=True,
        )
        if any(problem.lasting for problem in problems):
            commands.append(_refuse(state, record, problems))
        elif not problems and not full:
            record.started_s, record.waiting_for = now, ""
            usage.start(spec)
            commands += [started(spec), StartMigration(spec=spec)]
        else:
            record.waiting_for = in_words(problems) or f"a slot at {full}"
            blocked.append((record, problems))
    hopeful = _hopeful(state, blocked)
    for record, problems in blocked:
        if record.spec.id not in hopeful:
            commands.append(_refuse(state, record, problems))
    return commands


def _hopeful(state: ClusterState, blocked: list[tuple[MigrationRecord, list[Problem]]]) -> set[str]:
    """Return those whose wait can end well, by a chain that begins with one under way.

    Two full hosts that want to swap VMs are no such chain: nobody would ever begin.
    """
    left = {spec.source for spec in state.running()}
    hopeful: set[str] = set()
    for _ in blocked:
        more = [
            record.spec
            for record, problems in blocked
            if record.spec.id not in hopeful and (not problems or record.spec.destination in left)
        ]
        if not more:
            break
        hopeful.update(spec.id for spec in more)
        left.update(spec.source for spec in more)
    return hopeful


def _refuse(state: ClusterState, record: MigrationRecord, problems: list[Problem]) -> Command:
    del state.migrations[record.spec.id]
    return refused(record.spec, in_words(problems), problems)
