"""VMs that do not start, fail, or are killed: one VM's trouble stays its own, and is said."""

import os
import signal
import time

import ray
from actors.building import host, scenario, vm

from cluster.inventory.demand import Constant, Steps
from cluster.inventory.model import HaSettings, TimedEvent, TimedKind
from cluster.policy.state import PowerState

RAISES = """
from cluster.guests.base import Guest

class Raises(Guest):
    def __init__(self, *, memory_bytes, seed=0, after=3):
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        self.after = after

    def step(self, budget):
        self.after -= 1
        if self.after < 0:
            raise RuntimeError("enough is enough")
"""

BIG = """
from cluster.guests.base import Guest

class Big(Guest):
    def __init__(self, *, memory_bytes, seed=0):
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        self.kept = b""

    def handle(self, request):
        self.kept = bytes(2 << 20)
        return 1

    def step(self, budget):
        self.handle(None)
"""


def written(path, text):
    path.write_text(text)
    return str(path)


def off(watch):
    return {name for name, _, power in watch.look().vms if power is PowerState.OFF}


def test_a_guest_that_raises_powers_off_its_own_vm_and_says_where(launch, tmp_path):
    file = written(tmp_path / "raises.py", RAISES)
    vms = [vm("bad", "raises:Raises", on="a", file=file, clients=None), vm("good", on="a")]
    watch = launch(scenario([host("a"), host("b")], vms))
    watch.until(lambda w: "bad" in off(w))
    watch.migrate("good", "b")
    watch.until_verified(1)
    _, audits = watch.finish()

    said = next(line for line in watch.story() if "enough is enough" in line)
    assert "bad powered off: the guest raised RuntimeError" in said
    assert "raises.py:12" in said
    assert ["good"] == [audit.vm for audit in audits]
    assert 0 == audits[0].settlement.lost


def test_guests_that_do_not_start_are_all_named_with_the_reason(launch, tmp_path):
    broken = written(tmp_path / "broken.py", "import nothing_of_this_name\n")
    vms = [
        vm("import", "broken:Guest", on="a", file=broken),
        vm("param", "writer", on="a", params={"rate_mb_s": -1.0, "working_set_mib": 1}),
        vm("fit", "writer", on="a", params={"rate_mb_s": 1.0, "working_set_mib": 64}),
        vm("good", on="a"),
    ]
    watch = launch(scenario([host("a")], vms), begin=False)
    story = "\n".join(watch.story())

    assert {"import", "param", "fit"} == off(watch)
    assert "nothing_of_this_name" in story
    assert "rate_mb_s" in story
    assert "good powered on, a" in story


def test_a_killed_vm_process_is_reported_and_the_host_goes_on(launch):
    watch = launch(scenario([host("a"), host("b")], [vm("x", on="a"), vm("y", on="a")]))
    place = ray.get(watch.cluster.center.locate.remote("x"))
    pid = ray.get(place.vm.process.remote())
    os.kill(pid, signal.SIGKILL)
    watch.until(lambda w: "x" in off(w))
    watch.migrate("y", "b")
    watch.until_verified(1)
    books, audits = watch.finish()

    assert next(book for book in books if book.vm == "x").off
    assert [("y", 0)] == [(audit.vm, audit.settlement.lost) for audit in audits]


def test_a_dead_host_takes_its_vms_with_it_and_no_others(launch):
    watch = launch(scenario([host("a"), host("b")], [vm("x", on="a"), vm("y", on="b")]))
    place = ray.get(watch.cluster.center.locate.remote("x"))
    pid = ray.get(place.vm.process.remote())
    ray.kill(watch.cluster.hosts["a"])
    watch.until(lambda w: "x" in off(w))

    gone_by = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < gone_by:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{pid}")
    _, audits = watch.finish()
    assert [("y", 0)] == [(audit.vm, audit.settlement.lost) for audit in audits]


def test_clients_of_a_vm_that_ha_restarted_go_on_with_its_new_life(launch):
    ha = HaSettings(enabled=True, failures_tolerated=0)
    watch = launch(scenario([host("a"), host("b")], [vm("x", on="a")], ha=ha))
    first = ray.get(watch.cluster.center.locate.remote("x"))
    watch.until(lambda w: answered(w) > 0)
    ray.kill(watch.cluster.hosts["a"])
    watch.until(lambda w: w.where("x") == "b")
    second = ray.get(watch.cluster.center.locate.remote("x"))
    before = answered(watch)
    watch.until(lambda w: answered(w) > before)
    books, audits = watch.finish()

    assert [(1, 1), (2, 2)] == [(place.epoch, place.born) for place in (first, second)]
    assert "x restarts on b, without its memory" in watch.story()
    assert [("", 1)] == [(book.off, book.restarts) for book in books]
    assert [("", 0, 0, 0)] == [
        (a.error, a.mismatched_pages, a.settlement.lost, a.settlement.duplicated) for a in audits
    ]
    assert 0 < audits[0].settlement.answered < answered(watch)


def answered(watch):
    return ray.get(watch.cluster.load.counts.remote())[1]


def test_state_too_large_to_travel_stops_the_migration_and_not_the_vm(launch, tmp_path):
    file = written(tmp_path / "big.py", BIG)
    vms = [vm("big", "big:Big", on="a", file=file, clients=None)]
    watch = launch(scenario([host("a"), host("b")], vms))
    watch.migrate("big", "b")
    ended = watch.until_ended(1)[0]

    assert "kept" in ended.outcome.error
    assert "a" == watch.where("big")
    assert set() == off(watch)


def test_an_overcommitted_host_slows_its_guests_and_the_unmet_demand_is_known(launch):
    """Two VMs ask for 3,000 MHz each of a host that has 4,000: two thirds of the time."""
    demand = Constant(mhz=3000.0)
    vms = [vm(n, "idle", on="a", cpu_mhz=4000.0, demand=demand, clients=None) for n in "xy"]
    watch = launch(scenario([host("a", cpu_mhz=4000.0)], vms))
    watch.until(lambda w: w.views[-1].time_s > 1.0)
    before = {s.vm: s.guest_s for s in watch.look().samples["a"].vms}
    began = watch.views[-1].samples["a"].time_s
    watch.until(lambda w: w.views[-1].samples["a"].time_s > began + 3.0)
    sample = watch.views[-1].samples["a"]
    ratios = [(s.guest_s - before[s.vm]) / (sample.time_s - began) for s in sample.vms]
    view = watch.views[-1].hosts[0]

    assert all(0.5 < ratio < 0.72 for ratio in ratios), ratios
    assert (6000.0, 4000.0) == (round(view.demand_mhz), round(view.granted_mhz))


def test_demand_follows_its_profile_and_the_scenarios_events(launch):
    steps = Steps(points=((0.0, 500.0), (1.0, 1500.0)))
    event = TimedEvent(at_s=2.5, kind=TimedKind.DEMAND, vms=("x",), demand=Constant(mhz=200.0))
    watch = launch(scenario([host("a")], [vm("x", "idle", on="a", demand=steps)], events=(event,)))
    seen = []
    for level in (500, 1500, 200):
        watch.until(lambda w, level=level: round(w.views[-1].hosts[0].demand_mhz) == level)
        seen.append(level)

    assert [500, 1500, 200] == seen
