"""VirtualCenter's story as rows: the same entry becomes the same row in both engines."""

from cluster.inventory.model import Scenario
from cluster.migration.spec import MigrationSpec, Trigger, not_begun
from cluster.observe.record import EventKind, EventRow, MigrationRow, migration_row
from cluster.policy.messages import Record, Topic

_KINDS = {
    (Topic.VM, "powered_on"): EventKind.VM_POWERED_ON,
    (Topic.VM, "powered_off"): EventKind.VM_POWERED_OFF,
    (Topic.VM, "power_on_failed"): EventKind.VM_FAILED,
    (Topic.VM, "failed"): EventKind.VM_FAILED,
    (Topic.VM, "demand_changed"): EventKind.DEMAND_CHANGED,
    (Topic.DRS, "pass"): EventKind.DRS_PASSED,
    (Topic.MIGRATION, "started"): EventKind.MIGRATION_STARTED,
    (Topic.MIGRATION, "completed"): EventKind.MIGRATION_ENDED,
    (Topic.MIGRATION, "aborted"): EventKind.MIGRATION_ENDED,
    (Topic.MIGRATION, "lost"): EventKind.MIGRATION_ENDED,
    (Topic.MIGRATION, "refused"): EventKind.MIGRATION_ENDED,
    (Topic.HOST, "connected"): EventKind.HOST_CHANGED,
    (Topic.HOST, "failed"): EventKind.HOST_CHANGED,
}


def event_row(time_s: float, record: Record) -> EventRow:
    """Return an entry of the story as a line of events.jsonl; VM and host leave its details."""
    fields = dict(record.fields)
    vm, host = fields.pop("vm", None), fields.pop("host", None)
    return EventRow(
        time_s=time_s,
        kind=_KINDS.get((record.topic, record.what), EventKind.NOTE),
        text=record.text,
        vm=None if vm is None else str(vm),
        host=None if host is None else str(host),
        details=fields,
    )


def refused_row(time_s: float, record: Record, scenario: Scenario) -> MigrationRow | None:
    """Return the row of a migration that was refused, and so never ends; None for other entries."""
    if (record.topic, record.what) != (Topic.MIGRATION, "refused"):
        return None
    fields = dict(record.fields)
    vm = str(fields.get("vm", ""))
    memory_bytes = next((one.memory_bytes for one in scenario.vms if one.name == vm), 0)
    spec = MigrationSpec(
        id=str(fields.get("migration", "")),
        vm=vm,
        source=str(fields.get("source") or ""),
        destination=str(fields.get("destination") or ""),
        epoch=0,
        memory_bytes=memory_bytes,
        mode=scenario.migration.mode,
        trigger=Trigger(fields.get("trigger", Trigger.USER.value)),
    )
    return migration_row(spec, not_begun(str(fields.get("reason", record.text)), now=time_s))
