"""What always holds, whatever happens in whatever order; and the same again gives the same."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.inventory.demand import Constant
from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import (
    DrsSettings,
    HaSettings,
    MigrationSettings,
    RuleKind,
    RuleSpec,
    TimedEvent,
    TimedKind,
)
from cluster.migration.spec import Result, Trigger
from cluster.policy.center import Center
from cluster.policy.messages import (
    CalendarTold,
    CancelRequested,
    CommitRequested,
    DrsConfigured,
    FeaturesTicked,
    FeaturesUnticked,
    GrantCommit,
    HostConnected,
    HostConnectRequested,
    HostFailed,
    LicenceServerBack,
    LicenceServerLost,
    MaintenanceCancelled,
    MaintenanceEnded,
    MaintenanceRequested,
    MigrationEnded,
    MigrationRequested,
    NodeLost,
    PassRequested,
    PowerOn,
    RecommendationsApproved,
    Recommended,
    RefuseCommit,
    Solve,
    Started,
    StartMigration,
    Stopping,
    Ticked,
    VmEnded,
    VmReconfigured,
    VmStarted,
)
from cluster.policy.state import HostState, PowerState
from drs import Plan, PlanStatus
from tests.policy.building import LICENCES, TODAY_S, host, outcome, scenario, vm
from tests.policy.test_balancing import move, plan

HOSTS = ["a", "b", "c"]
VMS = ["v0", "v1", "v2", "v3"]
PER_HOST_MAX = 2


def small_cluster():
    """Memory for five VMs of four, two that must be apart, and something at seconds 5 and 9."""
    events = (
        TimedEvent(at_s=5.0, kind=TimedKind.POWER_OFF, vms=("v3",)),
        TimedEvent(at_s=9.0, kind=TimedKind.DEMAND, vms=("v0",), demand=Constant(mhz=5.0)),
    )
    return scenario(
        [host(name, memory_mib=600) for name in HOSTS],
        [vm("v0", "a"), vm("v1", "b"), vm("v2"), vm("v3")],
        events=events,
        drs=DrsSettings(interval_s=4.0, plan_age_s_max=6.0),
        migration=MigrationSettings(per_host_max=PER_HOST_MAX),
        ha=HaSettings(enabled=True, failures_tolerated=0, isolation_s_max=3.0),
        licences=LICENCES,
        rules=(RuleSpec(name="apart", kind=RuleKind.ANTI_AFFINITY, vms=("v0", "v1")),),
    )


class Anything(RuleBasedStateMachine):
    """Events in any order, of migrations that are, were and never were."""

    def __init__(self) -> None:
        super().__init__()
        self.center = Center(small_cluster())
        self.state = self.center.state
        self.now = 0.0
        self.log = []
        self.epochs = dict.fromkeys(VMS, 0)
        self.answers: dict[tuple[str, int], type] = {}
        self.starting: set[tuple[str, int]] = set()
        self.solves: list[Solve] = []
        self.begun: set[str] = set()

    def feed(self, event):
        self.now += 0.5
        commands = self.decide(event)
        self.log.append((self.now, event, commands))
        for command in commands:
            match command:
                case PowerOn() if (command.vm, command.epoch) not in self.starting:
                    self.starting.add((command.vm, command.epoch))
                    assert HostState.CONNECTED is self.state.hosts[command.host].state
                case StartMigration(spec=spec) if spec.id not in self.begun:
                    self.begun.add(spec.id)
                    assert HostState.CONNECTED is self.state.hosts[spec.destination].state
                    assert self.state.vms[spec.vm].host == spec.source
                    assert PowerState.ON is self.state.vms[spec.vm].power
                case Solve():
                    self.solves.append(command)
        return commands

    def decide(self, event):
        return self.center.handle(event, now=self.now, rng=np.random.default_rng(0))

    @initialize(serves=st.booleans())
    def connect(self, serves):
        self.feed(CalendarTold(unix_s=TODAY_S))
        for name in HOSTS:
            self.feed(HostConnected(host=name, serves_faults=serves))
        self.feed(Started())

    @rule(name=st.sampled_from(HOSTS))
    def host_fails(self, name):
        self.feed(HostFailed(host=name, reason="died"))

    @rule(name=st.sampled_from(HOSTS), serves=st.booleans())
    def host_connects(self, name, serves):
        self.feed(HostConnected(host=name, serves_faults=serves))

    @rule(name=st.sampled_from(HOSTS))
    def somebody_connects_a_host(self, name):
        self.feed(HostConnectRequested(host=name))

    @rule(name=st.sampled_from(HOSTS))
    def node_is_lost(self, name):
        self.feed(NodeLost(host=name, reason="node died"))

    @rule(name=st.sampled_from(HOSTS), vm_name=st.sampled_from(VMS), epoch=st.integers(1, 3))
    def host_comes_back_with_a_vm(self, name, vm_name, epoch):
        self.feed(HostConnected(host=name, serves_faults=True, running=((vm_name, epoch),)))

    @rule(name=st.sampled_from(HOSTS), wait=st.booleans())
    def somebody_wants_a_host_empty(self, name, wait):
        self.feed(MaintenanceRequested(host=name, wait=wait))

    @rule(name=st.sampled_from(HOSTS))
    def somebody_wants_it_back(self, name):
        self.feed(MaintenanceCancelled(host=name))
        self.feed(MaintenanceEnded(host=name))

    @rule(name=st.sampled_from(HOSTS), feature=st.sampled_from(Feature), lacks=st.booleans())
    def licences_change(self, name, feature, lacks):
        change = FeaturesUnticked if lacks else FeaturesTicked
        self.feed(change(hosts=(name,), features=(feature,)))

    @rule(there=st.booleans())
    def the_licence_server_comes_and_goes(self, there):
        self.feed(LicenceServerBack() if there else LicenceServerLost())

    @rule(days=st.floats(0.0, 20.0))
    def the_calendar_jumps(self, days):
        self.feed(CalendarTold(unix_s=TODAY_S + days * 86_400.0))

    @rule(name=st.sampled_from(VMS), devices=st.booleans(), memory_mib=st.sampled_from([256, 300]))
    def a_vm_is_configured(self, name, devices, memory_mib):
        local = ("CD/DVD drive 1",) if devices else ()
        changes = (("local_devices", local), ("memory_mib", memory_mib))
        self.feed(VmReconfigured(vm=name, changes=changes))

    @rule(data=st.data())
    def vm_starts(self, data):
        if self.starting:
            name, epoch = data.draw(st.sampled_from(sorted(self.starting)))
            self.feed(VmStarted(vm=name, epoch=epoch))

    @rule(name=st.sampled_from(VMS), behind=st.integers(-1, 1))
    def vm_ends(self, name, behind):
        epoch = self.state.vms[name].epoch - behind
        self.feed(VmEnded(vm=name, epoch=epoch, reason="raised"))

    @rule(
        name=st.sampled_from(VMS),
        to=st.none() | st.sampled_from(HOSTS),
        onward=st.none() | st.sampled_from(HOSTS),
    )
    def somebody_asks(self, name, to, onward):
        self.feed(MigrationRequested(vm=name, destination=to, trigger=Trigger.USER, onward=onward))

    @rule(name=st.sampled_from(VMS))
    def somebody_cancels(self, name):
        self.feed(CancelRequested(vm=name))

    @rule(number=st.integers(1, 12), epoch=st.integers(1, 6), right=st.booleans())
    def source_commits(self, number, epoch, right):
        migration = f"m{number:04d}"
        record = self.state.migrations.get(migration)
        if record is not None and record.started_s is None:
            return  # nobody drives it yet
        if record is not None and right:
            epoch = record.spec.epoch
        (answer,) = (
            c
            for c in self.feed(CommitRequested(migration=migration, epoch=epoch))
            if isinstance(c, GrantCommit | RefuseCommit)
        )
        if record is not None:
            first = self.answers.setdefault((migration, epoch), type(answer))
            assert first is type(answer), "an answer to a commit is for good"

    @rule(data=st.data())
    def migration_ends(self, data):
        running = [r for r in self.state.migrations.values() if r.started_s is not None]
        if running:
            record = data.draw(st.sampled_from(running))
            result = Result.COMPLETED
            if not record.committed:
                result = data.draw(st.sampled_from([Result.ABORTED, Result.LOST, Result.REFUSED]))
            self.feed(MigrationEnded(migration=record.spec.id, outcome=outcome(result)))

    @rule(past=st.integers(1, 12))
    def an_old_end_comes_again(self, past):
        migration = f"m{past:04d}"
        if migration not in self.state.migrations:
            self.feed(MigrationEnded(migration=migration, outcome=outcome()))

    @rule(threshold=st.integers(1, 5), enabled=st.booleans())
    def drs_is_configured(self, threshold, enabled):
        changes = (("threshold", threshold), ("enabled", enabled))
        self.feed(DrsConfigured(changes=changes))

    @rule(approve=st.booleans())
    def somebody_uses_drs(self, approve):
        self.feed(RecommendationsApproved() if approve else PassRequested())

    @rule()
    def time_comes(self):
        self.feed(Ticked())

    @rule(vm_at=st.integers(0, 3), to=st.integers(0, 2), automatic=st.booleans())
    def drs_answers(self, vm_at, to, automatic):
        if self.solves:
            asked = self.solves[-1]
            made = Plan(status=PlanStatus.NOTHING_WORTH_DOING)
            if vm_at < len(asked.snapshot.vms):
                placed = int(asked.snapshot.placement[vm_at])
                made = plan(move(vm_at, placed, to), automatic=automatic)
            self.feed(Recommended(solve=asked.solve, plan=made, solve_s=0.1))

    @rule()
    def the_run_ends(self):
        if self.now > 15.0:
            self.feed(Stopping())

    @invariant()
    def one_migration_of_a_vm(self):
        vms = [record.spec.vm for record in self.state.migrations.values()]
        assert len(set(vms)) == len(vms)

    @invariant()
    def limits_hold(self):
        for name in HOSTS:
            ends = [name in (s.source, s.destination) for s in self.state.running()]
            assert sum(ends) <= PER_HOST_MAX

    @invariant()
    def epochs_never_go_back(self):
        for name in VMS:
            record = self.state.ownership.get(name)
            epoch = record.epoch if record else 0
            assert self.epochs[name] <= epoch
            self.epochs[name] = epoch

    @invariant()
    def the_record_and_the_inventory_agree(self):
        for name, known in self.state.vms.items():
            record = self.state.ownership.get(name)
            assert known.host == (record.host if record else None)
            assert (known.host is None) == (
                known.power is not PowerState.ON
                and not (known.power is PowerState.STARTING and known.epoch)
            )
            if known.host is not None:
                assert record is not None
                assert record.epoch == known.epoch
                assert HostState.STARTING is not self.state.hosts[known.host].state

    @invariant()
    def the_index_of_residents_is_right(self):
        for place in (None, *HOSTS):
            there = {name for name, known in self.state.vms.items() if known.host == place}
            assert there == set(self.state.residents[place])

    @invariant()
    def nothing_runs_on_a_host_in_maintenance_mode(self):
        for known in self.state.vms.values():
            assert (
                known.host is None
                or HostState.MAINTENANCE is not self.state.hosts[known.host].state
            )

    @invariant()
    def memory_holds(self):
        for name in HOSTS:
            held = [v for v, hosts in self.state.occupancy().items() if name in hosts]
            assert sum(self.state.vms[v].spec.memory_mib for v in held) <= 600

    @invariant()
    def who_waits_waits_for_somebody(self):
        waiting = [r for r in self.state.migrations.values() if r.started_s is None]
        assert not waiting or self.state.running()

    def teardown(self):
        """The same events at the same times give the same commands."""
        again = Center(small_cluster())
        for now, event, commands in self.log:
            repeated = again.handle(event, now=now, rng=np.random.default_rng(0))
            assert [told(c) for c in commands] == [told(c) for c in repeated]


def told(command) -> object:
    """A snapshot holds arrays, which do not compare as one."""
    if isinstance(command, Solve):
        return command.solve, command.seed, command.snapshot.occupancy()
    return command


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=40, stateful_step_count=35, deadline=None)
