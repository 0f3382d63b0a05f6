"""Which host may use which feature now: evaluation, installed licences, usage, grace."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum

from cluster.inventory.licence_terms import HOST_FEATURES, NEEDS, Feature
from cluster.policy import licence_file
from cluster.policy.licence_file import LicenceFile, day_of
from cluster.policy.problems import Problem

DAY_S = 86_400.0
EVALUATION_S = 60 * DAY_S
# VI3's grace period without its licence server: 14 days.
GRACE_S = 14 * DAY_S
# Between hosts only VirtualCenter can do these.
_BY_VIRTUALCENTER = frozenset({Feature.VMOTION, Feature.DRS, Feature.HA})


class Mode(Enum):
    """What the right to use features rests on."""

    EVALUATION = "evaluation"
    LICENSED = "licensed"
    GRACE = "grace period"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One feature: how many licences there are, and what each host takes of them.

    Attributes:
        left_s: Until fewer hosts may use it, if nothing is done; infinity is never.
    """

    feature: Feature
    installed: int
    hosts: tuple[tuple[str, int], ...]
    left_s: float = math.inf

    @property
    def used(self) -> int:
        """Licences taken."""
        return sum(count for _, count in self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What an operator sees. `days_left` None: no end is in sight."""

    mode: Mode
    days_left: int | None
    uses: tuple[Use, ...]
    server_away: bool = False

    @property
    def text(self) -> str:
        """In words, such as "evaluation, 60 days left"."""
        if self.days_left is None:
            return self.mode.value
        return f"{self.mode.value}, {self.days_left} day{'' if self.days_left == 1 else 's'} left"


class Licensing:
    """Owns the installed file and what is ticked on hosts; time is Unix seconds."""

    def __init__(self, needs: Mapping[str, int], *, began_s: float) -> None:
        """`needs`: how many licences of a feature each host takes; see `licences_needed`."""
        self._needs = dict(needs)
        self._began_s = began_s
        self._file: LicenceFile | None = None
        self._ticked: dict[str, list[Feature]] = {host: [] for host in needs}
        self._away_since_s: float | None = None

    @property
    def file(self) -> LicenceFile | None:
        """What is installed; None during the evaluation."""
        return self._file

    @property
    def server_away(self) -> bool:
        """Whether the licence server does not answer."""
        return self._away_since_s is not None

    # The licence server.

    def install(self, file: LicenceFile, vendor_key: bytes, *, now: float) -> list[Problem]:
        """Install a file in place of the last one, or return every reason why not.

        `vendor_key` is public, and that of the vendor whom the administrator trusts. Refused too when it would not cover what hosts use now. The first one ends the
        evaluation.
        """
        problems = licence_file.check(file, vendor_key, now=now)
        if not file.increments:
            text = "there is no licence of this product in the file"
            problems.append(Problem(check="form", text=text, cure="Install another file."))
        if not problems:
            problems = self._insufficient(file, now)
        if not problems:
            self._file = file
        return problems

    def server_lost(self, *, now: float) -> None:
        """The licence server is away: the grace period begins, if it has not."""
        if self._away_since_s is None:
            self._away_since_s = now

    def server_back(self) -> None:
        """The licence server answers again."""
        self._away_since_s = None

    # Hosts.

    def count(self, host: str, needed: int) -> None:
        """Count a host that is new, or takes another number of licences from now on."""
        self._needs[host] = needed
        self._ticked.setdefault(host, [])

    def ticked(self, host: str) -> tuple[Feature, ...]:
        """Return what a host has been given, whether there are licences for it now or not."""
        return tuple(self._ticked[host])

    def tick(self, host: str, feature: Feature, *, now: float) -> list[Problem]:
        """Give a host a feature, or return every reason why not."""
        if feature not in HOST_FEATURES:
            text = f"{feature.title} is not a feature of hosts"
            return [Problem(check="licence", text=text, cure="Choose a feature of hosts.")]
        if feature in self._ticked[host]:
            return []
        problems = [
            Problem(
                check="licence",
                text=f"{feature.title} on {host} needs {needed.title} there",
                cure=f"Tick {needed.title} first.",
            )
            for needed in NEEDS[feature]
            if self._file is not None and needed not in self._ticked[host]
        ]
        if self._file is not None and self._away_since_s is not None:
            text = "the licence server is away, so nothing new can be licensed"
            problems.append(Problem(check="licence", text=text, cure="Start the licence server."))
        problems += self._short(host, feature, now)
        if not problems:
            self._ticked[host].append(feature)
        return problems

    def untick(self, host: str, feature: Feature) -> tuple[Feature, ...]:
        """Take a feature from a host, and what needs it; return what was taken."""
        gone = tuple(
            ticked for ticked in self._ticked[host] if ticked is feature or feature in NEEDS[ticked]
        )
        self._ticked[host] = [f for f in self._ticked[host] if f not in gone]
        return gone

    def release(self, host: str) -> tuple[Feature, ...]:
        """Free all licences of a host; return which features it had."""
        gone = tuple(self._ticked[host])
        self._ticked[host] = []
        return gone

    # Questions.

    def lacking(self, host: str, feature: Feature, *, now: float) -> str:
        """Return why a host may not use a feature now, or "" if it may."""
        match self.mode(now=now):
            case Mode.EVALUATION:
                return ""
            case Mode.EXPIRED if self._file is None:
                return "the evaluation has ended, and no licence is installed"
            case Mode.EXPIRED:
                return "the licence server has been away for longer than the grace period"
            case Mode.LICENSED | Mode.GRACE:
                pass
        if feature not in self._ticked[host]:
            return f"{host} is not licensed for {feature.title}"
        if host not in dict(self._use(feature, now).hosts):
            return f"there are too few {feature.title} licences for {host}"
        if feature in _BY_VIRTUALCENTER and not self._installed(Feature.VIRTUALCENTER, now):
            return f"{feature.title} needs a VirtualCenter licence"
        return ""

    def lacking_all(self, *, now: float) -> tuple[tuple[str, Feature, str], ...]:
        """Return every (host, feature, why) that may not be used now.

        It changes when something is installed or ticked, and by itself only when `ends_at` says.
        """
        return tuple(
            (host, feature, why)
            for host in self._ticked
            for feature in HOST_FEATURES
            if (why := self.lacking(host, feature, now=now))
        )

    def ends_at(self, *, now: float) -> float | None:
        """Return the next moment at which rights end by themselves; None if none ever does.

        Licences end with the UTC day that is their last.
        """
        if self._file is None:
            due = [self._began_s + EVALUATION_S]
        else:
            last_days = {one.expires for one in self._file.increments if one.expires is not None}
            due = [_midnight_after(day) for day in last_days]
            if self._away_since_s is not None:
                due.append(self._away_since_s + GRACE_S)
        return min((at_s for at_s in due if at_s > now), default=None)

    def mode(self, *, now: float) -> Mode:
        """Return what the right to use features rests on now."""
        if self._file is None:
            over = now >= self._began_s + EVALUATION_S
            return Mode.EXPIRED if over else Mode.EVALUATION
        if self._away_since_s is None:
            return Mode.LICENSED
        return Mode.EXPIRED if now >= self._away_since_s + GRACE_S else Mode.GRACE

    def status(self, *, now: float) -> Status:
        """Return what there is to see; a day that has begun counts whole."""
        mode = self.mode(now=now)
        ends_s: float | None = None
        if mode is Mode.EVALUATION:
            ends_s = self._began_s + EVALUATION_S
        elif mode is Mode.GRACE and self._away_since_s is not None:
            ends_s = self._away_since_s + GRACE_S
        return Status(
            mode=mode,
            days_left=None if ends_s is None else -int(-(ends_s - now) // DAY_S),
            uses=tuple(self._use(feature, now) for feature in Feature),
            server_away=self.server_away,
        )

    # Inside.

    def _installed(self, feature: Feature, now: float) -> int:
        return 0 if self._file is None else _count(self._file, feature, now)

    def _use(self, feature: Feature, now: float) -> Use:
        """Hosts take licences in the inventory's order; when some have expired the last go without."""
        installed = self._installed(feature, now)
        left, hosts = installed, []
        for host, ticked in self._ticked.items():
            if feature in ticked and self._needs[host] <= left:
                left -= self._needs[host]
                hosts.append((host, self._needs[host]))
        left_s = self._left_s(feature, now)
        return Use(feature=feature, installed=installed, hosts=tuple(hosts), left_s=left_s)

    def _left_s(self, feature: Feature, now: float) -> float:
        if self._file is None:
            return max(self._began_s + EVALUATION_S - now, 0.0)
        days = [
            one.expires
            for one in self._file.increments
            if one.feature is feature and one.expires is not None
        ]
        ends = [_midnight_after(day) for day in days]
        if self._away_since_s is not None:
            ends.append(self._away_since_s + GRACE_S)
        return max(min(ends, default=math.inf) - now, 0.0)

    def _short(self, host: str, feature: Feature, now: float) -> list[Problem]:
        if self._file is None:
            return []
        problems: list[Problem] = []
        if feature in _BY_VIRTUALCENTER and not self._installed(Feature.VIRTUALCENTER, now):
            text = f"{feature.title} needs a VirtualCenter licence"
            cure = "Purchase a VirtualCenter licence."
            problems.append(Problem(check="licence", text=text, cure=cure))
        use = self._use(feature, now)
        free = use.installed - use.used
        if self._needs[host] <= free:
            return problems
        text = (
            f"{host} takes {self._needs[host]} {feature.title} licences, "
            f"{free} of {use.installed} are free"
        )
        cure = "Purchase more, or release a host."
        return [*problems, Problem(check="licence", text=text, cure=cure)]

    def _insufficient(self, file: LicenceFile, now: float) -> list[Problem]:
        problems: list[Problem] = []
        for feature in HOST_FEATURES:
            wanted = sum(self._needs[h] for h, ticked in self._ticked.items() if feature in ticked)
            installed = _count(file, feature, now)
            if wanted > installed:
                text = (
                    f"hosts use {wanted} {feature.title} licences, the file has {installed}: "
                    f"{wanted - installed} are missing"
                )
                cure = "Purchase more, or release hosts."
                problems.append(Problem(check="insufficient", text=text, cure=cure))
        return problems


def _midnight_after(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + DAY_S


def _count(file: LicenceFile, feature: Feature, now: float) -> int:
    """Licences of a feature that are good on the day of `now`."""
    today = day_of(now)
    return sum(
        one.count
        for one in file.increments
        if one.feature is feature and (one.expires is None or one.expires >= today)
    )
