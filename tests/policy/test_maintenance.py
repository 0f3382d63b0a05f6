"""Maintenance mode: a host empties, or says what keeps it from it."""

import numpy as np
import pytest

from cluster.inventory.model import (
    Automation,
    DrsSettings,
    MigrationSettings,
    RuleKind,
    RuleSpec,
)
from cluster.migration.spec import Result, Trigger
from cluster.policy.maintenance import RETRY_S, blocked
from cluster.policy.messages import (
    HostConnected,
    HostFailed,
    MaintenanceCancelled,
    MaintenanceEnded,
    MaintenanceRequested,
    MigrationEnded,
    Recommended,
    Record,
    RefuseCommit,
    Solve,
    SolveFailed,
    StartMigration,
    Stopping,
    Ticked,
    VmEnded,
)
from cluster.policy.state import HostState
from drs import StepBudget, recommend
from tests.policy.building import Hand, host, outcome, scenario, vm

MANUAL = DrsSettings(automation=Automation.MANUAL)


class Drained(Hand):
    """A Center whose DRS is the real one, and whose migrations are done at once."""

    def run(self, event) -> list[str]:
        """Carry everything out; return the story."""
        told: list[str] = []
        todo = list(self.send(event))
        for _ in range(1000):
            if not todo:
                return told
            command = todo.pop(0)
            match command:
                case Record():
                    told.append(command.text)
                case Solve():
                    todo += self.answer(command)
                case StartMigration(spec=spec):
                    self.commit(spec)
                    todo += self.send(MigrationEnded(migration=spec.id, outcome=outcome()))
        raise AssertionError("it never ends")

    def answer(self, asked: Solve):
        plan = recommend(
            asked.snapshot,
            asked.policy,
            now=self.now,
            rng=np.random.default_rng(asked.seed),
            budget=StepBudget(steps=2000),
        )
        return self.send(Recommended(solve=asked.solve, plan=plan, solve_s=0.1))


def enter(name: str = "a", **fields) -> MaintenanceRequested:
    return MaintenanceRequested(host=name, **fields)


def cluster(vms, hosts="abc", **fields) -> Drained:
    hand = Drained(scenario(hosts, vms, **fields))
    hand.up()
    return hand


def state(hand: Hand, name: str = "a") -> HostState:
    return hand.state.hosts[name].state


@pytest.mark.parametrize("drs", [DrsSettings(enabled=False), DrsSettings(), MANUAL])
def test_a_host_is_evacuated_by_the_plan_of_drs(drs):
    """Also when DRS is off, or only recommends: whoever asked has consented."""
    vms = [vm(f"v{i}", "a") for i in range(4)] + [vm("w", "b", memory_mib=512)]
    hand = cluster(vms, drs=drs)
    told = hand.run(enter())
    assert "a is entering maintenance mode" == told[0]
    assert "a is in maintenance mode" == told[-1]
    assert HostState.MAINTENANCE is state(hand)
    assert "a" not in hand.where().values()
    memory = [
        sum(v.spec.memory_mib for v in hand.state.vms.values() if v.host == name) for name in "bc"
    ]
    assert max(memory) <= 1024


def test_its_migrations_are_for_maintenance_and_within_limits():
    vms = [vm(f"v{i}", "a") for i in range(4)]
    hand = cluster(vms, migration=MigrationSettings(per_host_max=2))
    (asked,) = hand.acts(enter())
    commands = hand.answer(asked)
    specs = [c.spec for c in commands if isinstance(c, StartMigration)]
    assert [Trigger.MAINTENANCE] * 2 == [spec.trigger for spec in specs]
    assert 4 == len(hand.state.migrations)
    assert "so that a can enter maintenance mode" in specs[0].reason


def test_an_empty_host_is_in_maintenance_mode_at_once():
    hand = cluster([vm("v", "b")])
    assert ["a is entering maintenance mode", "a is in maintenance mode"] == hand.notes(enter())


def test_no_vm_goes_to_a_host_that_enters_or_is_in_maintenance_mode():
    hand = cluster([vm("v", "a"), vm("w", "b")])
    hand.send(enter())
    assert HostState.ENTERING_MAINTENANCE is state(hand)
    (refused,) = hand.request("w", "a")
    assert "w → a: refused, a is entering maintenance mode" == refused.text
    assert "c" == hand.begun("w", None).destination


def test_a_migration_into_the_host_is_stopped_before_its_commit():
    hand = cluster([vm("v", "a"), vm("w", "b")])
    spec = hand.begun("w", "a")
    hand.send(enter())
    reason = "a is entering maintenance mode"
    assert RefuseCommit(migration=spec.id, reason=reason) == hand.commit(spec)


def test_a_migration_into_the_host_that_has_committed_goes_on_from_there():
    hand = cluster([vm("v", "b")])
    spec = hand.begun("v", "a")
    hand.commit(spec)
    hand.send(enter())
    assert HostState.ENTERING_MAINTENANCE is state(hand)
    hand.run(MigrationEnded(migration=spec.id, outcome=outcome()))
    hand.now = hand.center.wake_at
    assert "a is in maintenance mode" == hand.run(Ticked())[-1]


def test_vms_that_cannot_go_are_named_with_what_blocks_them():
    rule = RuleSpec(name="apart", kind=RuleKind.ANTI_AFFINITY, vms=("w", "x"))
    vms = [
        vm("v", "a", cpu_affinity=(0,)),
        vm("w", "a"),
        vm("x", "b"),
        vm("y", "a"),
    ]
    hand = cluster(vms, hosts=["a", "b", host("c", datastores=())], rules=(rule,))
    told = hand.run(enter())
    (text,) = (text for text in told if "cannot be evacuated" in text)
    assert "v is bound to CPU 0 of its host" in text
    assert "w, x are together on b" in text
    assert "c does not reach shared" in text
    assert {"v": "a", "w": "a", "x": "b", "y": "b"} == hand.where()
    assert HostState.ENTERING_MAINTENANCE is state(hand)
    assert ["v", "w"] == [one.vm for one in blocked(hand.state, "a")]


def test_a_waiting_host_is_tried_again_and_says_only_what_is_new():
    hand = cluster([vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800)], hosts="ab")
    hand.run(enter())
    assert hand.now + RETRY_S >= hand.center.wake_at
    hand.now = hand.center.wake_at
    again = hand.run(Ticked())
    assert any("DRS" in text for text in again)
    assert not [text for text in again if "cannot be evacuated" in text]
    hand.send(VmEnded(vm="w", epoch=1, reason="shut down"))
    hand.now = hand.center.wake_at
    assert "a is in maintenance mode" == hand.run(Ticked())[-1]


def test_a_host_that_does_not_wait_gives_up_with_the_reasons():
    hand = cluster([vm("v", "a", memory_mib=800), vm("w", "b", memory_mib=800)], hosts="ab")
    told = hand.run(enter(wait=False))
    assert [
        "a cannot be evacuated: v (b has 224 MiB left, v needs 800)",
        "a is not entering maintenance mode any more: given up",
    ] == told[-2:]
    assert HostState.CONNECTED is state(hand)


def test_a_plan_made_before_the_request_does_not_end_it():
    vms = [vm("v", "a")]
    hand = cluster(vms, drs=DrsSettings(interval_s=5.0, plan_age_s_max=10.0))
    (asked,) = hand.acts(Ticked(), at=5.0)
    assert [] == hand.acts(enter(wait=False), at=6.0)
    commands = hand.answer(asked)
    assert HostState.ENTERING_MAINTENANCE is state(hand)
    # The stale plan has no move for the host, and a new one is asked for.
    (second,) = (c for c in commands if not isinstance(c, Record))
    assert isinstance(second, Solve)
    assert any(isinstance(c, StartMigration) for c in hand.answer(second))


def test_a_failed_solve_is_asked_again():
    hand = cluster([vm("v", "a")])
    (asked,) = hand.acts(enter())
    hand.send(SolveFailed(solve=asked.solve, reason="worker died"))
    assert hand.now + RETRY_S == hand.center.wake_at
    hand.now = hand.center.wake_at
    assert "a is in maintenance mode" in hand.run(Ticked())


def test_cancelling_lets_the_host_take_vms_again():
    vms = [vm(f"v{i}", "a") for i in range(3)]
    hand = cluster(vms, migration=MigrationSettings(per_host_max=1))
    (asked,) = hand.acts(enter())
    hand.answer(asked)
    told = hand.notes(MaintenanceCancelled(host="a"))
    assert "a is not entering maintenance mode any more: cancelled" == told[0]
    assert 2 == len([text for text in told if "a is not evacuated any more" in text])
    assert 1 == len(hand.state.migrations)
    assert HostState.CONNECTED is state(hand)


def test_leaving_maintenance_mode_lets_the_host_take_vms_again():
    hand = cluster([vm("v", "a")])
    hand.run(enter())
    assert ["a has exited maintenance mode"] == hand.notes(MaintenanceEnded(host="a"))
    hand.complete(hand.begun("v", "a"))
    assert {"v": "a"} == hand.where()


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (enter("nowhere"), "there is no host nowhere"),
        (MaintenanceCancelled(host="a"), "a is not entering maintenance mode"),
        (MaintenanceEnded(host="a"), "a is not in maintenance mode"),
        (MaintenanceEnded(host="nowhere"), "nowhere is not in maintenance mode"),
    ],
)
def test_what_cannot_be_is_refused(event, text):
    assert [text] == cluster([vm("v", "a")]).notes(event)


def test_a_host_that_does_not_answer_cannot_enter():
    hand = cluster([vm("v", "a")])
    hand.send(HostFailed(host="b", reason="died"))
    assert ["b cannot enter maintenance mode: it is not responding"] == hand.notes(enter("b"))


def test_a_host_that_fails_while_it_enters_is_failed():
    hand = cluster([vm("v", "a")])
    hand.send(enter())
    hand.send(HostFailed(host="a", reason="died"))
    assert HostState.NOT_RESPONDING is state(hand)


def test_a_host_that_connects_again_stays_in_maintenance_mode():
    hand = cluster([vm("v", "b")])
    hand.send(enter())
    hand.send(HostConnected(host="a", serves_faults=True))
    assert HostState.MAINTENANCE is state(hand)


def test_a_host_that_is_rebooted_in_maintenance_mode_comes_back_in_it():
    hand = cluster([vm("v", "b")])
    hand.send(enter())
    hand.send(HostFailed(host="a", reason="rebooted"))
    assert HostState.NOT_RESPONDING is state(hand)
    hand.send(HostConnected(host="a", serves_faults=True))
    assert HostState.MAINTENANCE is state(hand)
    hand.send(MaintenanceEnded(host="a"))
    hand.send(HostFailed(host="a", reason="rebooted"))
    hand.send(HostConnected(host="a", serves_faults=True))
    assert HostState.CONNECTED is state(hand)


def test_an_aborted_evacuation_is_tried_again():
    hand = cluster([vm("v", "a")])
    (asked,) = hand.acts(enter())
    hand.answer(asked)
    spec = hand.state.migration_of("v").spec
    hand.send(MigrationEnded(migration=spec.id, outcome=outcome(Result.ABORTED, "stalled")))
    assert hand.center.wake_at is not None
    hand.now = hand.center.wake_at
    assert "a is in maintenance mode" in hand.run(Ticked())


def test_nothing_is_evacuated_while_the_cluster_stops():
    hand = cluster([vm("v", "a")])
    (asked,) = hand.acts(enter())
    hand.send(Stopping())
    assert () == hand.answer(asked)
    assert ["b stays as it is: the cluster is stopping"] == hand.notes(enter("b"))
    assert hand.center.wake_at is None


def test_every_host_in_turn_and_no_vm_stops():
    """Rolling maintenance over 4 hosts and 16 VMs."""
    vms = [vm(f"v{i:02d}", "abcd"[i % 4], memory_mib=150) for i in range(16)]
    hand = cluster(vms, hosts="abcd")
    for name in "abcd":
        assert "is in maintenance mode" in hand.run(enter(name))[-1]
        assert name not in hand.where().values()
        hand.run(MaintenanceEnded(host=name))
    assert None not in hand.where().values()
    assert {1} != {record.epoch for record in hand.state.vms.values()}
