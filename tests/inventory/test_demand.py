"""Demand over time, as the cluster uses it."""

import pytest

from cluster.inventory.demand import Constant, Series, Sine, Steps


def test_a_constant_holds_for_ever():
    assert 500 == Constant(mhz=500).at(-1) == Constant(mhz=500).at(1e9)


@pytest.mark.parametrize(
    ("time_s", "mhz"), [(-1, 100), (0, 100), (9.99, 100), (10, 900), (19, 900), (20, 50), (1e9, 50)]
)
def test_steps_hold_from_their_second_on(time_s, mhz):
    assert mhz == Steps(points=((0, 100), (10, 900), (20, 50))).at(time_s)


def test_a_sine_starts_at_its_mean_and_is_never_negative():
    wave = Sine(mean_mhz=100, amplitude_mhz=300, period_s=4)
    assert [100, 400, 0] == [pytest.approx(wave.at(time_s)) for time_s in (0, 1, 3)]
    assert pytest.approx(100) == Sine(mean_mhz=100, amplitude_mhz=300, period_s=4, phase_s=1).at(1)


@pytest.mark.parametrize(("time_s", "mhz"), [(-5, 1), (0, 1), (4.9, 1), (5, 2), (14, 3), (99, 3)])
def test_a_series_holds_each_value_for_an_interval_and_the_last_for_ever(time_s, mhz):
    assert mhz == Series(interval_s=5, values_mhz=(1, 2, 3)).at(time_s)
