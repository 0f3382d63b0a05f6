"""VM processes that stand by: they are there before a VM comes, and never when nobody wants them."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import ray
from actors.building import host, scenario, vm

from cluster.actors.standby import StandbyProcesses
from cluster.inventory.model import MigrationSettings

SILENCE_S_MAX = 60.0


def vm_processes():
    """The pids of VM processes of this test's own Ray."""
    ours, found, parents = {os.getpid()}, set(), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has ended meanwhile
            parents[int(entry.name)] = parent, name
    for pid, (parent, name) in parents.items():
        while parent not in ours and parent in parents:
            parent = parents[parent][0]
        if parent in ours and name.startswith(b"ray::Vm"):
            found.add(pid)
    return found


async def until(true):
    end = time.monotonic() + SILENCE_S_MAX
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


def alone(wanted, scene, busy=lambda: False):
    """Run a scene with processes that stand by, and end them whatever happens."""

    async def run():
        standby = StandbyProcesses(wanted, busy=busy, runtime_env=None)
        keeping = asyncio.create_task(standby.keep())
        try:
            await scene(standby)
        finally:
            keeping.cancel()
            standby.close()

    before = vm_processes()
    asyncio.run(run())
    asyncio.run(until(lambda: not vm_processes() - before))


def test_who_takes_one_gets_a_process_that_runs_and_another_takes_its_place(session):
    async def scene(standby):
        await until(lambda: standby.count == 1)
        there = vm_processes()
        taken = standby.take()
        assert standby.count == 0
        assert await taken.process.remote() in there
        await until(lambda: standby.count == 1)
        another = standby.take()
        assert await another.process.remote() not in there
        ray.kill(taken)
        ray.kill(another)

    alone(1, scene)


def test_one_that_is_killed_is_given_to_nobody(session):
    async def scene(standby):
        before = vm_processes()
        await until(lambda: standby.count == 1)
        (pid,) = vm_processes() - before
        os.kill(pid, signal.SIGKILL)
        await until(lambda: standby.count == 0)
        taken = standby.take()
        assert await taken.process.remote() != pid
        ray.kill(taken)

    alone(1, scene)


def test_none_starts_while_the_host_has_work_and_none_that_is_not_wanted(session):
    busy = True

    async def scene(standby):
        nonlocal busy
        await asyncio.sleep(2.0)  # twice as long as a host must be quiet
        assert [0, {}] == [standby.count, standby._waiting]
        busy = False
        await until(lambda: standby.count == 2)
        await asyncio.sleep(2.0)
        assert [2, 2] == [standby.count, len(standby._waiting)]

    alone(2, scene, busy=lambda: busy)


def test_a_vm_that_migrates_is_given_the_process_that_stood_by(launch):
    one = replace(MigrationSettings(), standby_processes=1)
    watch = launch(scenario([host("a"), host("b")], [vm("v", on="a")], migration=one))
    watch.until(lambda w: all(h.standby_processes == 1 for h in w.views[-1].hosts))
    there = vm_processes()
    watch.migrate("v", "b")
    watch.until_verified(1)
    place = ray.get(watch.cluster.center.locate.remote("v"))
    assert ray.get(place.vm.process.remote()) in there
    _, audits = watch.finish()
    assert [True] == [audit.mismatched_pages == 0 for audit in audits]
