"""Clients in closed loop on a key-value guest, in a process of their own. Not a benchmark."""

import asyncio
import random
import time

from cluster.actors.client import VmClient
from cluster.actors.priority import goes_first

_VALUE_BYTES = 4096


class Hammer:
    """Asks again as soon as an answer has come, a put and a get by turns at random."""

    def __init__(self, vm: str, center: object, *, clients: int, keys: int) -> None:
        """The guest holds keys 0 to `keys` - 1, with values of a page each."""
        goes_first()
        self._clients = [VmClient(vm, client=f"hammer-{i}", center=center) for i in range(clients)]
        self._keys = keys
        self._random = random.Random(1)
        self._value = self._random.randbytes(_VALUE_BYTES)
        self._answered_s: list[float] = []
        self._on = False
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Start all clients."""
        self._answered_s, self._on = [], True
        for client in self._clients:
            client.forget_place()
        self._tasks = [asyncio.create_task(self._ask(client)) for client in self._clients]

    async def end(self) -> list[float]:
        """Stop after the answers under way; return when each answer came, in order."""
        self._on = False
        await asyncio.gather(*self._tasks)
        return self._answered_s

    async def _ask(self, client: VmClient) -> None:
        draw = self._random
        while self._on:
            key = draw.randrange(self._keys)
            put = draw.random() < 0.5
            await client.call(("put", key, self._own(key)) if put else ("get", key))
            self._answered_s.append(time.monotonic())

    def _own(self, key: int) -> bytes:
        return key.to_bytes(8, "little") + self._value[8:]
