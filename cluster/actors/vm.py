"""A VM as a Ray actor: the process that a guest runs in, and the door its clients knock at.

Created by its host, and given one VM in its life, one process for each (vm, epoch). It maps the
memory that its host owns, and offers that mapping for tracking; everything else about migration happens in the
hosts' processes.
"""

import asyncio
import os
import socket

from cluster.actors.control_page import ControlPage
from cluster.actors.peer import PeerAddress
from cluster.actors.priority import goes_second
from cluster.actors.replies import Birth, Handle, Reply
from cluster.actors.request_line import RequestDoor
from cluster.actors.vcpu import Call, Vcpu
from cluster.actors.wire import encode, receive_with_fds, send_with_fds
from cluster.guests.base import Guest
from cluster.guests.memory_map import bind, capture_state, make_guest
from cluster.guests.registry import GuestImportError, load_guest
from cluster.memory.guest_memory import Mapping, map_memory
from cluster.memory.tracker import TrackerKind
from cluster.memory.userfaultfd import open_userfaultfd

_HANDSHAKE_S_MAX = 30.0


class Vm:
    """One VM at one epoch."""

    def __init__(self) -> None:
        self._birth: Birth | None = None
        self._born = asyncio.Event()
        self._vcpu: Vcpu | None = None
        self._leaving = asyncio.Event()
        self._door = RequestDoor(self.request)

    async def stand_by(self) -> None:
        """Return when this process is given its VM; who waits here learns of its end at once."""
        await self._born.wait()

    async def start(self, birth: Birth) -> str:
        """Shake hands with the host and start the vCPU; return "" or what went wrong.

        A failure here is the guest's or its parameters', and a user must read it, so it
        is an answer and not an exception.
        """
        if self._birth is not None:
            raise RuntimeError("a process is given one VM in its life")
        self._birth = birth
        self._born.set()
        goes_second()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._start, birth, loop)

    async def request(self, client: str, number: int, payload: object) -> Reply:
        """Have the guest do one request exactly once, or say where to ask.

        A client numbers its requests upwards and has one under way. Asking again
        with the same number gives the first answer again.
        """
        if self._vcpu is None:
            raise RuntimeError("a request before start()")
        call = Call(client, number, payload, asyncio.get_running_loop().create_future())
        self._vcpu.submit(call)
        return await call.reply

    async def expect(self, moving: bool, then: Handle | None) -> None:
        """Say that this VM is about to move, or no longer is, and where to once that is known.

        Once it is stunned clients are sent to `then`; without it they wait here.
        """
        if moving:
            self._leaving.set()
        else:
            self._leaving.clear()
        if self._vcpu is not None:
            self._vcpu.expect(moving, then)

    async def watch(self) -> None:
        """Return when this VM is about to move."""
        await self._leaving.wait()

    async def door(self, client: str) -> PeerAddress | None:
        """Return where this client can make its requests without Ray; None if there is no room."""
        return await self._door.expect(client)

    async def process(self) -> int:
        """Answer with the process's id."""
        return os.getpid()

    def _start(self, birth: Birth, loop: asyncio.AbstractEventLoop) -> str:
        host = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        host.settimeout(_HANDSHAKE_S_MAX)
        host.connect(birth.socket_path)
        hello = {
            "vm": birth.spec.name,
            "epoch": birth.epoch,
            "token": birth.token,
            "pid": os.getpid(),
        }
        send_with_fds(host, {"kind": "hello", **hello}, [])
        _, (memory_fd, control_fd) = receive_with_fds(host)
        memory = map_memory(memory_fd, birth.spec.memory_bytes)
        control = ControlPage(control_fd)
        os.close(memory_fd)
        os.close(control_fd)
        try:
            guest = _make_guest(birth, memory)
        except Exception as error:
            host.sendall(encode({"kind": "failed", "error": _in_words(birth, error)}))
            host.close()
            return _in_words(birth, error)
        _announce(birth, host, memory)
        host.settimeout(None)
        self._vcpu = Vcpu(
            guest=guest,
            epoch=birth.epoch,
            memory=memory,
            control=control,
            host=host,
            loop=loop,
            ended=self._ended,
        )
        self._vcpu.start()
        return ""

    def _ended(self, reason: str) -> None:
        """The vCPU is over. The process stays for the host to end: it holds nothing that runs."""
        self._vcpu_end_reason = reason


def _announce(birth: Birth, host: socket.socket, memory: Mapping) -> None:
    """Tell the host where the memory is mapped, and send what it tracks it with."""
    if birth.tracker is TrackerKind.WRITE_PROTECT:
        uffd = open_userfaultfd()
        send_with_fds(host, {"kind": "ready", "address": memory.address}, [uffd])
        os.close(uffd)
    else:
        send_with_fds(host, {"kind": "ready", "address": memory.address}, [])


def _make_guest(birth: Birth, memory: Mapping) -> Guest:
    """Build the guest over its memory.

    Raises:
        Exception: Whatever the guest's own code raises; GuestImportError, ValueError, TypeError.
    """
    program = load_guest(birth.spec.guest.program, birth.spec.guest.file)
    guest = make_guest(
        program,
        dict(birth.spec.guest.params),
        vm_memory_bytes=birth.spec.memory_bytes,
        seed=birth.spec.seed,
    )
    bind(guest, memory.flat)
    if birth.boots:
        guest.start()
        capture_state(guest)  # what cannot travel should be said now and not at the first migration
    return guest


def _in_words(birth: Birth, error: Exception) -> str:
    if isinstance(error, GuestImportError):
        return str(error)
    return f"guest {birth.spec.guest.program} does not start: {type(error).__name__}: {error}"
