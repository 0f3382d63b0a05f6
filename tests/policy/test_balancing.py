"""DRS in operation: when it looks, what it sees, and what becomes of its plan."""

from dataclasses import replace

import numpy as np
import pytest

from cluster.inventory.demand import Constant
from cluster.inventory.model import (
    Automation,
    DrsSettings,
    MigrationSettings,
    RuleKind,
    RuleSpec,
)
from cluster.policy.balancing import policy_of
from cluster.policy.messages import (
    HostConnected,
    MigrationEnded,
    Recommended,
    Record,
    Solve,
    SolveFailed,
    StartMigration,
    Stopping,
    Ticked,
    VmEnded,
)
from cluster.policy.snapshot import snapshot_of
from cluster.policy.state import PowerState
from drs import (
    Action,
    HostState,
    Move,
    Plan,
    PlanStatus,
    Reason,
    Recommendation,
    StepBudget,
    recommend,
)
from drs import Automation as DrsAutomation
from tests.policy.building import SLOW_CARD, Hand, host, outcome, scenario, vm

DRS = DrsSettings(interval_s=10.0, plan_age_s_max=30.0, cooldown_s=0.0)


def crowded(**drs) -> Hand:
    """Four VMs on a, none on b and c."""
    vms = [vm(f"v{i}", "a", demand=Constant(mhz=200.0)) for i in range(4)]
    return Hand(scenario("abc", vms, drs=replace(DRS, **drs))).up()


def solve(hand: Hand, *, at: float = 10.0) -> Solve:
    (command,) = hand.acts(Ticked(), at=at)
    assert isinstance(command, Solve)
    return command


def test_a_snapshot_says_when_it_was_taken():
    """A dump of it, looked at tomorrow, still knows which VMs rested then."""
    assert 10.0 == solve(crowded()).snapshot.taken_at_s


def move(vm: int, source: int, destination: int) -> Move:
    return Move(vm=vm, source=source, destination=destination)


def plan(*moves: Move, automatic: bool = True) -> Plan:
    """A plan with one recommendation for each VM and one action for each move."""
    last = {m.vm: m for m in moves}
    return Plan(
        status=PlanStatus.OK,
        recommendations=tuple(
            Recommendation(
                move=m,
                priority=3,
                reason=Reason.BALANCE,
                sentence="balance",
                imbalance_before=0.3,
                imbalance_after=0.1,
                benefit_s=2.0,
                cost_s=1.0,
                automatic=automatic,
            )
            for m in last.values()
        ),
        actions=tuple(
            Action(move=m, order=at, start_s=float(at), end_s=at + 1.0)
            for at, m in enumerate(moves)
        ),
        imbalance_before=0.3,
        imbalance_after=0.1,
    )


def answer(hand: Hand, asked: Solve, made: Plan, *, at: float | None = None):
    return hand.send(Recommended(solve=asked.solve, plan=made, solve_s=0.1), at=at)


def started(commands) -> list[tuple[str, str]]:
    return [(c.spec.vm, c.spec.destination) for c in commands if isinstance(c, StartMigration)]


# When it looks.


def test_it_looks_every_interval():
    hand = crowded()
    assert 10.0 == hand.center.wake_at
    asked = solve(hand)
    assert 20.0 == hand.center.wake_at
    answer(hand, asked, Plan(status=PlanStatus.NOTHING_WORTH_DOING), at=11.0)
    assert 2 == solve(hand, at=20.0).solve


def test_a_tick_too_early_asks_nothing():
    assert [] == crowded().acts(Ticked(), at=9.0)


def test_one_solve_at_a_time():
    hand = crowded()
    solve(hand)
    assert [] == hand.acts(Ticked(), at=20.0)
    # Nobody has answered for as long as a plan may be old.
    assert 2 == solve(hand, at=40.0).solve


def test_a_solve_that_failed_is_said_and_tried_again():
    hand = crowded()
    asked = solve(hand)
    assert ["DRS has no plan: worker died"] == hand.notes(
        SolveFailed(solve=asked.solve, reason="worker died"), at=11.0
    )
    assert () == hand.send(SolveFailed(solve=asked.solve, reason="again"), at=11.0)
    solve(hand, at=20.0)


def test_it_does_not_look_when_it_is_off_or_stopping():
    assert Hand(scenario("ab", [])).up().center.wake_at is None
    hand = crowded()
    asked = solve(hand)
    hand.send(Stopping(), at=11.0)
    assert hand.center.wake_at is None
    assert () == answer(hand, asked, plan(move(0, 0, 1)))


# What becomes of a plan.


def test_a_plan_is_carried_out_in_its_order():
    hand = crowded()
    commands = answer(hand, solve(hand), plan(move(2, 0, 1), move(0, 0, 2)), at=11.0)
    assert [("v2", "b"), ("v0", "c")] == started(commands)


def test_a_plan_too_old_is_dropped():
    hand = crowded()
    asked = solve(hand)
    commands = answer(hand, asked, plan(move(0, 0, 1)), at=40.5)
    assert ["a plan of 30.5 s is too old and was dropped"] == [
        c.text for c in commands if isinstance(c, Record)
    ]
    assert [] == started(commands)


def test_a_plan_that_was_not_asked_for_is_dropped():
    hand = crowded()
    asked = solve(hand)
    made = plan(move(0, 0, 1))
    assert () == hand.send(Recommended(solve=asked.solve + 1, plan=made, solve_s=0.1))
    answer(hand, asked, made)
    assert () == answer(hand, asked, made)


def test_what_needs_consent_is_only_recommended():
    hand = crowded(automation=Automation.MANUAL)
    asked = solve(hand)
    assert DrsAutomation.MANUAL is asked.policy.automation
    commands = answer(hand, asked, plan(move(0, 0, 1), automatic=False), at=11.0)
    assert [] == started(commands)
    (note,) = commands
    assert "1 recommendation, 0 applied" in note.text
    assert (("v0", "b", 3, "balance"),) == dict(note.fields)["recommendations"]


def test_the_real_drs_only_recommends_under_manual_automation():
    hand = crowded(automation=Automation.MANUAL)
    hand.load("a", v0=200.0, v1=200.0, v2=200.0, v3=200.0)
    asked = solve(hand)
    made = recommend(
        asked.snapshot,
        asked.policy,
        now=10.0,
        rng=np.random.default_rng(asked.seed),
        budget=StepBudget(steps=2000),
    )
    assert made.recommendations
    assert [] == started(answer(hand, asked, made))


def test_a_vm_that_stops_on_a_third_host_goes_on_from_there():
    hand = crowded()
    commands = answer(hand, solve(hand), plan(move(0, 0, 2), move(0, 2, 1)), at=11.0)
    assert [("v0", "c")] == started(commands)
    first = hand.state.migration_of("v0").spec
    hand.commit(first)
    commands = hand.send(MigrationEnded(migration=first.id, outcome=outcome()))
    assert [("v0", "b")] == started(commands)
    assert "balance" == hand.state.migration_of("v0").spec.reason


def test_a_vm_that_has_moved_meanwhile_is_left_to_the_next_pass():
    hand = crowded()
    asked = solve(hand)
    hand.complete(hand.begun("v0", "c"))
    assert [] == started(answer(hand, asked, plan(move(0, 0, 1))))


# What it sees.


def test_demand_is_the_mean_over_the_window():
    hand = Hand(scenario("ab", [vm("v", "a"), vm("w", "a")], drs=replace(DRS, window_s=2.5))).up()
    for mhz in (100.0, 200.0, 300.0, 400.0):
        hand.load("a", v=mhz)
    # At second 4; the sample of second 1 is too old.
    assert [300.0, 0.0] == snapshot_of(hand.state).demand[:, 0].tolist()


def test_samples_of_a_host_that_has_lost_the_vm_do_not_count():
    hand = Hand(scenario("ab", [vm("v", "a")])).up()
    hand.load("b", v=100.0)
    assert 0.0 == hand.state.vms["v"].demand_mhz()


def test_a_migrating_vm_is_on_its_source_until_the_end():
    hand = crowded()
    spec = hand.begun("v1", "b")
    for _ in range(2):
        snapshot = snapshot_of(hand.state)
        assert (0, ((1, 1),)) == (int(snapshot.placement[1]), snapshot.in_flight)
        assert ("a", "b") == snapshot.occupancy()["v1"]
        hand.commit(spec)
    hand.send(MigrationEnded(migration=spec.id, outcome=outcome()))
    snapshot = snapshot_of(hand.state)
    assert (1, ()) == (int(snapshot.placement[1]), snapshot.in_flight)


def test_rules_bind_the_vms_that_are_on():
    rule = RuleSpec(name="apart", kind=RuleKind.ANTI_AFFINITY, vms=("v", "w", "x"))
    hand = Hand(scenario("abc", [vm("v", "a"), vm("w", "b"), vm("x", "c")], rules=(rule,))).up()
    hand.send(VmEnded(vm="x", epoch=1, reason="off"))
    snapshot = snapshot_of(hand.state)
    assert (("v", "w"), ()) == (snapshot.rules[0].vms, snapshot.problems())


def test_a_vm_that_starts_takes_its_room_and_stays():
    hand = Hand(scenario("a", [vm("v", "a")]))
    hand.send(HostConnected(host="a", serves_faults=False))
    assert PowerState.STARTING is hand.state.vms["v"].power
    snapshot = snapshot_of(hand.state)
    assert (("v",), (DrsAutomation.DISABLED,)) == (snapshot.vms, snapshot.automation)


def test_hosts_of_another_cpu_family_or_without_its_datastore_are_not_allowed():
    hosts = ["a", "b", host("alien", cpu_family="other"), host("cut", datastores=())]
    hand = Hand(scenario(hosts, [vm("v", "a"), vm("w", "alien")])).up()
    assert [[True, True, False, False], [False, False, True, False]] == snapshot_of(
        hand.state
    ).allowed.tolist()


def test_only_connected_hosts_count():
    hand = Hand(scenario("ab", []))
    hand.send(HostConnected(host="a", serves_faults=False))
    assert (HostState.CONNECTED, HostState.NOT_RESPONDING) == snapshot_of(hand.state).host_states


def test_the_balance_is_what_drs_compares():
    hand = crowded()
    assert 0.0 < hand.center.balance().imbalance
    assert ["cpu_mhz", "memory_mib"] == [name for name, _ in hand.center.balance().by_resource]
    assert 0 == hand.center.balance().rule_violations


def test_an_empty_cluster_is_even():
    assert 0.0 == Hand(scenario("ab", [])).up().center.balance().imbalance


@pytest.mark.parametrize(("hosts", "most"), [(["a", "b"], 8), (["a", host("b", nic=SLOW_CARD)], 4)])
def test_drs_counts_on_the_slowest_cards_slots(hosts, most):
    assert most == policy_of(scenario(hosts, [])).concurrent_per_host_max


def test_drs_counts_on_the_limit_that_the_scenario_names():
    settings = MigrationSettings(per_host_max=2)
    assert 2 == policy_of(scenario("ab", [], migration=settings)).concurrent_per_host_max
