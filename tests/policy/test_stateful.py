"""The NIC shaper and the licence counts under any sequence of calls."""

import math
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cluster.inventory.licence_terms import HOST_FEATURES, Feature, Product
from cluster.policy.licensing import Licensing, Mode
from cluster.policy.sharing import SerialLink
from tests.policy.test_licensing import PUBLIC, bought, order

MANY = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)


class Shaper(RuleBasedStateMachine):
    """A card with a rate: whatever comes when, it never carries more than its rate allows."""

    def __init__(self) -> None:
        super().__init__()
        self.link = SerialLink(rate_bytes_per_second=1e6)
        self.now = 0.0
        self.total = 0
        self.sent: list[tuple[float, float, int]] = []
        self.rate_max = 1e6

    @rule(wait_s=st.floats(0, 5))
    def time_passes(self, wait_s):
        self.now += wait_s

    @rule(nbytes=st.integers(0, 10_000_000))
    def a_batch_comes(self, nbytes):
        before = self.link.busy_until_s
        done = self.link.accept(nbytes, now=self.now)
        self.total += nbytes
        if self.link.rate_bytes_per_second is None:
            assert done == self.now
            return
        assert done >= self.now
        assert done >= before
        self.sent.append((max(self.now, before), done, nbytes))

    @rule(rate=st.none() | st.floats(1e3, 1e8))
    def the_rate_changes(self, rate):
        """A new migration comes, or one ends: what was accepted keeps its time."""
        self.link.rate_bytes_per_second = rate
        self.rate_max = max(self.rate_max, rate or 0.0)

    @invariant()
    def nothing_overtakes_and_nothing_is_lost(self):
        assert self.total == self.link.sent_bytes
        for (_, end, _), (start, *_) in zip(self.sent, self.sent[1:], strict=False):
            assert start >= end or math.isclose(start, end)

    @invariant()
    def never_more_than_the_rate(self):
        for start, end, nbytes in self.sent:
            assert nbytes <= (end - start) * self.rate_max * (1 + 1e-9) + 1e-3


class Licences(RuleBasedStateMachine):
    """Ticks, releases, the server's absence: nobody uses more than there are."""

    HOSTS = ("a", "b", "c")
    NEEDS = {"a": 1, "b": 1, "c": 2}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 6, 15, 12, tzinfo=UTC).timestamp()
        self.licensing = Licensing(self.NEEDS, began_s=self.now)
        self.installed = False
        self.serial = 1

    @rule(count=st.integers(1, 4), center=st.booleans())
    def a_file_is_installed(self, count, center):
        orders = [order(Product.ENTERPRISE, count)]
        orders += [order(Product.VIRTUALCENTER, 1)] if center else []
        file = bought(*orders, first_serial=self.serial)
        self.serial += 10
        if not self.licensing.install(file, PUBLIC, now=self.now):
            self.installed = True

    @rule(host=st.sampled_from(HOSTS), feature=st.sampled_from(Feature))
    def a_feature_is_ticked(self, host, feature):
        before = self.licensing.status(now=self.now).uses
        if self.licensing.tick(host, feature, now=self.now):
            assert before == self.licensing.status(now=self.now).uses

    @rule(host=st.sampled_from(HOSTS), feature=st.sampled_from(sorted(HOST_FEATURES, key=str)))
    def a_feature_is_unticked(self, host, feature):
        self.licensing.untick(host, feature)
        if self.installed:
            assert self.licensing.lacking(host, feature, now=self.now)

    @rule(host=st.sampled_from(HOSTS))
    def a_host_is_released(self, host):
        self.licensing.release(host)
        for use in self.licensing.status(now=self.now).uses:
            assert host not in dict(use.hosts)

    @rule(away=st.booleans())
    def the_server_goes_or_comes(self, away):
        if away:
            self.licensing.server_lost(now=self.now)
        else:
            self.licensing.server_back()

    @rule(days=st.integers(1, 20))
    def days_pass(self, days):
        due = self.licensing.ends_at(now=self.now)
        assert due is None or due > self.now
        self.now += days * 86_400.0

    @invariant()
    def nobody_uses_more_than_there_are(self):
        for use in self.licensing.status(now=self.now).uses:
            assert use.used <= use.installed or not use.hosts
            assert all(count == self.NEEDS[host] for host, count in use.hosts)

    @invariant()
    def what_may_be_used_was_counted(self):
        if self.licensing.mode(now=self.now) not in (Mode.LICENSED, Mode.GRACE):
            return
        uses = {use.feature: dict(use.hosts) for use in self.licensing.status(now=self.now).uses}
        for host in self.HOSTS:
            for feature in HOST_FEATURES:
                if not self.licensing.lacking(host, feature, now=self.now):
                    assert host in uses[feature]


Shaper.TestCase.settings = MANY
Licences.TestCase.settings = MANY
TestShaper = Shaper.TestCase
TestLicences = Licences.TestCase
