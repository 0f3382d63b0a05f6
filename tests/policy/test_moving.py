"""Migrations as VirtualCenter sees them, told as short sequences of events and commands."""

import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    MigrationSettings,
    Mode,
    RuleKind,
    RuleSpec,
    TimedEvent,
    TimedKind,
)
from cluster.migration.spec import Downtime, Result, Trigger
from cluster.policy.messages import (
    CancelMigration,
    CancelRequested,
    CloseMigration,
    Discard,
    GrantCommit,
    HostConnected,
    HostFailed,
    MigrationEnded,
    PowerOff,
    Record,
    RefuseCommit,
    SetDemand,
    SetShares,
    StartMigration,
    Stopping,
    TakeOver,
    TellPeerLost,
    Ticked,
    VmEnded,
)
from cluster.policy.ownership import Record as Owner
from cluster.policy.state import PowerState
from tests.policy.building import (
    GIGABIT,
    LIMITS_OF_ONE,
    SLOW_CARD,
    Hand,
    host,
    outcome,
    scenario,
    slow,
    vm,
)


def two_hosts(*vms, **fields) -> Hand:
    return Hand(scenario(["a", "b"], vms or [vm("v", "a")], **fields)).up()


def three_hosts(*vms, **fields) -> Hand:
    return Hand(scenario(["a", "b", "c"], vms, **fields)).up()


def texts(commands) -> list[str]:
    return [c.text for c in commands if isinstance(c, Record)]


def ids(commands) -> list[str]:
    return [c.spec.vm for c in commands if isinstance(c, StartMigration)]


def ended(spec, result=Result.COMPLETED, error="", **fields) -> MigrationEnded:
    return MigrationEnded(migration=spec.id, outcome=outcome(result, error, **fields))


# From the request to the end.


def test_a_migration_from_request_to_end():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    assert ("m0001", "v", "a", "b", 2) == (
        spec.id,
        spec.vm,
        spec.source,
        spec.destination,
        spec.epoch,
    )
    assert GrantCommit(migration="m0001") == hand.commit(spec)
    assert Owner(epoch=2, host="b") == hand.state.ownership.get("v")
    text = "v a → b: completed, downtime 20.0 ms"
    assert [text] == hand.notes(ended(spec, downtime=slow(0.02)))
    assert ({}, "b", hand.now) == (
        hand.state.migrations,
        hand.state.vms["v"].host,
        hand.state.vms["v"].moved_at_s,
    )


@pytest.mark.parametrize(
    ("name", "destination", "reason"),
    [
        ("nobody", "b", "there is no VM nobody"),
        ("v", "nowhere", "there is no host nowhere"),
        ("v", "a", "v runs on a already"),
        ("off", "b", "off is powered off"),
        ("busy", "b", "busy is migrating already to b"),
        ("huge", "small", "huge needs 900 MiB, small has 512"),
        ("v", "alien", "a is generic, alien is other"),
        ("v", "dead", "dead is not responding"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(name, destination, reason):
    hosts = [
        host("a", memory_mib=4096),
        "b",
        host("small", memory_mib=512),
        host("alien", cpu_family="other"),
        "dead",
    ]
    vms = [vm("v", "a"), vm("off", "a"), vm("busy", "a"), vm("huge", "a", memory_mib=900)]
    hand = Hand(scenario(hosts, vms)).up()
    hand.send(VmEnded(vm="off", epoch=1, reason="shut down"))
    hand.send(HostFailed(host="dead", reason="died"))
    hand.begun("busy", "b")
    commands = hand.request(name, destination)
    assert [] == ids(commands)
    (text,) = texts(commands)
    assert reason in text


def test_all_reasons_are_given_at_once():
    hand = Hand(
        scenario(
            ["a", host("b", networks=("other",), datastores=("san-2",), cpu_family="other")],
            [vm("v", "a")],
        )
    ).up()
    (text,) = texts(hand.request("v", "b"))
    for reason in ("VM Network", "shared", "generic"):
        assert reason in text


def test_without_a_destination_the_best_compatible_host_is_taken():
    hosts = ["a", host("b", cpu_family="other"), "c", "d"]
    hand = Hand(scenario(hosts, [vm("v", "a"), vm("w", "c")])).up()
    assert "d" == hand.begun("v", None).destination


def test_without_any_host_that_can_take_it_nothing_begins():
    hand = two_hosts(vm("v", "a"), vm("w", "b", memory_mib=1000))
    assert ["v → any host: refused, no other host can take v now"] == texts(hand.request("v", None))


@pytest.mark.parametrize(
    ("mode", "serves", "got"),
    [
        (Mode.HYBRID, True, Mode.HYBRID),
        (Mode.HYBRID, False, Mode.PRECOPY),
        (Mode.AUTO, False, Mode.PRECOPY),
        (Mode.POSTCOPY, True, Mode.POSTCOPY),
    ],
)
def test_hosts_without_fault_service_carry_precopy(mode, serves, got):
    hand = Hand(scenario(["a", "b"], [vm("v", "a")]), serves_faults=serves).up()
    commands = hand.request("v", "b", mode=mode)
    (spec,) = (c.spec for c in commands if isinstance(c, StartMigration))
    assert (got, mode is not got) == (spec.mode, any("becomes" in text for text in texts(commands)))


def test_an_explicit_postcopy_is_refused_without_fault_service():
    hand = Hand(scenario(["a", "b"], [vm("v", "a")]), serves_faults=False).up()
    assert [] == ids(hand.request("v", "b", mode=Mode.POSTCOPY))


# The commit.


def test_a_commit_that_is_asked_again_is_granted_again():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    assert [GrantCommit(migration=spec.id)] * 2 == [hand.commit(spec), hand.commit(spec)]
    assert 2 == hand.state.vms["v"].epoch


def test_a_commit_of_another_epoch_is_refused():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    assert isinstance(hand.commit(spec, epoch=1), RefuseCommit)
    assert isinstance(hand.commit(spec, epoch=3), RefuseCommit)
    assert isinstance(hand.commit(spec), GrantCommit)


def test_a_refused_commit_is_refused_for_good():
    """The source was told that it owns the VM; the destination's return changes nothing."""
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.send(HostFailed(host="b", reason="no answer"))
    refusal = RefuseCommit(migration=spec.id, reason="b has failed")
    assert refusal == hand.commit(spec)
    hand.send(HostConnected(host="b", serves_faults=False))
    assert refusal == hand.commit(spec)
    assert Owner(epoch=1, host="a") == hand.state.ownership.get("v")


def test_a_granted_commit_stays_granted_when_the_destination_fails_after_it():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    hand.send(HostFailed(host="b", reason="died"))
    assert GrantCommit(migration=spec.id) == hand.commit(spec)


def test_a_commit_after_the_end_is_refused():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.send(ended(spec, Result.ABORTED, "cancelled"))
    reason = "the migration has ended"
    assert RefuseCommit(migration=spec.id, reason=reason) == hand.commit(spec)


# Waiting.


def test_a_slot_that_is_free_again_is_taken():
    hand = three_hosts(vm("v", "a"), vm("w", "a"), migration=LIMITS_OF_ONE)
    spec = hand.begun("v", "b")
    assert [] == ids(hand.request("w", "b"))
    assert "a slot at a" == hand.state.migration_of("w").waiting_for
    hand.commit(spec)
    assert ["w"] == ids(hand.send(ended(spec)))


def test_a_later_one_may_pass_one_that_waits():
    hand = three_hosts(vm("v", "a"), vm("w", "a"), vm("x", "c"), migration=LIMITS_OF_ONE)
    hand.begun("v", "b")
    hand.request("w", "c")
    assert 2 == len(hand.state.migrations)
    # c has no slot taken, and b has one: x may not go there, and waits too.
    assert [] == ids(hand.request("x", "b"))
    four = Hand(
        scenario("abcd", [vm("v", "a"), vm("w", "a"), vm("x", "c")], migration=LIMITS_OF_ONE)
    )
    four.up().begun("v", "b")
    four.request("w", "c")
    assert ["x"] == ids(four.request("x", "d"))


def test_two_full_hosts_cannot_swap_and_it_is_said_at_once():
    hand = two_hosts(vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800))
    assert ["v → b: refused, b has 224 MiB left, v needs 800"] == texts(hand.request("v", "b"))
    assert ["w → a: refused, a has 224 MiB left, w needs 800"] == texts(hand.request("w", "a"))
    assert {} == hand.state.migrations


def test_two_full_hosts_swap_by_way_of_a_third():
    """The three actions of a plan: v stops on c until w has gone."""
    hand = three_hosts(vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800))
    first = hand.begun("v", "c", onward="b")
    assert [] == ids(hand.request("w", "a"))
    hand.commit(first)
    commands = hand.send(ended(first))
    assert ["w"] == ids(commands)
    assert "b has 224 MiB left, v needs 800" == hand.state.migration_of("v").waiting_for
    second = hand.state.migration_of("w").spec
    hand.commit(second)
    assert ["v"] == ids(hand.send(ended(second)))
    hand.complete(hand.state.migration_of("v").spec)
    assert {"v": "b", "w": "a"} == hand.where()


def test_a_chain_waits_for_its_first_link():
    """x waits for w, which waits for v: only v is under way."""
    vms = [vm(name, at, memory_mib=800) for name, at in (("v", "a"), ("w", "b"), ("x", "d"))]
    hand = Hand(scenario("abcd", vms)).up()
    first = hand.begun("v", "c")
    assert [] == texts(hand.request("w", "a"))
    assert [] == texts(hand.request("x", "b"))
    hand.commit(first)
    assert ["w"] == ids(hand.send(ended(first)))
    second = hand.state.migration_of("w").spec
    hand.commit(second)
    assert ["x"] == ids(hand.send(ended(second)))


def test_who_waits_for_one_that_is_cancelled_is_refused():
    hand = three_hosts(vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800))
    first = hand.begun("v", "c")
    hand.request("w", "a")
    texts_ = hand.notes(ended(first, Result.ABORTED, "cancelled"))
    assert "w → a: refused, a has 224 MiB left, w needs 800" in texts_


def test_vms_that_must_be_apart_wait_for_each_other():
    rule = RuleSpec(name="apart", kind=RuleKind.ANTI_AFFINITY, vms=("v", "w"))
    hand = three_hosts(vm("v", "a"), vm("w", "b"), rules=(rule,))
    assert ["v → b: refused, v, w are together on b; at most 1 may be"] == texts(
        hand.request("v", "b")
    )
    first = hand.begun("w", "c")
    assert [] == texts(hand.request("v", "b"))
    hand.commit(first)
    # The source holds the VM until the migration has ended.
    assert "v" in {r.spec.vm for r in hand.state.migrations.values()}
    assert ["v"] == ids(hand.send(ended(first)))


def test_room_that_a_migration_will_take_is_taken():
    hand = three_hosts(vm("v", "a", memory_mib=600), vm("w", "b", memory_mib=600))
    hand.begun("v", "c")
    assert ["w → c: refused, c has 424 MiB left, w needs 600"] == texts(hand.request("w", "c"))


# Shares of the network.


def test_migrations_share_a_card_and_are_told_when_it_changes():
    hosts = [host(name, nic=SLOW_CARD) for name in "abc"]
    hand = Hand(scenario(hosts, [vm("v", "a"), vm("w", "b")])).up()
    first = hand.begun("v", "c")
    assert GIGABIT == first.rate_bytes_per_second
    commands = hand.request("w", "c")
    (second,) = (c.spec for c in commands if isinstance(c, StartMigration))
    assert GIGABIT / 2 == second.rate_bytes_per_second
    assert SetShares(host="c", shares=((first.id, GIGABIT / 2),)) in commands
    hand.commit(second)
    told = [SetShares(host="c", shares=((first.id, GIGABIT),))]
    assert told == [c for c in hand.send(ended(second)) if isinstance(c, SetShares)]


def test_an_unlimited_card_promises_nothing():
    assert two_hosts().begun("v", "b").rate_bytes_per_second is None


def test_a_dead_hosts_share_goes_to_the_others():
    hosts = [host(name, nic=SLOW_CARD) for name in "abc"]
    hand = Hand(scenario(hosts, [vm("v", "a"), vm("w", "b")])).up()
    hand.begun("v", "c")
    second = hand.begun("w", "c")
    commands = hand.acts(HostFailed(host="a", reason="died"))
    assert SetShares(host="c", shares=((second.id, GIGABIT),)) in commands


# Hosts fail.


def test_a_source_that_dies_before_the_commit_takes_the_vm_along():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    commands = hand.send(HostFailed(host="a", reason="died"))
    closed = next(c for c in commands if isinstance(c, CloseMigration))
    assert (spec.id, Result.LOST) == (closed.spec.id, closed.outcome.result)
    assert Discard(migration=spec.id, destination="b") in commands
    assert ["a failed: died", "v a → b: lost, a has failed", "v powered off: a failed"] == texts(
        commands
    )
    assert isinstance(hand.commit(spec), RefuseCommit)


def test_a_source_that_dies_after_the_commit_leaves_the_vm_to_the_destination():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    commands = hand.send(HostFailed(host="a", reason="died"))
    assert TakeOver(migration=spec.id, vm="v", destination="b", epoch=2) in commands
    closed = next(c for c in commands if isinstance(c, CloseMigration))
    assert Result.COMPLETED is closed.outcome.result
    assert (PowerState.ON, "b") == (hand.state.vms["v"].power, hand.state.vms["v"].host)
    # The destination lacks pages after all.
    hand.send(VmEnded(vm="v", epoch=2, reason="pages were missing"))
    assert PowerState.OFF is hand.state.vms["v"].power


def test_both_hosts_dead_after_the_commit_is_lost():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    hand.send(HostFailed(host="b", reason="died"))
    commands = hand.send(HostFailed(host="a", reason="died"))
    assert [Result.LOST] == [c.outcome.result for c in commands if isinstance(c, CloseMigration)]
    assert not any(isinstance(c, TakeOver | Discard) for c in commands)


def test_a_destination_that_dies_before_the_commit_leaves_the_vm_on_the_source():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    assert [TellPeerLost(migration=spec.id, source="a")] == hand.acts(
        HostFailed(host="b", reason="died")
    )
    hand.send(ended(spec, Result.ABORTED, "the destination died"))
    assert (PowerState.ON, "a") == (hand.state.vms["v"].power, hand.state.vms["v"].host)


def test_a_destination_that_dies_after_the_commit_takes_the_vm_along():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    hand.send(HostFailed(host="b", reason="died"))
    assert PowerState.OFF is hand.state.vms["v"].power
    assert ["v a → b: lost, the destination died"] == hand.notes(
        ended(spec, Result.LOST, "the destination died")
    )


def test_what_waits_for_a_dead_host_is_refused_and_what_waited_for_its_slot_starts():
    hand = Hand(
        scenario("abcd", [vm("v", "a"), vm("w", "a"), vm("x", "b")], migration=LIMITS_OF_ONE)
    ).up()
    hand.begun("v", "c")
    hand.request("w", "d")
    hand.request("x", "c")
    commands = hand.send(HostFailed(host="a", reason="died"))
    assert "w → d: refused, a has failed" in texts(commands)
    assert ["x"] == ids(commands)


# VMs end.


def test_a_waiting_migration_ends_with_its_vm():
    hand = three_hosts(vm("v", "a"), vm("w", "a"), migration=LIMITS_OF_ONE)
    spec = hand.begun("v", "b")
    hand.request("w", "c")
    assert ["w powered off: raised", "w → c: refused, w has ended: raised"] == hand.notes(
        VmEnded(vm="w", epoch=1, reason="raised")
    )
    hand.commit(spec)
    assert [] == ids(hand.send(ended(spec)))


def test_a_vm_that_ends_before_the_commit_is_not_copied_to_the_end():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    event = VmEnded(vm="v", epoch=1, reason="raised")
    assert [CancelMigration(migration=spec.id, source="a")] == hand.acts(event)
    assert isinstance(hand.commit(spec), RefuseCommit)
    commands = hand.send(ended(spec, Result.LOST, "the VM has ended on the source"))
    assert Discard(migration=spec.id, destination="b") in commands
    assert 1 == len(texts(commands))


def test_a_copy_that_ends_before_the_commit_never_gets_the_vm():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    event = VmEnded(vm="v", epoch=2, reason="its process ended")
    assert [CancelMigration(migration=spec.id, source="a")] == hand.acts(event)
    reason = "the copy on b ended: its process ended"
    assert RefuseCommit(migration=spec.id, reason=reason) == hand.commit(spec)
    assert PowerState.ON is hand.state.vms["v"].power


def test_a_vm_that_ends_after_the_commit_is_off():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    assert [] == hand.acts(VmEnded(vm="v", epoch=2, reason="raised"))
    hand.send(ended(spec))
    assert (PowerState.OFF, None) == (hand.state.vms["v"].power, hand.state.vms["v"].host)


def test_the_sources_frozen_vm_ends_without_a_word():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    assert () == hand.send(VmEnded(vm="v", epoch=1, reason="its process ended"))
    assert PowerState.ON is hand.state.vms["v"].power


def test_a_lost_migration_leaves_no_vm():
    """The destination refused to resume: it has no such VM."""
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.commit(spec)
    assert "v powered off: lost with its migration: Resume refused" in hand.notes(
        ended(spec, Result.LOST, "Resume refused")
    )
    assert Owner(epoch=2, host=None) == hand.state.ownership.get("v")


# Cancelling, powering off, stopping.


def test_a_waiting_migration_is_cancelled_at_once():
    hand = three_hosts(vm("v", "a"), vm("w", "a"), migration=LIMITS_OF_ONE)
    hand.begun("v", "b")
    hand.request("w", "b")
    assert ["w → b: refused, cancelled before it began"] == hand.notes(CancelRequested(vm="w"))
    assert hand.state.migration_of("w") is None


def test_a_running_migration_is_asked_to_stop_and_ends_when_it_says_so():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    assert [CancelMigration(migration=spec.id, source="a")] == hand.acts(CancelRequested(vm="v"))
    assert hand.state.migration_of("v") is not None
    assert ["v a → b: aborted, cancelled"] == hand.notes(ended(spec, Result.ABORTED, "cancelled"))


def test_cancelling_nothing_is_said():
    assert ["v is not migrating"] == two_hosts().notes(CancelRequested(vm="v"))


def at_5(kind: TimedKind, **fields) -> dict:
    return {"events": (TimedEvent(at_s=5.0, kind=kind, vms=("v",), **fields),)}


def test_a_vm_that_is_to_be_off_stops_migrating_first():
    hand = two_hosts(vm("v", "a"), **at_5(TimedKind.POWER_OFF))
    spec = hand.begun("v", "b")
    assert [CancelMigration(migration=spec.id, source="a")] == hand.acts(Ticked(), at=5.0)
    assert PowerOff(vm="v", host="a") in hand.send(ended(spec, Result.ABORTED, "cancelled"))
    assert PowerState.OFF is hand.state.vms["v"].power


def test_a_vm_that_is_to_be_off_too_late_to_cancel_ends_on_the_destination():
    hand = two_hosts(vm("v", "a"), **at_5(TimedKind.POWER_OFF))
    spec = hand.begun("v", "b")
    hand.commit(spec)
    hand.send(Ticked(), at=5.0)
    assert PowerOff(vm="v", host="b") in hand.send(ended(spec))


def test_stopping_starts_nothing_and_lets_the_rest_end():
    hand = three_hosts(vm("v", "a"), vm("w", "a"), migration=LIMITS_OF_ONE)
    spec = hand.begun("v", "b", onward="c")
    hand.request("w", "c")
    assert ["w → c: refused, the cluster is stopping"] == hand.notes(Stopping())
    assert ["w → c: refused, the cluster is stopping"] == texts(hand.request("w", "c"))
    assert isinstance(hand.commit(spec), GrantCommit)
    assert [] == ids(hand.send(ended(spec)))
    assert hand.center.wake_at is None


# What the scenario changes.


def test_demand_that_changes_during_a_migration_arrives_with_the_vm():
    hand = two_hosts(vm("v", "a"), **at_5(TimedKind.DEMAND, demand=Constant(mhz=50.0)))
    spec = hand.begun("v", "b")
    demand = {"vm": "v", "demand": Constant(mhz=50.0), "from_s": 5.0}
    assert [SetDemand(host="a", **demand)] == hand.acts(Ticked(), at=5.25)
    assert SetDemand(host="b", **demand) in hand.complete(spec)


def test_events_of_one_moment_happen_in_the_files_order():
    events = (
        TimedEvent(at_s=5.0, kind=TimedKind.MIGRATE, vms=("v",), destination="b"),
        TimedEvent(at_s=5.0, kind=TimedKind.CANCEL, vms=("v",)),
        TimedEvent(at_s=3.0, kind=TimedKind.CANCEL, vms=("v",)),
    )
    hand = two_hosts(vm("v", "a"), events=events)
    assert 3.0 == hand.center.wake_at
    assert ["v is not migrating"] == hand.notes(Ticked(), at=3.0)
    first, second = hand.acts(Ticked(), at=5.0)
    assert (StartMigration, CancelMigration) == (type(first), type(second))
    assert Trigger.SCENARIO is first.spec.trigger


# What is learnt.


def test_the_overhead_is_learnt_from_switchovers_that_worked():
    hand = two_hosts()
    spec = hand.begun("v", "b")
    hand.complete(spec, downtime=Downtime(commit_s=0.03, copy_s=5.0))
    assert pytest.approx(0.7 * 0.01 + 0.3 * 0.03) == hand.state.overhead_s


def test_one_stalled_switchover_does_not_forbid_all_others():
    hand = two_hosts(migration=MigrationSettings(downtime_s_max=0.3))
    spec = hand.begun("v", "b")
    hand.send(ended(spec, Result.ABORTED, "stalled", downtime=slow(30.0)))
    assert 0.01 == hand.state.overhead_s
    hand.complete(hand.begun("v", "b"), downtime=slow(30.0))
    assert 0.15 == hand.begun("v", "a").overhead_s
