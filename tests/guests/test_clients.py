"""What clients ask, what they count, and the gaps they see."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.guests.base import Special
from cluster.guests.clients import ClientAccount, GapMeter, Gaps, RequestSource, Settlement, settle
from cluster.guests.keyvalue import Answer, KeyValue, Malformed, Status
from cluster.guests.writer import Writer

GET = ("get", 1)


def drawn(count, *, program=KeyValue, client=0, seed=1):
    source = RequestSource(program, {"value_bytes": 32}, client=client, seed=seed)
    return [source.next() for _ in range(count)]


def test_a_clients_requests_follow_from_its_seed():
    assert drawn(50) == drawn(50)
    assert drawn(50) != drawn(50, seed=2)
    assert drawn(50) != drawn(50, client=1)


def test_own_keys_never_meet_and_counters_are_shared():
    asked = [drawn(600, client=client) for client in (0, 1)]
    own = [{request[1] for request in one if request[0] != "increment"} for one in asked]
    shared = [{request[1] for request in one if request[0] == "increment"} for one in asked]
    assert own[0].isdisjoint(own[1])
    assert shared[0] == shared[1] == set(range(16))
    assert max(len(request[2]) for request in asked[0] if request[0] == "put") <= 32


def test_other_guests_are_probed():
    assert [Special.PROBE] * 3 == drawn(3, program=Writer)


def account(*, sent, numbers, probes_sent=0, probe_counts=()):
    book = ClientAccount()
    for _ in range(sent):
        book.note_sent(GET)
    for number in numbers:
        book.note_answered(GET, Answer(number, Status.ABSENT))
    for _ in range(probes_sent):
        book.note_sent(Special.PROBE)
    for count in probe_counts:
        book.note_answered(Special.PROBE, count)
    return book


@given(st.integers(0, 60), st.integers(1, 4))
def test_books_that_agree_with_the_vm_have_nothing_lost_or_duplicated(operations, clients):
    shares = [range(client, operations, clients) for client in range(clients)]
    books = [account(sent=len(share), numbers=share) for share in shares]
    settled = settle(books, operations=operations, probes=0)
    assert (0, 0) == (settled.lost, settled.duplicated)
    assert operations == settled.sent == settled.answered


@pytest.mark.parametrize(
    ("situation", "sent", "numbers", "operations", "lost", "duplicated"),
    [
        ("never reached the VM", 3, (0, 1), 2, 1, 0),
        ("done, and the answer lost", 3, (0, 1), 3, 1, 0),
        ("answer lost and done again", 3, (0, 1, 3), 4, 0, 1),
        ("two copies gave the same number", 3, (0, 1, 1), 2, 0, 1),
        ("a second copy counted on", 3, (0, 1, 2), 2, 0, 1),
    ],
)
def test_each_way_to_lose_or_double_a_request(
    situation, sent, numbers, operations, lost, duplicated
):
    settled = settle([account(sent=sent, numbers=numbers)], operations=operations, probes=0)
    assert (lost, duplicated) == (settled.lost, settled.duplicated), situation


def test_probes_are_a_stream_of_their_own():
    books = [
        account(sent=1, numbers=(0,), probes_sent=2, probe_counts=(1, 3)),
        account(sent=0, numbers=(), probes_sent=2, probe_counts=(2,)),
    ]
    assert Settlement(sent=5, answered=4, lost=1, duplicated=0, malformed=0) == settle(
        books, operations=1, probes=4
    )


def test_a_malformed_request_is_neither_lost_nor_numbered():
    book = account(sent=2, numbers=(0,))
    book.note_answered(GET, Malformed("no"))
    settled = settle([book], operations=1, probes=0)
    assert (0, 0, 1) == (settled.lost, settled.duplicated, settled.malformed)


def test_an_impossible_answer_is_our_bug():
    with pytest.raises(TypeError, match="cannot be answered"):
        ClientAccount().note_answered(GET, 7)


def meter_of(*answers):
    meter = GapMeter()
    for at_s, epoch in answers:
        meter.answered(at_s, epoch=epoch)
    return meter


def test_the_blackout_is_between_the_two_hosts_and_not_a_longer_gap_elsewhere():
    meter = meter_of((0.0, 1), (0.5, 1), (0.502, 1), (0.509, 2), (0.511, 2))
    assert pytest.approx(0.007) == meter.gaps(2).blackout_s
    assert meter.gaps(1) is None


def test_stalls_are_gaps_over_10_ms_until_the_remainder_has_drained():
    meter = meter_of((0.0, 1), (0.005, 2), (0.010, 2), (0.030, 2), (0.045, 2))
    meter.drained()
    meter.answered(0.5, epoch=2)
    assert Gaps(
        blackout_s=pytest.approx(0.005),
        stall_s_max=pytest.approx(0.020),
        stall_s_sum=pytest.approx(0.035),
    ) == meter.gaps(2)


def test_a_pause_between_two_migrations_is_no_blackout():
    """Nobody probes in between; a switchover that was not watched has no figure."""
    meter = meter_of((0.0, 1), (0.004, 2))
    meter.drained()
    meter.answered(60.0, epoch=3)
    meter.answered(60.5, epoch=3)
    assert {2: Gaps(blackout_s=0.004)} == meter.all_gaps()


def test_a_late_answer_of_the_source_is_no_way_back():
    meter = meter_of((0.000, 1), (0.008, 2), (0.009, 1), (0.010, 2))
    assert Gaps(blackout_s=pytest.approx(0.008)) == meter.gaps(2)


def test_each_migration_there_and_back_has_its_own_blackout():
    times = itertools.count(0, 0.002)
    meter = meter_of(*((next(times), epoch) for epoch in (1, 1, 2, 2, 3, 3)))
    assert meter.gaps(2) == meter.gaps(3)
