"""The thread that runs a guest, with a host's socket at one end and clients at the other."""

import asyncio
import os
import socket
import threading

import pytest

from cluster.actors.control_page import ControlPage, create_control_page
from cluster.actors.replies import Answered
from cluster.actors.vcpu import Call, Vcpu
from cluster.actors.wire import encode
from cluster.guests.base import Guest, Special
from cluster.guests.memory_map import bind
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
        vcpu = Vcpu(
            guest=guest,
            epoch=3,
            memory=memory,
            control=ControlPage(page),
            host=theirs,
            loop=asyncio.get_running_loop(),
            ended=lambda _: None,
        )
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
