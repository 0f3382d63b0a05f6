"""A VM as its host holds it: memory, control page, tracker, socket and process together."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import ray

from cluster.actors.control_page import ControlPage, create_control_page
from cluster.actors.replies import Birth, Handle
from cluster.actors.touching import allocate_early
from cluster.actors.vm_link import Doorstep, Hello, VmGone, VmLink, shake_hands
from cluster.actors.wire import Header
from cluster.inventory.demand import Demand
from cluster.inventory.model import VmSpec
from cluster.memory.guest_memory import (
    NO_MEMORY,
    Mapping,
    Pages,
    Runs,
    create_memory,
    map_memory,
    populated_pages,
    populated_runs,
)
from cluster.memory.tracker import ShadowTracker, Tracker, TrackerKind, WriteProtectTracker

# A process that has not knocked by then never will.
_START_S_MAX = 120.0


class Power(Enum):
    """What a VM's vCPUs are doing on this host."""

    RUNNING = "running"
    STUNNED = "stunned"
    OFF = "off"


@dataclass(slots=True, kw_only=True)
class LocalVm:
    """One (vm, epoch) on this host; owned by the host, mutated on its loop only.

    Attributes:
        address: Where the VM's process has mapped its memory.
        may_run: Set unless its host is cut off: then another may own it by now.
        demand: Profile in force, and the scenario second it counts from.
        leaving: Its memory or vCPUs are on the way to another host.
    """

    spec: VmSpec
    epoch: int
    handle: Handle
    link: VmLink
    tracker: Tracker
    memory: Mapping
    memory_fd: int
    control: ControlPage
    uffd: int | None
    address: int
    power: Power
    demand: Demand
    may_run: asyncio.Event
    demand_from_s: float = 0.0
    leaving: bool = False
    sampled_s: float = 0.0
    demand_mhz_s: float = 0.0
    granted_mhz_s: float = 0.0

    async def stun(self) -> None:
        """Stop the vCPUs at the end of their quantum."""
        await self.link.ask("stun")
        self.power = Power.STUNNED

    async def stun_and_capture(self) -> bytes:
        """Stop the vCPUs at the end of their quantum and return their state, in one exchange."""
        state = await self.link.ask("stun", captures=True)
        self.power = Power.STUNNED
        return state

    async def resume(self) -> None:
        """Let the vCPUs run, as soon as the host may run anything."""
        await self.may_run.wait()
        await self.link.ask("resume")
        self.power = Power.RUNNING

    async def capture(self) -> bytes:
        """Return the CPU and device state of a stunned VM."""
        return await self.link.ask("capture")

    async def restore(self, state: bytes) -> None:
        """Give a VM that has not run yet the state of one that was stunned."""
        await self.link.ask("restore", state)

    def populated(self) -> Pages:
        """Return the pages of its memory that were ever touched."""
        return populated_pages(self.memory_fd, self.spec.memory_bytes)

    def populated_runs(self) -> Runs:
        """Return the same as runs."""
        return populated_runs(self.memory_fd, self.spec.memory_bytes)

    def end(self) -> None:
        """End the VM's process; its memory stays until `free`."""
        self.power = Power.OFF
        self.link.close()
        ray.kill(self.handle, no_restart=True)

    def free(self) -> None:
        """Give the memory back; safe to call twice.

        The mapping goes too: this object may wait long for the garbage collector, and with it
        all of a VM's memory.
        """
        self.tracker.close()
        self.memory = NO_MEMORY
        for fd in (self.memory_fd, self.uffd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.memory_fd, self.uffd = -1, None


async def create_vm(
    handle: Handle,
    *,
    spec: VmSpec,
    epoch: int,
    boots: bool,
    demand: Demand,
    demand_from_s: float,
    tracker: TrackerKind,
    armed: bool,
    touched: Runs | None,
    door: Doorstep,
    said: Callable[[LocalVm, Header], None],
    lost: Callable[[LocalVm], None],
    may_run: asyncio.Event,
) -> LocalVm:
    """Make a VM of a process on this node that has none, and give it memory; it is stunned from birth.

    With `armed` its writes are tracked from the first one; without, whoever serves its
    faults arms the tracker later. The runs `touched` of its memory are allocated meanwhile.

    Raises:
        VmRefused: If the guest does not start; the message is for the user.
        VmGone: If its process ended before it was ready.
    """
    token, arrival = door.expect()
    birth = Birth(
        spec=spec, epoch=epoch, boots=boots, socket_path=door.path, token=token, tracker=tracker
    )
    started = asyncio.ensure_future(handle.start.remote(birth))
    memory_fd = create_memory(spec.name, spec.memory_bytes)
    control_fd = create_control_page(spec.name)
    memory = map_memory(memory_fd, spec.memory_bytes)
    touching = None if touched is None else allocate_early(memory, touched)
    try:
        await asyncio.wait(
            {started, arrival}, timeout=_START_S_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        if not arrival.done():
            raise VmGone(_why(started))
        sock, pid = arrival.result()
        hello = await asyncio.get_running_loop().run_in_executor(
            None, shake_hands, sock, pid, [memory_fd, control_fd]
        )
        control = ControlPage(control_fd)
        pages = await asyncio.get_running_loop().run_in_executor(
            None, _make_tracker, tracker, hello, memory, memory_fd, armed
        )
    except BaseException:
        arrival.cancel()
        started.cancel()
        os.close(memory_fd)
        ray.kill(handle, no_restart=True)
        raise
    finally:
        os.close(control_fd)
    sock.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    vm: LocalVm
    link = VmLink(reader, writer, lambda header: said(vm, header), lambda: lost(vm))
    vm = LocalVm(
        spec=spec,
        epoch=epoch,
        handle=handle,
        link=link,
        tracker=pages,
        memory=memory,
        memory_fd=memory_fd,
        control=control,
        uffd=hello.uffd,
        address=hello.address,
        power=Power.STUNNED,
        may_run=may_run,
        demand=demand,
        demand_from_s=demand_from_s,
    )
    await started
    if touching is not None:
        await touching
    return vm


def _make_tracker(
    kind: TrackerKind, hello: Hello, memory: Mapping, fd: int, armed: bool
) -> Tracker:
    if kind is TrackerKind.SHADOW:
        return ShadowTracker(memory=memory, fd=fd)
    if hello.uffd is None:
        raise VmGone("the VM sent no userfaultfd")
    tracker = WriteProtectTracker(
        uffd=hello.uffd,
        pid=hello.pid,
        address=hello.address,
        nbytes=len(memory.flat),
        memory=memory,
    )
    if armed:
        tracker.arm()
    return tracker


def _why(started: "asyncio.Future[str]") -> str:
    if not started.done():
        return f"the VM's process has not started within {_START_S_MAX:g} s"
    error = started.exception()
    return f"the VM's process ended before it was ready: {error or started.result()}"
