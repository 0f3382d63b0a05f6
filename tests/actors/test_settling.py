"""A VM whose memory has come: what is left to do at the destination, and what may go wrong with it."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from cluster.actors.destination_end import DestinationEnd
from cluster.actors.local_vm import Power
from cluster.actors.peer import Switchover
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


class Coming(Late):
    """Memory that follows a VM which runs already; all of it is here when somebody asks."""

    def __init__(self):
        super().__init__(fails=0)
        self.swept = False

    def expect_more(self, missing):
        pass

    def left(self):
        return 0

    def sweep(self):
        self.swept = True

    def close(self):
        pass


@pytest.mark.parametrize("how", ["it has come", "it is given up"])
def test_a_vm_that_runs_while_its_memory_follows_is_not_settled_before_that_has_ended(how):
    """Its source has died: nothing but the rescue knows when the last page is here."""

    async def follow():
        late = Coming()
        vm = SimpleNamespace(memory=NO_MEMORY, power=Power.RUNNING)
        vm.resume = vm.restore = lambda *_: asyncio.sleep(0)
        vm.control = SimpleNamespace(put=lambda *_: None)
        end = DestinationEnd(
            "m1",
            vm,
            None,
            SerialLink(rate_bytes_per_second=None),
            asyncio.Semaphore(1),
            late,
            round_batch_bytes=0,
            ahead_bytes=0,
            hashed=False,
        )
        await end.finish(Switchover(state=b"", missing=np.arange(3)))
        await end.resume()
        leaving = asyncio.create_task(end.settled())
        await asyncio.sleep(0.05)  # as long as it likes: nothing may end this wait
        assert not leaving.done()
        if how == "it has come":
            assert await end.rescue() == 0
        else:
            vm.power = Power.OFF
            end.close()
        await asyncio.wait_for(leaving, 30)
        assert late.swept is (how == "it has come")

    asyncio.run(follow())
