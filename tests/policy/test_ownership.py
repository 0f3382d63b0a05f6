"""One owner a VM: compare-and-set, answered the same when asked again, epochs that never go back."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from cluster.policy.ownership import Ownership, Record


@pytest.fixture
def owned() -> Ownership:
    """web-1 belongs to a at epoch 1."""
    ownership = Ownership()
    assert "" == ownership.claim("web-1", epoch=1, source=None, host="a")
    return ownership


def test_a_power_on_makes_the_first_owner(owned):
    assert Record(epoch=1, host="a") == owned.get("web-1")
    assert 2 == owned.next_epoch("web-1")


def test_who_owns_it_may_give_it_away(owned):
    assert "" == owned.claim("web-1", epoch=2, source="a", host="b")
    assert Record(epoch=2, host="b") == owned.get("web-1")


def test_asking_again_for_what_was_granted_is_granted_again(owned):
    owned.claim("web-1", epoch=2, source="a", host="b")
    assert "" == owned.claim("web-1", epoch=2, source="a", host="b")


def test_who_does_not_own_it_is_refused(owned):
    text = "web-1 belongs to a, not to b"
    assert text == owned.claim("web-1", epoch=2, source="b", host="c")


def test_nobody_powers_on_what_runs(owned):
    text = "web-1 belongs to a, not to no host"
    assert text == owned.claim("web-1", epoch=2, source=None, host="b")


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_only_the_next_epoch_is_granted(owned, epoch):
    text = f"epoch {epoch} of web-1 is not the next, 2"
    assert text == owned.claim("web-1", epoch=epoch, source="a", host="b")


def test_an_older_grant_is_not_granted_again_once_another_owns_it(owned):
    owned.claim("web-1", epoch=2, source="a", host="b")
    owned.claim("web-1", epoch=3, source="b", host="a")
    assert owned.claim("web-1", epoch=2, source="a", host="b")


def test_a_released_vm_may_be_powered_on_at_the_next_epoch(owned):
    assert owned.release("web-1", epoch=1)
    assert owned.claim("web-1", epoch=2, source="a", host="b")
    assert "" == owned.claim("web-1", epoch=2, source=None, host="b")


def test_a_late_release_takes_nothing_from_the_next_owner(owned):
    owned.claim("web-1", epoch=2, source="a", host="b")
    assert not owned.release("web-1", epoch=1)
    assert Record(epoch=2, host="b") == owned.get("web-1")


def test_what_was_never_owned_cannot_be_released():
    assert not Ownership().release("web-1", epoch=0)


HOSTS = st.sampled_from(["a", "b", "c"])


class Claims(RuleBasedStateMachine):
    """Any order of claims and releases, right and wrong, repeated and late."""

    def __init__(self) -> None:
        super().__init__()
        self.ownership = Ownership()
        self.granted: dict[int, str] = {}
        self.epoch = 0

    @rule(epoch=st.integers(0, 8), source=st.none() | HOSTS, host=HOSTS)
    def claim(self, epoch, source, host):
        before = self.ownership.get("vm")
        if self.ownership.claim("vm", epoch=epoch, source=source, host=host):
            assert before == self.ownership.get("vm")
            return
        assert host == self.granted.setdefault(epoch, host), "an epoch has one host"
        self.watch()

    @rule(epoch=st.integers(0, 8))
    def release(self, epoch):
        before = self.ownership.get("vm")
        released = self.ownership.release("vm", epoch=epoch)
        assert released == (before is not None and before.epoch == epoch)
        self.watch()

    def watch(self):
        record = self.ownership.get("vm")
        assert self.epoch <= (record.epoch if record else 0), "an epoch never goes back"
        self.epoch = record.epoch if record else 0


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=60, stateful_step_count=25)
