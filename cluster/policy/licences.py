"""The licences of a cluster as it runs: begun, installed, ticked, expired; said when they change."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from cluster.inventory.licence_terms import HOST_FEATURES, Feature, Order, licences_needed
from cluster.inventory.licences import EVALUATION_DAYS
from cluster.inventory.model import HostSpec, Scenario
from cluster.policy.licence_file import LicenceFile, combine, read
from cluster.policy.licence_vendor import activate, purchase
from cluster.policy.licensing import DAY_S, Licensing, Mode, Status
from cluster.policy.messages import (
    CalendarTold,
    Command,
    FeaturesTicked,
    FeaturesUnticked,
    LicenceServerBack,
    LicenceServerLost,
    LicencesOffered,
    Record,
    Topic,
)
from cluster.policy.problems import Problem, as_data, in_words
from cluster.policy.signatures import public_key_of
from cluster.policy.state import ClusterState

LicenceEvent = (
    CalendarTold
    | LicencesOffered
    | FeaturesTicked
    | FeaturesUnticked
    | LicenceServerLost
    | LicenceServerBack
)
# Serial numbers of what a scenario buys, apart from those that a user's vendor counts from 1.
_FIRST_SERIAL = 1_000_000_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why a scenario's licences are not as it says. `host` "": the licences themselves."""

    host: str
    problem: Problem


class Licences:
    """Center's part that owns the cluster's `Licensing` and turns rights into what hosts lack."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._unix_less_now_s = 0.0
        self._mode: Mode | None = None
        self.next_s: float | None = None

    def handle(self, event: LicenceEvent, *, now: float) -> list[Command]:
        """Take one event, and say what it changes."""
        if isinstance(event, CalendarTold):
            self._unix_less_now_s = event.unix_s - now
        elif self._state.licensing is None:
            return [_refused("there is no licensing yet: the calendar is not known", ())]
        unix_s = now + self._unix_less_now_s
        return [*self._take(event, unix_s), *self.due(now=now, at_once=True)]

    def due(self, *, now: float, at_once: bool = False) -> list[Command]:
        """Look whether rights have ended by themselves; `at_once`: something else has changed."""
        licensing = self._state.licensing
        if licensing is None or not (at_once or (self.next_s is not None and self.next_s <= now)):
            return []
        unix_s = now + self._unix_less_now_s
        ends_s = licensing.ends_at(now=unix_s)
        self.next_s = None if ends_s is None else ends_s - self._unix_less_now_s
        return [*self._say_mode(licensing, unix_s), *self._say_rights(licensing, unix_s)]

    def resized(self, host: str, *, now: float) -> list[Command]:
        """A host's processors may be others than they were."""
        record = self._state.hosts.get(host)
        if record is None or self._state.licensing is None:
            return []
        self._state.licensing.count(host, _needed(record.spec))
        return self.due(now=now, at_once=True)

    def status(self, *, now: float) -> Status | None:
        """Return what there is to see; None before the calendar is known."""
        licensing = self._state.licensing
        return None if licensing is None else licensing.status(now=now + self._unix_less_now_s)

    # Inside.

    def _take(self, event: LicenceEvent, unix_s: float) -> list[Command]:
        licensing = self._state.licensing
        if licensing is None:
            licensing, shortages = begun(self._state.scenario, unix_s=unix_s)
            self._state.licensing = licensing
            return [_refused(f"{one.host}: not licensed", (one.problem,)) for one in shortages]
        match event:
            case CalendarTold():
                return []
            case LicencesOffered(file=file, vendor_key=vendor_key, held_at=held_at):
                if problems := licensing.install(file, vendor_key, now=unix_s):
                    return [_refused("the licence file is not installed", tuple(problems))]
                self._state.licences_at = held_at or self._state.licences_at
                counts = ", ".join(
                    f"{use.installed} {use.feature.title}"
                    for use in licensing.status(now=unix_s).uses
                    if use.installed
                )
                return [_note("licences_installed", f"licences installed: {counts}")]
            case FeaturesTicked(hosts=hosts, features=features):
                return self._tick(licensing, hosts, features, unix_s)
            case FeaturesUnticked(hosts=hosts, features=features):
                return self._untick(licensing, hosts, features)
            case LicenceServerLost():
                licensing.server_lost(now=unix_s)
            case LicenceServerBack():
                licensing.server_back()
        return []

    def _tick(
        self,
        licensing: Licensing,
        hosts: tuple[str, ...],
        features: tuple[Feature, ...],
        unix_s: float,
    ) -> list[Command]:
        """Tick what can be ticked; one entry says that all was, or everything that was not."""
        problems: list[Problem] = []
        for host in hosts:
            if host not in self._state.hosts:
                problems.append(_unknown(host))
                continue
            for feature in _in_order(features):
                problems += licensing.tick(host, feature, now=unix_s)
        names = ", ".join(feature.title for feature in _in_order(features))
        if problems:
            return [_refused(f"not all hosts are licensed for {names}", tuple(problems))]
        return [_note("licences_ticked", f"{', '.join(hosts)}: licensed for {names}")]

    def _untick(
        self, licensing: Licensing, hosts: tuple[str, ...], features: tuple[Feature, ...] | None
    ) -> list[Command]:
        if unknown := tuple(_unknown(host) for host in hosts if host not in self._state.hosts):
            return [_refused("nothing is released", unknown)]
        said: list[str] = []
        for host in hosts:
            given = HOST_FEATURES if features is None else features
            taken = [gone for feature in given for gone in licensing.untick(host, feature)]
            said.append(f"{host}: {', '.join(f.title for f in taken) or 'nothing'}")
        return [_note("licences_released", f"licences given back by {'; '.join(said)}")]

    def _say_mode(self, licensing: Licensing, unix_s: float) -> list[Command]:
        status = licensing.status(now=unix_s)
        if status.mode is self._mode:
            return []
        self._mode = status.mode
        text = f"licences: {status.text}"
        fields = {"mode": status.mode.value, "days_left": status.days_left}
        return [_note("licence_mode", text, **fields)]

    def _say_rights(self, licensing: Licensing, unix_s: float) -> list[Command]:
        """Give each host what it may not do now; say what is other than before."""
        commands: list[Command] = []
        lacking = licensing.lacking_all(now=unix_s)
        for name, host in self._state.hosts.items():
            now = {feature: why for at, feature, why in lacking if at == name}
            gone = [why for feature, why in now.items() if feature not in host.lacking]
            back = [feature.title for feature in host.lacking if feature not in now]
            host.lacking = now
            if gone:
                text = "; ".join(dict.fromkeys(gone))
                commands.append(_host_note("unlicensed", text, name))
            if back:
                text = f"{name} is licensed for {', '.join(back)}"
                commands.append(_host_note("licensed", text, name))
        return commands


def begins_unix_s(scenario: Scenario, unix_s: float) -> float:
    """Return the moment at which the scenario's calendar begins: its own day, or `unix_s`."""
    day = scenario.licences.begins
    if day is None:
        return unix_s
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def begun(scenario: Scenario, *, unix_s: float) -> tuple[Licensing, list[Shortage]]:
    """Return a scenario's licensing at its beginning, and why it is not all that was wanted."""
    settings = scenario.licences
    used_s = (EVALUATION_DAYS - settings.evaluation_days_left) * DAY_S
    licensing = Licensing(
        {spec.name: _needed(spec) for spec in scenario.hosts}, began_s=unix_s - used_s
    )
    given = _given(scenario, unix_s)
    if given is None:
        return licensing, []
    file, vendor_key, problems = given
    problems = problems or licensing.install(file, vendor_key, now=unix_s)
    if problems:
        return licensing, [Shortage(host="", problem=problem) for problem in problems]
    shortages: list[Shortage] = []
    for spec in scenario.hosts:
        for feature in HOST_FEATURES if spec.features is None else _in_order(spec.features):
            found = licensing.tick(spec.name, feature, now=unix_s)
            if spec.features is not None:
                shortages += [Shortage(host=spec.name, problem=problem) for problem in found]
    return licensing, shortages


def _given(scenario: Scenario, unix_s: float) -> tuple[LicenceFile, bytes, list[Problem]] | None:
    settings = scenario.licences
    if settings.vendor_key is not None:
        file, problems = read(settings.text)
        return file, settings.vendor_key, problems
    if not settings.products:
        return None
    # Who writes the scenario says what is licensed in it, so its vendor keeps no secret.
    key = hashlib.sha256(f"the vendor of {scenario.name}".encode()).digest()
    orders = tuple(Order(product=product, count=count) for product, count in settings.products)
    codes = purchase(orders, key, first_serial=_FIRST_SERIAL)
    files = [
        made for code in codes if isinstance(made := activate(code, key, now=unix_s), LicenceFile)
    ]
    file, problems = combine(files)
    return file, public_key_of(key), problems


def _unknown(host: str) -> Problem:
    return Problem(check="host", text=f"there is no host {host}", cure="Name a host.")


def _needed(spec: HostSpec) -> int:
    return licences_needed(spec.sockets, spec.cores_per_socket)


def _in_order(features: tuple[Feature, ...]) -> list[Feature]:
    """Return features so that what another one needs comes first."""
    return sorted(features, key=list(Feature).index)


def _refused(text: str, problems: tuple[Problem, ...], **fields: object) -> Record:
    """Say no; the problems are there as data too."""
    why = in_words(problems)
    named = (*fields.items(), ("problems", as_data(problems)))
    return Record(
        topic=Topic.CLUSTER,
        what="licences_refused",
        text=f"{text}: {why}" if why else text,
        fields=named,
    )


def _note(what: str, text: str, **fields: object) -> Record:
    return Record(topic=Topic.CLUSTER, what=what, text=text, fields=tuple(fields.items()))


def _host_note(what: str, text: str, host: str) -> Record:
    return Record(topic=Topic.HOST, what=what, text=text, fields=(("host", host),))
