"""The line on which hosts ask VirtualCenter to commit; where it fails a call asks. Needs no Ray."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from cluster.actors.center_line import CenterDoor, CenterLine
from cluster.actors.peer import PeerDoor


class Center:
    """What a call reaches, as an actor's handle would; notes what it was asked."""

    def __init__(self):
        self.asked = []
        self.commit = SimpleNamespace(remote=self._commit)
        self.prepared = SimpleNamespace(remote=self._prepared)
        self.door = SimpleNamespace(remote=self._address)
        self.doors = None

    async def _prepared(self, migration, there):
        pass

    async def _address(self, host):
        return await self.doors.expect(host)

    async def _commit(self, migration, epoch):
        self.asked.append((migration, epoch))
        return "refused by a call"


def asked(serve):
    """Ask for one commit at a door that `serve`s; return the answer and what the calls asked."""
    center = Center()

    async def main():
        door = await PeerDoor.open("127.0.0.1")
        line = CenterLine()
        line.begin("esx-1", center)
        try:
            await line.reach(door.expect("esx-1", serve))
            return await asyncio.wait_for(line.commit("m1", 3), 30)
        finally:
            line.close()
            door.close()

    return asyncio.run(main()), center.asked


@pytest.mark.parametrize("decided", ["", "another migration owns the VM"])
def test_the_answer_comes_on_the_socket_and_nobody_is_called(decided):
    heard = []

    def commit(migration, epoch):
        heard.append((migration, epoch))
        return decided

    door = CenterDoor(commit)
    assert asked(door._serve) == (decided, [])
    assert heard == [("m1", 3)]


@pytest.mark.parametrize("how", ["silent", "hangs up", "fails"])
def test_whatever_becomes_of_the_socket_the_same_is_asked_by_a_call(how):
    async def serve(kind, payload):
        assert (kind, json.loads(payload)) == ("commit", ["m1", 3])
        if how == "silent":
            await asyncio.sleep(60)
        if how == "hangs up":
            raise asyncio.CancelledError  # ends the connection, as the end of the process does
        raise RuntimeError("no journal")

    assert asked(serve) == ("refused by a call", [("m1", 3)])


def test_without_a_socket_it_is_a_call():
    center = Center()

    async def main():
        line = CenterLine()
        line.begin("esx-1", center)
        door = await PeerDoor.open("127.0.0.1")
        address = door.expect("esx-1", None)
        door.close()
        await line.reach(address)  # nobody listens there any more
        return await line.commit("m1", 3)

    assert asyncio.run(main()) == "refused by a call"
    assert center.asked == [("m1", 3)]


def test_a_line_that_was_given_up_is_back_for_the_next_migration():
    """VirtualCenter stood still for longer than a guest should wait."""
    center, silent = Center(), True

    async def serve(kind, payload):
        if silent:
            await asyncio.sleep(60)
        return b""

    async def main():
        nonlocal silent
        door = await PeerDoor.open("127.0.0.1")
        center.doors = SimpleNamespace(expect=_async(lambda host: door.expect(host, serve)))
        line = CenterLine()
        line.begin("esx-1", center)
        try:
            await line.reach(door.expect("esx-1", serve))
            first = await line.commit("m1", 3)
            silent = False
            await line.prepared("m2", None)
            return first, await line.commit("m2", 4)
        finally:
            line.close()
            door.close()

    assert asyncio.run(main()) == ("refused by a call", "")
    assert center.asked == [("m1", 3)]


def _async(function):
    async def called(*arguments):
        return function(*arguments)

    return called
