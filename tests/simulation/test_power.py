"""Energy, SLATAH and PDM by hand; hosts that stand by; the PlanetLab experiment's physics."""

import numpy as np
import pytest

from cluster.inventory.demand import Constant, Steps
from cluster.inventory.model import (
    DrsSettings,
    GuestSpec,
    HostSpec,
    PowerPlanner,
    PowerSettings,
    Scenario,
    VmSpec,
)
from cluster.simulation.planetlab import planetlab, read_day
from cluster.simulation.power import PowerMeter
from cluster.simulation.run import simulate

# 100 W idle, and 10 W more for each tenth.
WATTS = tuple(100.0 + 10.0 * tenth for tenth in range(11))


def hosts(count: int) -> tuple[HostSpec, ...]:
    return tuple(
        HostSpec(name=f"h{at}", cpu_mhz=1000.0, memory_mib=4096, power_w=WATTS)
        for at in range(count)
    )


def vm(name: str, demand, **fields) -> VmSpec:
    guest = GuestSpec(program="idle")
    return VmSpec(name=name, memory_mib=64, cpu_mhz=1000.0, guest=guest, demand=demand, **fields)


def run(vms, *, count: int = 3, **power):
    return simulate(
        Scenario(
            name="power",
            duration_s=3600.0,
            sample_s=60.0,
            hosts=hosts(count),
            vms=tuple(vms),
            drs=DrsSettings(interval_s=60.0, window_s=300.0, cooldown_s=0.0),
            power=PowerSettings(enabled=True, **power),
        )
    )


def test_the_meter_interpolates_and_knows_hosts_that_are_off():
    meter = PowerMeter(hosts(3), vms=1)
    meter.add(3600.0, np.array([250.0, 0.0, 500.0]), np.array([True, True, False]))
    assert pytest.approx((125 + 100) / 1000) == meter.use(3600.0).energy_kwh
    assert pytest.approx(2.0) == meter.use(3600.0).hosts_on_mean


def test_slatah_is_the_mean_over_hosts_of_their_time_at_the_limit():
    meter = PowerMeter(hosts(2), vms=1)
    on = np.array([True, True])
    meter.add(60.0, np.array([1200.0, 10.0]), on)
    meter.add(180.0, np.array([10.0, 10.0]), on)
    assert pytest.approx((0.25 + 0.0) / 2) == meter.use(240.0).slatah_ratio


def test_pdm_is_a_tenth_of_the_demand_while_a_vm_moves():
    meter = PowerMeter(hosts(1), vms=2)
    meter.demanded(np.array([100.0 * 1000, 50.0 * 1000]))
    meter.migrated(0, demand_mhz=100.0, duration_s=20.0)
    assert pytest.approx(0.1 * 20 / 1000 / 2) == meter.use(1000.0).pdm_ratio


def test_without_power_nobody_claims_to_know_the_energy():
    assert not PowerMeter((HostSpec(name="h", cpu_mhz=1.0, memory_mib=1),), vms=1).known


def test_hosts_without_vms_stand_by_from_the_start():
    done = run([vm("a", Constant(mhz=500.0))])
    assert () == done.failures
    assert pytest.approx(0.150) == done.summary.power.energy_kwh
    assert ["in standby"] * 2 == [row.state for row in done.timeline[:3] if row.vms == 0]


def test_a_host_is_powered_on_when_demand_comes_and_stands_by_when_it_has_gone():
    jump = Steps(points=((0.0, 100.0), (600.0, 500.0), (1800.0, 100.0)))
    done = run([vm(f"v{at}", jump) for at in range(3)])
    texts = [event.text for event in done.events]
    assert any("is powered on" in text for text in texts)
    assert any("is entering standby" in text for text in texts)
    last = done.timeline[-3:]
    assert [0, 0, 3] == sorted(row.vms for row in last)
    assert done.summary.migrations.completed >= 2


def test_dvfs_moves_nobody_and_turns_off_what_is_empty():
    done = run(
        [vm("a", Constant(mhz=100.0), host="h0"), vm("b", Constant(mhz=100.0), host="h1")],
        planner=PowerPlanner.DVFS,
    )
    assert 0 == done.summary.migrations.started
    assert pytest.approx(2 * 0.110) == done.summary.power.energy_kwh


def test_thr_mmt_moves_off_the_emptiest_host_and_lets_it_stand_by():
    done = run(
        [vm("a", Constant(mhz=300.0), host="h0"), vm("b", Constant(mhz=100.0), host="h1")],
        planner=PowerPlanner.THR_MMT,
        high_ratio=0.8,
    )
    assert [("b", "h1", "h0")] == [(m.vm, m.source, m.destination) for m in done.migrations]
    last = done.timeline[-3:]
    assert [2, 0, 0] == [row.vms for row in last]
    assert ["in standby"] * 2 == [row.state for row in last[1:]]


def small_day(*rows) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_planetlab_vms_end_when_they_are_idle_twice_running():
    day = small_day([5, 0, 5, 5], [5, 0, 0, 5], [5, 5, 5, 0], [0, 0, 5, 5])
    made = planetlab(day, power=PowerSettings(), drs=DrsSettings(), placed=True)
    assert [("vm-1", 300.0), ("vm-2", 900.0)] == [(e.vms[0], e.at_s) for e in made.events]


def test_planetlab_first_fit_caps_a_vm_at_a_core():
    day = np.full((4, 2), 50, np.uint8)
    made = planetlab(day, power=PowerSettings(), drs=DrsSettings(), placed=True)
    # 2500 and 2000 MHz fill the G4's two cores of 1860; the others go on to the G5.
    assert ["h-000", "h-000", "h-001", "h-001"] == [vm.host for vm in made.vms]


def test_planetlab_hosts_have_memory_and_vms_stay_where_that_is_asked_for():
    day = small_day([5, 0, 0, 5], [5, 5, 5, 0])
    made = planetlab(
        day, power=PowerSettings(), drs=DrsSettings(), placed=False, departures=False, memory=True
    )
    assert {4096} == {one.memory_mib for one in made.hosts}
    assert ((), {None}) == (made.events, {one.host for one in made.vms})


def test_a_day_is_read_as_it_was_saved(tmp_path):
    path = tmp_path / "day.npz"
    np.savez(path, cpu_percent=small_day([5, 100], [0, 7]))
    assert [[5, 100], [0, 7]] == read_day(path).tolist()


@pytest.mark.parametrize("table", [[1, 2], [[1, 101]], [[-1, 2]], np.zeros((0, 2))])
def test_a_table_that_is_no_percent_of_anything_is_refused(tmp_path, table):
    path = tmp_path / "day.npz"
    np.savez(path, cpu_percent=np.array(table))
    with pytest.raises(ValueError, match="not a table of 0 to 100 %"):
        read_day(path)


def test_a_file_that_is_no_day_is_named(tmp_path):
    path = tmp_path / "day.npz"
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ValueError, match=r"day\.npz: no day of PlanetLab"):
        read_day(path)
