"""The oracles of a run: frozen memory against what arrived, and memory against replayed writes."""

import pickle
from dataclasses import dataclass

import numpy as np

from cluster.actors.vcpu import CpuState
from cluster.guests.base import Guest, Special
from cluster.guests.clients import ClientAccount, Settlement, settle
from cluster.guests.keyvalue import VALUE_BYTES, KeyValue
from cluster.guests.linearizability import Undecided, counter, linearizable, wrong_keys
from cluster.guests.memory_map import PROBES_ANSWERED, bind, header, make_guest
from cluster.guests.registry import load_guest
from cluster.guests.replay import ReplayError, compare_pages, merge, replay
from cluster.inventory.model import VmSpec
from cluster.memory.frozen import Frozen
from cluster.memory.guest_memory import Mapping, Pages
from cluster.memory.hashes import Hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A VM at the end of a run, compared with what is known outside it.

    Attributes:
        replayed: Its writes could be replayed and were.
        mismatched_pages: Pages that differ from the replay.
        settlement: What became of its clients' requests.
        error: Empty, or why the replay contradicts the clients' logs.
    """

    vm: str
    pages: int
    replayed: bool
    mismatched_pages: int
    settlement: Settlement
    error: str = ""


def compare_memory(frozen: Frozen, populated: Pages, noted: Hashes) -> int:
    """Return how many pages arrived otherwise than they were when the source was stunned.

    `populated` are the pages that the source's memory holds now.
    """
    return int(np.count_nonzero(frozen.hashes(populated) != noted))


def audit_guest(
    spec: VmSpec, memory: Mapping, state: bytes, accounts: list[ClientAccount]
) -> Audit:
    """Replay a stunned VM's writes, where its guest can, and settle its clients' accounts."""
    program = load_guest(spec.guest.program, spec.guest.file)
    operations = 0
    if issubclass(program, KeyValue):
        guest = make_guest(
            program, dict(spec.guest.params), vm_memory_bytes=spec.memory_bytes, seed=spec.seed
        )
        bind(guest, memory.flat)
        assert isinstance(guest, KeyValue)
        operations = int(guest.operations[0])
    probes = int(header(memory.flat)[PROBES_ANSWERED])
    settlement = settle(accounts, operations=operations, probes=probes)
    mismatched, error = 0, ""
    if program.replayable:
        try:
            expected = replay(
                program,
                dict(spec.guest.params),
                vm_memory_bytes=spec.memory_bytes,
                seed=spec.seed,
                state=_guest_state(state),
                log=merge((account.log for account in accounts), operations=operations),
            )
            mismatched = len(compare_pages(expected, memory.flat))
        except ReplayError as problem:
            error = str(problem)
    return Audit(
        vm=spec.name,
        pages=len(memory.pages),
        replayed=program.replayable and not error,
        mismatched_pages=mismatched,
        settlement=settlement,
        error="; ".join(filter(None, (error, _contradiction(spec, program, accounts)))),
    )


def _contradiction(spec: VmSpec, program: type[Guest], accounts: list[ClientAccount]) -> str:
    """Return what in the clients' histories no single VM could have answered; "" is nothing.

    It rests on the clients' own clocks and answers alone, not on the guest's numbers.
    """
    histories = [account.history() for account in accounts]
    if any(history is None for history in histories):
        return ""
    operations = [one for history in histories if history for one in history]
    probes = [one for one in operations if one.request is Special.PROBE]
    asked = [one for one in operations if one.request is not Special.PROBE]
    try:
        if not linearizable(probes, counter, initial=0):
            return "the probes' counts could not come from one VM"
        if not issubclass(program, KeyValue):
            return ""
        value_bytes = dict(spec.guest.params).get("value_bytes", VALUE_BYTES)
        assert isinstance(value_bytes, int)
        if wrong := wrong_keys(asked, value_bytes=value_bytes):
            return f"the answers about {len(wrong)} keys could not come from one VM"
    except Undecided:
        return ""
    return ""


def _guest_state(state: bytes) -> bytes:
    cpu: CpuState = pickle.loads(state)
    return cpu.guest
