"""The socket between two hosts: who is let in, and what an answer says. Needs no Ray."""

import asyncio
import pickle
from dataclasses import replace

import pytest

from cluster.actors import peer
from cluster.actors.peer import PeerDoor, connect
from cluster.actors.vm_link import VmGone, VmRefused


def spoken(talk):
    """Open a door for migration m1, let `talk(door, address)` talk, and return what was heard."""
    heard = []

    async def serve(kind, payload):
        heard.append((kind, pickle.loads(payload)))
        if kind == "bad":
            raise KeyError("m1")
        return b"done"

    async def main():
        door = await PeerDoor.open("127.0.0.1")
        try:
            await asyncio.wait_for(talk(door, door.expect("m1", serve)), 30)
        finally:
            door.close()

    asyncio.run(main())
    return heard


def test_what_is_said_is_done_in_order_and_answered():
    async def talk(door, address):
        link = await connect(address)
        told = [link.ask(kind, pickle.dumps(kind)) for kind in ("announce", "finish", "resume")]
        await asyncio.gather(*told)
        link.close()

    assert [(k, k) for k in ("announce", "finish", "resume")] == spoken(talk)


def test_what_cannot_be_done_is_answered_with_the_error():
    async def talk(door, address):
        link = await connect(address)
        with pytest.raises(VmRefused, match="KeyError"):
            await link.ask("bad", pickle.dumps(None))
        await link.ask("good", pickle.dumps(1))  # the socket is as good as before
        link.close()

    assert [("bad", None), ("good", 1)] == spoken(talk)


def test_of_too_many_keys_that_nobody_shows_the_oldest_open_nothing(monkeypatch):
    monkeypatch.setattr(peer, "_EXPECTED_MAX", 2)

    async def talk(door, address):
        later = [door.expect(f"m{number}", None) for number in (2, 3)]
        link = await connect(address)
        with pytest.raises(VmGone):
            await link.ask("late", pickle.dumps(1))
        assert later[1].key in [key for key, _ in door._expected.values()]

    assert [] == spoken(talk)


@pytest.mark.parametrize("which", ["wrong", "used", "forgotten", "replaced"])
def test_nobody_is_heard_without_a_key_that_is_still_good(which):
    async def talk(door, address):
        if which == "wrong":
            address = replace(address, key="0" * 32)
        elif which == "used":
            (await connect(address)).close()
            await asyncio.sleep(0.1)
        elif which == "forgotten":
            door.forget("m1")
        else:
            door.expect("m1", None)
        link = await connect(address)
        with pytest.raises((VmGone, ConnectionError)):
            await link.ask("resume", pickle.dumps(None))

    assert [] == spoken(talk)


def test_a_door_that_closes_is_noticed_by_who_waits_for_an_answer():
    async def talk(door, address):
        link = await connect(address)
        await link.ask("announce", pickle.dumps(0))
        door.close()
        with pytest.raises((VmGone, ConnectionError)):
            await link.ask("resume", pickle.dumps(None))

    assert [("announce", 0)] == spoken(talk)


def test_a_stranger_who_says_nothing_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(peer, "_CONNECT_S_MAX", 0.1)

    async def talk(door, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        assert b"" == await asyncio.wait_for(reader.read(), 20)
        writer.close()

    assert [] == spoken(talk)
