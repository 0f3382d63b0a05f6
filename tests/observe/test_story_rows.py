"""An entry of VirtualCenter's story as a row, for either engine."""

from cluster.inventory.model import HostSpec, MigrationSettings, Mode, Scenario
from cluster.migration.spec import Result, Trigger
from cluster.observe.record import EventKind
from cluster.observe.story_rows import event_row, refused_row
from cluster.policy.messages import Record, Topic

SCENARIO = Scenario(
    name="s",
    duration_s=1.0,
    hosts=(HostSpec(name="a", cpu_mhz=1.0, memory_mib=1),),
    migration=MigrationSettings(mode=Mode.HYBRID),
)
REFUSED = Record(
    topic=Topic.MIGRATION,
    what="refused",
    text="v → b: refused: no room",
    fields=(("vm", "v"), ("destination", "b"), ("trigger", "drs"), ("reason", "no room")),
)


def test_vm_and_host_stand_apart_from_the_details():
    record = Record(
        topic=Topic.VM,
        what="powered_on",
        text="v powered on, a",
        fields=(("vm", "v"), ("host", "a"), ("epoch", 1)),
    )
    row = event_row(2.5, record)
    assert (2.5, EventKind.VM_POWERED_ON, "v", "a") == (row.time_s, row.kind, row.vm, row.host)
    assert {"epoch": 1} == row.details


def test_what_has_no_kind_of_its_own_is_a_note():
    record = Record(topic=Topic.DRS, what="plan_dropped", text="too old")
    assert EventKind.NOTE is event_row(0.0, record).kind


def test_every_end_of_a_migration_is_an_end():
    kinds = {
        event_row(0.0, Record(topic=Topic.MIGRATION, what=result.value, text="")).kind
        for result in Result
    }
    assert {EventKind.MIGRATION_ENDED} == kinds


def test_a_refused_migration_has_a_row_although_it_never_ends():
    row = refused_row(7.0, REFUSED, SCENARIO)
    assert row is not None
    assert (Result.REFUSED, Trigger.DRS, Mode.HYBRID) == (row.result, row.trigger, row.mode)
    assert ("v", "", "b", "no room") == (row.vm, row.source, row.destination, row.error)


def test_other_entries_have_none():
    record = Record(topic=Topic.MIGRATION, what="started", text="")
    assert refused_row(0.0, record, SCENARIO) is None
