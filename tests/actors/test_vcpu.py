"""The thread that runs a guest, with a host's socket at one end and clients at the other."""

import asyncio
import os
import pickle
import socket
import threading
import time

import pytest

from cluster.actors.control_page import ControlPage, create_control_page
from cluster.actors.replies import Answered
from cluster.actors.vcpu import _PIECE_S_MIN, Call, CpuState, Vcpu, _piece
from cluster.actors.wire import encode
from cluster.guests.base import Guest, Special
from cluster.guests.memory_map import bind, capture_state
from cluster.memory.guest_memory import PAGE_BYTES, create_memory, map_memory

WAIT_S_MAX = 20.0


class Stuck(Guest):
    """Its step waits, as one does whose pages are still on the way."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.waited_in_vain = False

    def layout(self):
        return {}

    def step(self, budget):
        self.waited_in_vain = not self.may_go_on.wait(WAIT_S_MAX)


class Noting(Guest):
    """Notes when it steps."""

    def __init__(self) -> None:
        self.stepped_s: list[float] = []

    def layout(self):
        return {}

    def step(self, budget):
        self.stepped_s.append(time.monotonic())


def made(guest, memory, page, host):
    return Vcpu(
        guest=guest,
        epoch=3,
        memory=memory,
        control=ControlPage(page),
        host=host,
        loop=asyncio.get_running_loop(),
        ended=lambda _: None,
    )


@pytest.fixture
def memory():
    fd = create_memory("vcpu", 4 * PAGE_BYTES)
    yield map_memory(fd, 4 * PAGE_BYTES)
    os.close(fd)


def test_an_answer_does_not_wait_for_the_step_that_follows_it(memory):
    guest = Stuck()
    bind(guest, memory.flat)
    page = create_control_page("vcpu")
    ours, theirs = socket.socketpair()

    async def ask():
        vcpu = made(guest, memory, page, theirs)
        reply = asyncio.get_running_loop().create_future()
        vcpu.submit(Call("client", 1, Special.PROBE, reply))
        vcpu.start()
        ours.sendall(encode({"kind": "resume", "id": 1}))
        try:
            return await asyncio.wait_for(reply, 2 * WAIT_S_MAX)
        finally:
            guest.may_go_on.set()
            ours.close()
            await asyncio.get_running_loop().run_in_executor(None, vcpu.join, WAIT_S_MAX)
            for bell in (vcpu._bell_in, vcpu._bell_out):  # elsewhere they end with the process
                bell.close()

    answer = asyncio.run(ask())
    theirs.close()
    os.close(page)

    assert Answered(answer=1, epoch=3, moving=False, then=None) == answer
    assert not guest.waited_in_vain


def test_a_vm_that_came_waits_a_moment_with_its_step_for_clients_that_were_active(memory):
    guest = Noting()
    bind(guest, memory.flat)
    page = create_control_page("vcpu")
    ours, theirs = socket.socketpair()
    state = CpuState(guest=capture_state(guest), answered={}, guest_s=0.0, active=("client",))

    async def come_and_run():
        vcpu = made(guest, memory, page, theirs)
        vcpu.start()
        restore = encode({"kind": "restore", "id": 1}, pickle.dumps(state))
        began = time.monotonic()
        ours.sendall(restore + encode({"kind": "resume", "id": 2}))
        while not guest.stepped_s:
            assert time.monotonic() - began < WAIT_S_MAX
            await asyncio.sleep(0.001)
        ours.close()
        await asyncio.get_running_loop().run_in_executor(None, vcpu.join, WAIT_S_MAX)
        for bell in (vcpu._bell_in, vcpu._bell_out):
            bell.close()
        return began

    began = asyncio.run(come_and_run())
    theirs.close()
    os.close(page)

    assert guest.stepped_s[0] - began > 0.01


def test_a_step_that_waited_for_pages_makes_the_next_ones_short():
    piece = 0.1
    for _ in range(10):
        piece = _piece(piece, took_s=0.05)
    assert _PIECE_S_MIN == piece
    assert piece == _piece(piece, took_s=0.001)
    for _ in range(20):
        piece = _piece(piece, took_s=0.0001)
    assert 0.1 == piece
