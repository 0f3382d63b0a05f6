"""All VMs together: demand by profile, grants by host, means by sample."""

import numpy as np
import pytest

from cluster.inventory.demand import Constant, Series, Sine, Steps
from cluster.simulation.fleet import OFF, Fleet
from tests.simulation.scenarios import host, vm


def fleet(*vms, hosts=1):
    made = Fleet(tuple(host(f"esx-{at}") for at in range(hosts)), vms)
    for at in range(len(vms)):
        made.place(at, 0, now=0.0)
    made.grant(0.0)
    return made


def test_every_kind_of_profile_is_what_it_is_alone():
    profiles = [
        Constant(mhz=300.0),
        Steps(points=((0.0, 100.0), (7.0, 900.0))),
        Sine(mean_mhz=500.0, amplitude_mhz=400.0, period_s=20.0),
        Series(interval_s=5.0, values_mhz=(1.0, 2.0, 3.0)),
        Series(interval_s=5.0, values_mhz=(7.0, 8.0, 9.0)),
        Series(interval_s=2.0, values_mhz=(4.0, 5.0)),
    ]
    cluster = fleet(*(vm(f"vm-{at}", demand=profile) for at, profile in enumerate(profiles)))
    for now in (0.0, 4.9, 5.0, 7.0, 11.0, 99.0):
        cluster.grant(now)
        assert pytest.approx([profile.at(now) for profile in profiles]) == cluster.demand_mhz


def test_a_new_profile_counts_from_its_own_beginning():
    cluster = fleet(vm("a"))
    cluster.set_demand(0, Series(interval_s=10.0, values_mhz=(1.0, 2.0)), 100.0)
    cluster.grant(105.0)
    assert [1.0] == cluster.demand_mhz.tolist()
    cluster.grant(110.0)
    assert [2.0] == cluster.demand_mhz.tolist()


def test_an_overcommitted_host_divides_its_cpu_and_slows_its_guests():
    """Four VMs ask for 2,000 MHz each on 4,000; limits and reservations hold."""
    busy = Constant(mhz=9_000.0)
    cluster = fleet(
        vm("a", demand=busy, cpu_limit_mhz=400.0),
        vm("b", demand=busy, cpu_reservation_mhz=1_800.0),
        vm("c", demand=busy),
        vm("d", demand=busy),
    )
    assert pytest.approx([400.0, 1_800.0, 900.0, 900.0]) == cluster.granted_mhz
    assert pytest.approx(0.45) == cluster.speed(2)


def test_a_vm_that_is_off_wants_nothing():
    cluster = fleet(vm("a"), vm("b"))
    cluster.place(0, OFF, now=1.0)
    cluster.grant(1.0)
    assert [0.0, 500.0] == cluster.demand_mhz.tolist()
    assert 1.0 == cluster.speed(0)


def test_a_sample_is_the_mean_over_time():
    cluster = fleet(vm("a", demand=Steps(points=((0.0, 100.0), (1.0, 500.0)))))
    cluster.grant(1.0)
    demand, granted = cluster.sample(4.0)
    assert pytest.approx([400.0]) == demand
    assert pytest.approx([400.0]) == granted
    demand, _ = cluster.sample(5.0)
    assert pytest.approx([500.0]) == demand


def test_a_vm_that_came_a_moment_ago_is_not_idle():
    cluster = fleet(vm("a"), hosts=2)
    cluster.place(0, 1, now=9.9)
    cluster.grant(9.9)
    demand, _ = cluster.sample(10.0)
    assert pytest.approx([500.0]) == demand


def test_sums_by_host_leave_out_what_is_off():
    cluster = fleet(vm("a"), vm("b"), vm("c"), hosts=3)
    cluster.place(1, 2, now=0.0)
    cluster.place(2, OFF, now=0.0)
    assert [500.0, 0.0, 500.0] == cluster.sum_by_host(np.full(3, 500.0)).tolist()


def test_a_move_divides_its_two_hosts_as_a_look_at_all_would():
    moved = fleet(*(vm(f"vm-{at}", demand=Constant(mhz=1500.0)) for at in range(6)), hosts=3)
    assert moved.granted_mhz.sum() == pytest.approx(4000.0)
    moved.place(5, 2, now=1.0)
    moved.regrant((0, 2), 1.0)
    granted = moved.granted_mhz.copy()
    assert pytest.approx([800.0] * 5 + [1500.0]) == granted
    moved.grant(1.0)
    assert granted.tolist() == moved.granted_mhz.tolist()
