"""The nursery: pagers come by forks, outlive it, and one that dies is replaced."""

import os
import signal
import time

import pytest

from cluster.memory import pagers
from cluster.memory.guest_memory import create_memory
from cluster.memory.page_server import marks_bytes
from cluster.memory.pagers import PagerFailed, PageServer

PAGES = 16
SILENCE_S_MAX = 20.0


@pytest.fixture
def server():
    """Starts page servers, and ends them and the nursery."""
    fds = [create_memory("src", PAGES * 4096), create_memory("sent", marks_bytes(PAGES))]
    made = []

    def start():
        made.append(PageServer(memory_fd=fds[0], sent_fd=fds[1], pages=PAGES, host="127.0.0.1"))
        return made[-1]

    yield start
    for one in made:
        one.end()
    pagers.end_nursery()
    for fd in fds:
        os.close(fd)


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_two_come_from_one_nursery_under_the_name_of_their_role(server):
    one, two = server(), server()
    assert one.wait_listening().port != two.wait_listening().port
    assert parent(one.pid) == parent(two.pid) != os.getpid()
    with open(f"/proc/{one.pid}/comm") as file:
        assert file.read() == "page_server\n"


def test_what_it_has_forked_outlives_it_and_the_next_one_comes_from_another(server):
    one = server()
    one.wait_listening()
    first = parent(one.pid)
    os.kill(first, signal.SIGKILL)
    two = server()
    assert two.wait_listening().port
    assert parent(two.pid) not in (first, os.getpid())
    assert one.alive
    one.end()
    assert not one.alive


def test_one_that_is_killed_is_seen_to_have_ended_and_its_end_can_be_asked_for_twice(server):
    one = server()
    one.wait_listening()
    os.kill(one.pid, signal.SIGKILL)
    end = time.monotonic() + SILENCE_S_MAX
    while one.alive:
        assert time.monotonic() < end
        time.sleep(0.001)
    with pytest.raises(PagerFailed, match="has ended"):
        one.line()
    one.end()
    one.end()


def test_it_ends_when_its_host_does(server):
    one = server()
    one.wait_listening()
    nursery = parent(one.pid)
    pagers.end_nursery()
    assert not os.path.exists(f"/proc/{nursery}")
    assert one.alive


def test_that_none_can_start_is_said(server, monkeypatch):
    monkeypatch.setattr(pagers.sys, "executable", "/bin/false")
    with pytest.raises(PagerFailed, match="nursery does not start"):
        server()
