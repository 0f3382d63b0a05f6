"""VirtualCenter is killed and begins again; a host is cut off from the GCS and comes back."""

import os
import signal
import time
from pathlib import Path

import pytest
import ray
from actors.building import GIGABIT, filled, host, scenario, vm
from ray.exceptions import RayError

from cluster.inventory.model import HaSettings
from cluster.migration.spec import Result

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]
LIMIT_S = 90.0


def process(watch):
    return ray.get(watch.cluster.center.process.remote())


def next_life(watch, pid):
    """Wait until another process answers."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        try:
            if process(watch) != pid:
                return
        except RayError:
            pass
        time.sleep(0.05)
    raise AssertionError("VirtualCenter did not begin again")


def places(watch, name):
    """The hosts that say they run a VM."""
    found = []
    for at, handle in watch.cluster.hosts.items():
        report = ray.get(handle.start.remote(watch.cluster.center))
        found += [at for one in report.vms if one.name == name and not one.leaving]
    return found


def slow_hosts():
    return [host(name, rate_bytes_per_second=GIGABIT) for name in "ab"]


def test_a_migration_under_way_ends_well_without_virtualcenter(launch, tmp_path):
    vms = [filled("big", on="a", mib=96), vm("kv", on="b")]
    watch = launch(scenario(slow_hosts(), vms), database=tmp_path / "vmotion.db")
    watch.migrate("big", "b")
    watch.until(lambda w: any(m.progress for m in w.views[-1].migrations))
    pid = process(watch)
    os.kill(pid, signal.SIGKILL)
    next_life(watch, pid)
    (ended,) = watch.until_ended(1)
    watch.until_verified(1)
    running_at = places(watch, "big")  # the audit ends it
    books, audits = watch.finish()

    assert (Result.COMPLETED, "b") == (ended.outcome.result, watch.where("big"))
    assert ["b"] == running_at
    assert [0] == [one.mismatched_pages for one in watch.verified]
    assert [0] == [a.settlement.lost for a in audits if a.vm == "kv"]
    assert ["", ""] == [book.off for book in books]


def test_a_vm_between_stun_and_commit_waits_for_the_next_life(launch, tmp_path):
    watch = launch(
        scenario([host("a"), host("b")], [vm("kv", on="a")]), database=tmp_path / "vmotion.db"
    )
    pid = process(watch)
    watch.migrate("kv", "b")
    os.kill(pid, signal.SIGSTOP)  # it hears the request, and perhaps no commit
    time.sleep(1.0)
    os.kill(pid, signal.SIGKILL)
    next_life(watch, pid)
    (ended,) = watch.until_ended(1)
    running_at = places(watch, "kv")
    books, audits = watch.finish()

    assert ["b" if ended.outcome.result is Result.COMPLETED else "a"] == running_at
    assert (0, 0) == (audits[0].settlement.lost, audits[0].settlement.duplicated)
    assert "" == books[0].off


def test_a_host_that_is_cut_off_stuns_its_vms_and_goes_on_when_it_is_back(launch, tmp_path):
    ha = HaSettings(enabled=True, failures_tolerated=0, isolation_s_max=2.0)
    watch = launch(
        scenario([host("a"), host("b")], [vm("kv", on="a")], ha=ha),
        database=tmp_path / "vmotion.db",
    )
    before = guest_s(watch)
    watch.until(lambda w: guest_s(w) > before)
    gcs = _gcs()
    os.kill(gcs, signal.SIGSTOP)
    try:
        watch.until(lambda w: _stands(w))
    finally:
        os.kill(gcs, signal.SIGCONT)
    stood = guest_s(watch)
    watch.until(lambda w: guest_s(w) > stood)
    running_at = places(watch, "kv")
    books, audits = watch.finish()

    assert ["a"] == running_at
    assert 0 == audits[0].settlement.lost
    assert "" == books[0].off


def guest_s(watch):
    sample = watch.look().samples.get("a")
    return sum(one.guest_s for one in sample.vms) if sample else 0.0


def _stands(watch):
    """Whether the guest has done nothing for a second of samples."""
    before = guest_s(watch)
    time.sleep(1.0)
    return guest_s(watch) == before


def _gcs():
    (pid,) = (
        int(child)
        for children in Path("/proc/self/task").glob("*/children")
        for child in children.read_text().split()
        if Path(f"/proc/{child}/comm").read_text().strip() == "gcs_server"
    )
    return pid
