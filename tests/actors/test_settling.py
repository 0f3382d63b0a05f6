"""A VM whose memory has come: what is left to do at the destination, and what may go wrong with it."""

import asyncio
from types import SimpleNamespace

import pytest

from cluster.actors.destination_end import DestinationEnd
from cluster.actors.local_vm import Power
from cluster.memory.guest_memory import NO_MEMORY
from cluster.memory.hashes import Hashes
from cluster.memory.pager import Served
from cluster.policy.sharing import SerialLink


class Late:
    """Memory that cannot be mapped for the first so many times."""

    hashes: Hashes

    def __init__(self, fails: int) -> None:
        self.fails = fails
        self.hashes = None
        self.served = Served()

    def sweep(self):
        if self.fails:
            self.fails -= 1
            raise OSError("no such process")

    def settle(self):
        return self.served


def settled(power: Power, fails: int, times: int) -> None:
    async def settle():
        vm = SimpleNamespace(memory=NO_MEMORY, power=Power.RUNNING)
        vm.resume = lambda: asyncio.sleep(0)
        end = DestinationEnd(
            "m1",
            vm,
            None,
            SerialLink(rate_bytes_per_second=None),
            asyncio.Semaphore(1),
            Late(fails),
            round_batch_bytes=0,
            ahead_bytes=0,
            hashed=False,
        )
        await end.resume()
        vm.power = power
        for _ in range(times - 1):
            with pytest.raises(OSError, match="no such process"):
                await end.settled()
        await end.settled()
        assert end.settles or power is Power.OFF

    asyncio.run(settle())


def test_a_vm_that_has_ended_has_nothing_left_to_settle():
    settled(Power.OFF, fails=1, times=1)


def test_a_settling_that_failed_is_said_and_tried_again():
    settled(Power.RUNNING, fails=1, times=2)
