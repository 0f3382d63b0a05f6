"""Maintenance mode: a host takes no VMs, its VMs move off, and what cannot go is named."""

from dataclasses import dataclass

from cluster.inventory.licence_terms import Feature
from cluster.policy.messages import Command, Record, Topic
from cluster.policy.preflight import admissible
from cluster.policy.problems import in_words
from cluster.policy.state import ClusterState, HostRecord, HostState
from cluster.policy.usage import Usage

# DRS may have found no place for a VM because of another that was under way.
RETRY_S = 10.0
# A sentence names this many VMs and counts the rest; the data has them all.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A VM that cannot leave its host.

    Attributes:
        hosts: Every other host, and what speaks against it.
    """

    vm: str
    hosts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.vm} ({'; '.join(why for _, why in self.hosts) or 'there is no other host'})"


def blocked(state: ClusterState, host: str) -> tuple[Blocked, ...]:
    """Return the VMs on a host that do not leave it, and for each what blocks it everywhere."""
    usage = Usage(state)
    migrating = {record.spec.vm for record in state.migrations.values()}
    return tuple(
        Blocked(
            vm=name,
            hosts=tuple(
                (other, _against(state, name, other, usage))
                for other in state.hosts
                if other != host
            ),
        )
        for name in sorted(state.residents[host])
        if name not in migrating
    )


def _against(state: ClusterState, vm: str, host: str, usage: Usage) -> str:
    record = state.vms[vm]
    if problems := admissible(state, record, host, usage, on_the_way=True):
        return in_words(problems)
    # DRS evacuates, so it has to be licensed at both ends; by hand the VM may well go there.
    for end in (record.host, host):
        if end is not None and (why := state.hosts[end].lacking.get(Feature.DRS)):
            return f"{host} is free, but {why}"
    return f"{host} is free, and DRS has not planned it"


class Maintenance:
    """Takes hosts into maintenance mode and out of it; who leaves when is DRS's plan."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._waits: dict[str, bool] = {}
        self._said: dict[str, tuple[Blocked, ...]] = {}

    @property
    def entering(self) -> frozenset[str]:
        """The hosts that are to be empty and are not yet."""
        return frozenset(
            host
            for host in self._waits
            if self._state.hosts[host].state is HostState.ENTERING_MAINTENANCE
        )

    def stragglers(self) -> bool:
        """Whether a VM on one of them does not migrate."""
        leaving = self.entering
        if not leaving:
            return False
        migrating = {record.spec.vm for record in self._state.migrations.values()}
        return any(not migrating.issuperset(self._state.residents[host]) for host in leaving)

    def request(self, host: str, *, wait: bool) -> list[Command]:
        """Let a host take no more VMs; `wait` when some cannot go, or else give up then."""
        record = self._state.hosts.get(host)
        if record is None:
            return [_note(host, "maintenance_refused", f"there is no host {host}")]
        if record.state is HostState.ENTERING_MAINTENANCE:
            self._waits[host] = wait
            return []
        if record.state is not HostState.CONNECTED:
            text = f"{host} cannot enter maintenance mode: it is {record.state.value}"
            return [_note(host, "maintenance_refused", text)]
        record.state = HostState.ENTERING_MAINTENANCE
        self._waits[host] = wait
        return [_note(host, "entering_maintenance", f"{host} is entering maintenance mode")]

    def cancel(self, host: str) -> list[Command]:
        """Let a host that is still entering take VMs again."""
        record = self._state.hosts.get(host)
        if record is None or record.state is not HostState.ENTERING_MAINTENANCE:
            text = f"{host} is not entering maintenance mode"
            return [_note(host, "maintenance_refused", text)]
        return [self._back(host, record, "maintenance_cancelled", "cancelled")]

    def leave(self, host: str) -> list[Command]:
        """End a host's maintenance mode."""
        record = self._state.hosts.get(host)
        if record is None or record.state is not HostState.MAINTENANCE:
            text = f"{host} is not in maintenance mode"
            return [_note(host, "maintenance_refused", text)]
        record.state, record.in_maintenance = HostState.CONNECTED, False
        return [_note(host, "exited_maintenance", f"{host} has exited maintenance mode")]

    def arrived(self) -> list[Command]:
        """Hosts that are empty now are in maintenance mode."""
        waiting = sorted(self.entering)
        if not waiting:
            return []
        held = {host for s in self._state.running() for host in (s.source, s.destination)}
        commands: list[Command] = []
        for host in waiting:
            if host not in held and not self._state.residents[host]:
                record = self._state.hosts[host]
                record.state, record.in_maintenance = HostState.MAINTENANCE, True
                self._forget(host)
                commands.append(_note(host, "maintenance", f"{host} is in maintenance mode"))
        return commands

    def planned(self, evacuated: frozenset[str]) -> list[Command]:
        """After a plan for these hosts: name the VMs that cannot go, and give up where asked to."""
        commands: list[Command] = []
        for host in sorted(self.entering & evacuated):
            stuck = blocked(self._state, host)
            if stuck and stuck != self._said.get(host):
                self._said[host] = stuck
                commands.append(_blocked_note(host, stuck))
            if stuck and not self._waits.get(host, True):
                record = self._state.hosts[host]
                commands.append(self._back(host, record, "maintenance_given_up", "given up"))
        return commands

    def _back(self, host: str, record: HostRecord, what: str, how: str) -> Record:
        record.state = HostState.CONNECTED
        self._forget(host)
        return _note(host, what, f"{host} is not entering maintenance mode any more: {how}")

    def _forget(self, host: str) -> None:
        self._waits.pop(host, None)
        self._said.pop(host, None)


def _blocked_note(host: str, stuck: tuple[Blocked, ...]) -> Record:
    named = ", ".join(str(one) for one in stuck[:_NAMED_MAX])
    more = len(stuck) - _NAMED_MAX
    text = f"{host} cannot be evacuated: {named}" + (f" and {more} more" if more > 0 else "")
    return Record(
        topic=Topic.HOST,
        what="maintenance_blocked",
        text=text,
        fields=(("host", host), ("blocked", tuple((one.vm, one.hosts) for one in stuck))),
    )


def _note(host: str, what: str, text: str) -> Record:
    return Record(topic=Topic.HOST, what=what, text=text, fields=(("host", host),))
