"""A client's socket to its VM; where it fails a call asks, and nothing is done twice. Needs no Ray."""

import asyncio
import os
from types import SimpleNamespace

import pytest

import cluster.actors.request_line as request_line
from cluster.actors.peer import PeerDoor
from cluster.actors.replies import Answered, Moved, NotHere
from cluster.actors.request_line import RequestDoor, RequestLine


class OneVm:
    """A VM as its actor's handle reaches it; `does` what is asked, and notes which way it came."""

    def __init__(self, does, *, room=True):
        self.asked, self.does, self.room = [], does, room
        self.request = SimpleNamespace(remote=self._by_call)
        self.door = SimpleNamespace(remote=self._address)
        self._door = RequestDoor(self._on_socket)

    async def _by_call(self, client, number, payload):
        self.asked.append(("call", client, number))
        return await self.does(payload)

    async def _on_socket(self, client, number, payload):
        self.asked.append(("socket", client, number))
        return await self.does(payload)

    async def _address(self, client):
        if self._door._door is None:
            self._door._door = await PeerDoor.open("127.0.0.1")  # Ray would know the address
        return await self._door.expect(client) if self.room else None

    def close(self):
        if self._door._door is not None:
            self._door._door.close()


async def echo(payload):
    return Answered(answer=payload, epoch=1)


def scene(vm, play):
    """Let a client of a VM play with its line, which is open when it begins."""

    async def run():
        line = RequestLine(vm, "c1")
        try:
            line.open()
            await line._opening
            return await asyncio.wait_for(play(line), 30)
        finally:
            line.close()
            vm.close()

    return asyncio.run(run())


def test_requests_go_on_the_socket_once_it_stands():
    vm = OneVm(echo)

    async def play(line):
        return [(await line.ask(number, "hi")).answer for number in (1, 2)]

    assert ["hi", "hi"] == scene(vm, play)
    assert [("socket", "c1", 1), ("socket", "c1", 2)] == vm.asked


def test_without_room_for_another_socket_all_goes_by_calls():
    vm = OneVm(echo, room=False)
    assert "hi" == scene(vm, lambda line: line.ask(1, "hi")).answer
    assert [("call", "c1", 1)] == vm.asked


def test_a_socket_that_breaks_is_replaced_by_a_call_with_the_same_number_and_opened_again():
    vm = OneVm(echo)

    async def play(line):
        for writer in vm._door._door._writers:
            writer.close()
        first = await line.ask(1, "a")
        line.open()
        await line._opening
        return first.answer, (await line.ask(2, "b")).answer

    assert ("a", "b") == scene(vm, play)
    assert [("call", "c1", 1), ("socket", "c1", 2)] == vm.asked


def test_a_vm_that_is_silent_on_the_socket_is_asked_by_a_call(monkeypatch):
    """Ray knows whether its process, or its node, is gone; a socket does not."""
    monkeypatch.setattr(request_line, "_SILENCE_S_MAX", 0.05)

    async def slow_at_first(payload):
        if len(vm.asked) == 1:
            await asyncio.sleep(60)
        return Answered(answer=payload, epoch=1)

    vm = OneVm(slow_at_first)
    assert "hi" == scene(vm, lambda line: line.ask(7, "hi")).answer
    assert [("socket", "c1", 7), ("call", "c1", 7)] == vm.asked


def test_what_a_socket_cannot_carry_goes_by_a_call_and_the_socket_stays():
    vm = OneVm(echo)

    async def play(line):
        return (await line.ask(1, lambda: 5)).answer(), (await line.ask(2, "small")).answer

    assert (5, "small") == scene(vm, play)
    assert [("call", "c1", 1), ("socket", "c1", 2)] == vm.asked


def test_an_answer_that_cannot_be_sent_comes_by_a_call_and_no_socket_is_tried_again():
    async def unsendable(payload):
        return Answered(answer=lambda: 5, epoch=1)

    vm = OneVm(unsendable)

    async def play(line):
        answer = (await line.ask(1, "x")).answer()
        line.open()
        await line.ask(2, "x")
        return answer

    assert 5 == scene(vm, play)
    assert [("socket", "c1", 1), ("call", "c1", 1), ("call", "c1", 2)] == vm.asked


def test_a_place_is_told_once_and_known_when_the_vm_has_moved():
    replies = [
        Answered(answer=1, epoch=1, moving=True, then="there"),
        Answered(answer=2, epoch=1, moving=True, then="there"),
        Moved(to="there"),
        Moved(to="elsewhere"),
        NotHere(reason="over"),
    ]
    sent = []

    async def next_reply(payload):
        return replies[payload]

    vm = OneVm(next_reply)

    async def play(line):
        whole = line._whole
        line._whole = lambda reply: sent.append(reply) or whole(reply)
        return [await line.ask(number, number) for number in range(len(replies))]

    got = scene(vm, play)
    assert [None, "there", "elsewhere", None] == [
        got[1].then,
        got[2].to,
        got[3].to,
        getattr(got[4], "to", None),
    ]
    assert None is sent[2].to


def test_what_ray_would_encrypt_goes_by_calls(monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    vm = OneVm(echo)
    assert "hi" == scene(vm, lambda line: line.ask(1, "hi")).answer
    assert [("call", "c1", 1)] == vm.asked


def test_a_process_opens_no_more_sockets_than_its_limit(monkeypatch):
    monkeypatch.setattr(request_line, "_LINES_MAX", 0)
    vm = OneVm(echo)
    assert "hi" == scene(vm, lambda line: line.ask(1, "hi")).answer
    assert [("call", "c1", 1)] == vm.asked


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")
def test_lines_that_are_closed_leave_nothing_open():
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    async def play(line):
        await line.ask(1, "hi")

    before = descriptors(), request_line._open_lines
    for _ in range(3):
        scene(OneVm(echo), play)
    assert before == (descriptors(), request_line._open_lines)
