"""Limits and reservations hold alike at power-on, at migration and for what DRS plans."""

import numpy as np
import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    DrsSettings,
    HaSettings,
    MigrationSettings,
    PowerSettings,
)
from cluster.migration.spec import Trigger
from cluster.policy.admission import DATASTORE_COST_MAX
from cluster.policy.forecast import queue
from cluster.policy.messages import (
    HostFailed,
    MaintenanceRequested,
    MigrationEnded,
    MigrationRequested,
    PowerOffRequested,
    PowerOn,
    PowerOnRequested,
    Record,
    Solve,
    StartMigration,
    Ticked,
)
from cluster.policy.state import HostState, PowerState
from drs import StepBudget, recommend
from drs.manage import manage
from tests.policy.building import Hand, host, outcome, scenario, vm

DRS = DrsSettings(interval_s=10.0, cooldown_s=0.0)
# Slots of hosts and cards are not what these are about.
NO_HOST_LIMIT = MigrationSettings(per_host_max=1000)


def started(commands) -> list[str]:
    return [c.spec.vm for c in commands if isinstance(c, StartMigration)]


def texts(commands) -> list[str]:
    return [c.text for c in commands if isinstance(c, Record)]


# 128 migrations on a datastore.


def on_one_datastore(count: int) -> Hand:
    """VMs on a, all on the datastore "shared"; one more on "other"."""
    big = {"cpu_mhz": 1e6, "memory_mib": 65536, "datastores": ("shared", "other")}
    vms = [vm(f"v{n:03}", "a", memory_mib=16) for n in range(count)]
    vms += [vm("elsewhere", "a", memory_mib=16, datastore="other")]
    return Hand(scenario([host("a", **big), host("b", **big)], vms, migration=NO_HOST_LIMIT)).up()


def fills_the_datastore(hand: Hand) -> None:
    for n in range(DATASTORE_COST_MAX):
        hand.begun(f"v{n:03}", "b")


def test_a_migration_waits_for_its_datastore_and_starts_when_one_ends():
    hand = on_one_datastore(DATASTORE_COST_MAX + 1)
    fills_the_datastore(hand)
    assert [] == started(hand.request("v128", "b"))
    assert "a slot at shared" == hand.state.migration_of("v128").waiting_for
    (waits,) = queue(hand.state, now=hand.now)
    assert (1, "a slot at shared") == (waits.position, waits.waiting_for)
    assert waits.starts_in_s is not None
    assert ["elsewhere"] == started(hand.request("elsewhere", "b"))

    first = hand.state.migration_of("v000").spec
    hand.commit(first)
    ended = hand.send(MigrationEnded(migration=first.id, outcome=outcome()))
    assert ["v128"] == started(ended)


def test_what_drs_wants_waits_for_its_datastore_too():
    hand = on_one_datastore(DATASTORE_COST_MAX + 2)
    wanted = [f"v{n:03}" for n in range(DATASTORE_COST_MAX + 2)]
    commands = [
        hand.send(MigrationRequested(vm=name, destination="b", trigger=Trigger.DRS))
        for name in wanted
    ]
    assert wanted[:DATASTORE_COST_MAX] == [name for one in commands for name in started(one)]
    assert ["v128", "v129"] == [one.spec.vm for one in queue(hand.state, now=hand.now)]


def test_a_full_datastore_keeps_no_vm_from_being_powered_on():
    hand = on_one_datastore(DATASTORE_COST_MAX + 1)
    hand.send(PowerOffRequested(vm="v128"))
    fills_the_datastore(hand)
    (command,) = hand.acts(PowerOnRequested(vm="v128", host="a"))
    assert isinstance(command, PowerOn)


# CPU reservations.


def reserved(name: str, on: str | None = None, mhz: float = 600.0, **fields):
    return vm(name, on, cpu_mhz=1000.0, cpu_reservation_mhz=mhz, **fields)


def test_a_reservation_that_does_not_fit_is_not_powered_on():
    hand = Hand(scenario("ab", [reserved("v", "a"), reserved("w", "a")])).up()
    assert {"v": "a", "w": None} == hand.where()
    assert "a has 400 MHz that are not reserved" in hand.state.vms["w"].ended_reason
    assert [PowerOn(vm="w", host="b", epoch=1)] == hand.acts(PowerOnRequested(vm="w", host="b"))


def test_placement_finds_the_host_with_the_reservation_to_spare():
    """The emptier one by demand has it all reserved."""
    vms = [reserved("idle", "a", demand=Constant(mhz=0.0)), vm("busy", "b"), reserved("w")]
    assert "b" == Hand(scenario("ab", vms)).up().where()["w"]


def test_a_reservation_that_does_not_fit_does_not_migrate():
    hand = Hand(scenario("ab", [reserved("v", "a"), reserved("w", "b")])).up()
    (text,) = texts(hand.request("v", "b"))
    assert "b has 400 MHz that are not reserved, v has 600 reserved" in text
    assert "a" == hand.where()["v"]


def test_a_reservation_that_is_on_its_way_is_taken_already():
    hand = Hand(scenario("abc", [reserved("v", "a"), reserved("w", "c")])).up()
    hand.begun("v", "b")
    assert [] == started(hand.request("w", "b"))
    off = vm_is_off(hand)
    assert "b has 400 MHz that are not reserved" in off


def vm_is_off(hand: Hand) -> str:
    """Why w cannot be powered on at b, where v is going."""
    hand.send(PowerOffRequested(vm="w"))
    (text,) = texts(hand.send(PowerOnRequested(vm="w", host="b")))
    return text


def asked_drs(hand: Hand) -> Solve:
    (asked,) = (c for c in hand.send(Ticked(), at=10.0) if isinstance(c, Solve))
    return asked


def test_drs_moves_nothing_to_where_its_reservation_does_not_fit():
    """a is busy and b idle, but b's CPU is reserved: c is the only way, for one of them."""
    busy = [reserved(f"v{n}", "a", mhz=300.0, demand=Constant(mhz=450.0)) for n in (1, 2)]
    idle = reserved("idle", "b", mhz=800.0, demand=Constant(mhz=0.0))
    hand = Hand(scenario("abc", [*busy, idle], drs=DRS)).up()
    hand.load("a", v1=450.0, v2=450.0)
    hand.load("b", idle=0.0)
    asked = asked_drs(hand)
    made = recommend(
        asked.snapshot,
        asked.policy,
        now=10.0,
        rng=np.random.default_rng(asked.seed),
        budget=StepBudget(steps=2000),
    )
    assert made.actions
    assert {"c"} == {asked.snapshot.hosts[action.move.destination] for action in made.actions}


# Room for lost hosts, which HA's admission control keeps.


def powered(failures_tolerated: int, *, at: str = "aaaa", enabled: bool = True) -> Hand:
    """Four hosts of 4 slots and 4 small VMs: power management would keep one host on."""
    hosts = [host(name, cpu_mhz=10_000.0) for name in "abcd"]
    vms = [vm(f"v{n}", on, demand=Constant(mhz=10.0)) for n, on in enumerate(at)]
    ha = HaSettings(enabled=enabled, failures_tolerated=failures_tolerated)
    power = PowerSettings(enabled=True)
    return Hand(scenario(hosts, vms, drs=DRS, ha=ha, power=power)).up()


def stay_on(hand: Hand) -> int:
    return sum(one.state is HostState.CONNECTED for one in hand.state.hosts.values())


@pytest.mark.parametrize(
    ("tolerated", "enabled", "hosts"),
    [
        (0, True, 1),
        (1, True, 2),
        (2, True, 3),
        (3, True, 4),
        (2, False, 1),
    ],
)
def test_what_ha_keeps_free_does_not_stand_by(tolerated, enabled, hosts):
    assert hosts == stay_on(powered(tolerated, enabled=enabled))


@pytest.mark.parametrize(("tolerated", "emptied"), [(0, 1), (1, 0)])
def test_drs_empties_no_host_that_ha_keeps_free(tolerated, emptied):
    """Two hosts are on, and the VMs of both would fit on one."""
    hand = powered(tolerated, at="aabb")
    hand.load("a", v0=10.0, v1=10.0)
    hand.load("b", v2=10.0, v3=10.0)
    asked = asked_drs(hand)
    rng, budget = np.random.default_rng(asked.seed), StepBudget(steps=500)
    made = manage(asked.snapshot, asked.policy, asked.power, now=10.0, rng=rng, budget=budget)
    assert emptied == len(made.stand_by)


@pytest.mark.parametrize(
    "gone", [MaintenanceRequested(host="c"), HostFailed(host="c", reason="died")]
)
def test_admission_control_counts_on_no_host_that_could_restart_nothing(gone):
    vms = [vm(f"v{n}", on, memory_mib=512) for n, on in enumerate("aab")]
    hand = Hand(scenario("abc", vms, ha=HaSettings(enabled=True, failures_tolerated=1))).up()
    hand.send(PowerOffRequested(vm="v2"))
    hand.send(gone)
    (text,) = texts(hand.send(PowerOnRequested(vm="v2", host="b")))
    assert "2 slots of 512 MiB are left, 3 are needed" in text


def test_admission_control_asks_at_power_on_and_not_at_a_migration():
    """A migration adds no VM: what is kept for a lost host stays as it is."""
    vms = [vm(f"v{n}", memory_mib=512) for n in range(3)]
    hand = Hand(scenario("ab", vms, ha=HaSettings(enabled=True, failures_tolerated=1))).up()
    assert [PowerState.ON, PowerState.ON, PowerState.OFF] == [
        record.power for record in hand.state.vms.values()
    ]
    (text,) = texts(hand.send(PowerOnRequested(vm="v2")))
    assert "HA keeps room for 1 lost hosts" in text
    here = hand.where()["v0"]
    assert ["v0"] == started(hand.request("v0", "b" if here == "a" else "a"))
