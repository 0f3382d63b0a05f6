"""Tasks follow the story: what was asked for, and what became of it."""

from cluster.migration.spec import Result, Trigger
from cluster.policy.messages import (
    Asked,
    CancelRequested,
    DrsConfigured,
    MaintenanceCancelled,
    MaintenanceEnded,
    MaintenanceRequested,
    MigrationEnded,
    MigrationRequested,
    PassRequested,
    PowerOffRequested,
    PowerOn,
    PowerOnRequested,
    StartMigration,
    VmStarted,
)
from cluster.policy.tasks import KINDS, TaskState
from tests.policy.building import LIMITS_OF_ONE, Hand, outcome, scenario, vm


def cluster(**fields):
    vms = [vm("x", "a"), vm("y", "a"), vm("z", "b")]
    return Hand(scenario(["a", "b", "c"], vms, **fields)).up()


def ask(hand, wish, key="k"):
    commands = hand.send(Asked(key=key, by="operator", wish=wish))
    return hand.center.tasks.asked_before(key), commands


def migrate(name, to):
    return MigrationRequested(vm=name, destination=to, trigger=Trigger.USER)


def now(hand, task):
    return hand.center.tasks.get(task.id)


def end(hand, commands, result=Result.COMPLETED, error=""):
    (spec,) = (c.spec for c in commands if isinstance(c, StartMigration))
    if result is Result.COMPLETED:
        hand.commit(spec)
    hand.send(MigrationEnded(migration=spec.id, outcome=outcome(result, error)))


def test_a_migration_runs_and_is_done_with_the_storys_sentence():
    hand = cluster()
    task, commands = ask(hand, migrate("x", "b"))
    assert (TaskState.RUNNING, "m0001", "operator") == (task.state, task.migration, task.by)
    end(hand, commands)

    assert (TaskState.DONE, "x a → b: completed") == (now(hand, task).state, now(hand, task).text)


def test_a_migration_that_waits_says_what_for_and_runs_later():
    hand = cluster(migration=LIMITS_OF_ONE)
    _, first = ask(hand, migrate("x", "b"), "one")
    task, _ = ask(hand, migrate("y", "b"), "two")
    assert (TaskState.QUEUED, "waits for a slot at a") == (task.state, task.text)
    end(hand, first)

    assert TaskState.RUNNING is now(hand, task).state


def test_a_refusal_and_an_abort_fail_it_with_the_reason():
    hand = cluster()
    refused, _ = ask(hand, migrate("x", "a"), "one")
    task, commands = ask(hand, migrate("x", "b"), "two")
    end(hand, commands, Result.ABORTED, "the link was cut")

    assert TaskState.FAILED is refused.state
    assert "x runs on a already" in refused.text
    assert TaskState.FAILED is now(hand, task).state
    assert "the link was cut" in now(hand, task).text


def test_a_second_wish_for_the_same_vm_fails_alone():
    hand = cluster()
    first, commands = ask(hand, migrate("x", "b"), "one")
    second, _ = ask(hand, migrate("x", "c"), "two")
    assert (TaskState.RUNNING, TaskState.FAILED) == (now(hand, first).state, second.state)
    end(hand, commands)

    assert TaskState.DONE is now(hand, first).state


def test_heard_twice_it_is_done_once():
    hand = cluster()
    task, _ = ask(hand, migrate("x", "b"))
    again, commands = ask(hand, migrate("x", "b"))

    assert (task, ()) == (again, commands)


def test_a_cancel_is_done_when_the_migration_is_aborted_and_fails_when_it_came_too_late():
    for result, state in ((Result.ABORTED, TaskState.DONE), (Result.COMPLETED, TaskState.FAILED)):
        hand = cluster()
        _, commands = ask(hand, migrate("x", "b"), "one")
        task, _ = ask(hand, CancelRequested(vm="x"), "two")
        assert TaskState.RUNNING is task.state
        end(hand, commands, result)

        assert state is now(hand, task).state


def test_a_cancel_of_nothing_fails_at_once():
    task, _ = ask(cluster(), CancelRequested(vm="x"))
    assert (TaskState.FAILED, "x is not migrating") == (task.state, task.text)


def test_maintenance_ends_when_the_host_is_empty_and_exit_at_once():
    hand = cluster()
    task, _ = ask(hand, MaintenanceRequested(host="c"))
    leaving, _ = ask(hand, MaintenanceEnded(host="c"), "two")

    assert (TaskState.DONE, "c is in maintenance mode") == (task.state, task.text)
    assert TaskState.DONE is leaving.state


def test_maintenance_of_a_full_host_goes_on_until_it_is_cancelled():
    hand = cluster()
    task, _ = ask(hand, MaintenanceRequested(host="a"))
    assert TaskState.RUNNING is task.state
    cancel, _ = ask(hand, MaintenanceCancelled(host="a"), "two")

    assert TaskState.FAILED is now(hand, task).state
    assert TaskState.DONE is cancel.state


def test_settings_are_done_at_once_and_a_pass_of_drs_that_is_off_is_refused():
    hand = cluster()
    run, _ = ask(hand, PassRequested(), "one")
    task, _ = ask(hand, DrsConfigured(changes=(("enabled", True), ("threshold", 5))), "two")

    assert (TaskState.FAILED, "DRS is off") == (run.state, run.text)
    assert (TaskState.DONE, "DRS is fully, migration threshold 5") == (task.state, task.text)


def test_power_off_and_on_again():
    hand = cluster()
    off, _ = ask(hand, PowerOffRequested(vm="x"), "off")
    on, commands = ask(hand, PowerOnRequested(vm="x", host="c"), "on")
    (order,) = (c for c in commands if isinstance(c, PowerOn))
    assert (TaskState.DONE, TaskState.RUNNING, "c") == (off.state, on.state, order.host)
    hand.send(VmStarted(vm="x", epoch=order.epoch))

    assert (TaskState.DONE, "x powered on, c") == (now(hand, on).state, now(hand, on).text)


def test_power_on_of_what_is_on_and_power_off_of_what_is_off_fail():
    hand = cluster()
    on, _ = ask(hand, PowerOnRequested(vm="x"), "on")
    ask(hand, PowerOffRequested(vm="y"), "off")
    off, _ = ask(hand, PowerOffRequested(vm="y"), "again")

    assert (TaskState.FAILED, "x is not powered on: it is powered on") == (on.state, on.text)
    assert (TaskState.FAILED, "y: it is powered off") == (off.state, off.text)


def test_migrations_that_nobody_asked_for_are_tasks_of_who_wanted_them():
    hand = cluster()
    wish = MigrationRequested(vm="x", destination="b", trigger=Trigger.DRS, reason="evens out")
    hand.send(wish)
    (task,) = hand.center.tasks.all()

    assert ("migrate", "x", "drs", "evens out") == (task.kind, task.subject, task.by, task.text)


def test_ended_tasks_are_forgotten_some_day_and_those_under_way_are_not():
    hand = cluster()
    first, _ = ask(hand, MaintenanceRequested(host="a"), "first")
    for number in range(1100):
        ask(hand, CancelRequested(vm="x"), f"{number}")
    kept = hand.center.tasks.all()

    assert 1001 == len(kept)
    assert first == kept[0]
    assert hand.center.tasks.asked_before("0") is None


def test_every_kind_has_a_name_of_its_own():
    assert len({kind.name for kind in KINDS.values()}) == len(KINDS)
