"""Brackets: distances, rounding away from the entry, the window of mids, costs and walking the book."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk import (
    NO_DEPTH,
    MidWindow,
    bracket_prices,
    log_return_deviation_kernel,
    log_returns_kernel,
    return_deviation_kernel,
    round_trip_cost,
    stop_distance,
    walk,
)


@pytest.mark.parametrize(("side", "expected"), [(1, (61985.7, 61738.5)), (-1, (61614.9, 61862.1))])
def test_a_bracket_on_the_grid_stays_on_it(side, expected):
    # 61800.3 + 3 * 61.8 is 61985.700000000004 in floats; a tick further would be noise, not caution.
    assert bracket_prices(side, 61800.3, 61.8, 3.0, 1, 1) == expected


@pytest.mark.parametrize(("side", "expected"), [(1, (61985.9, 61738.4)), (-1, (61614.7, 61862.2))])
def test_a_bracket_between_ticks_is_rounded_away(side, expected):
    assert bracket_prices(side, 61800.3, 61.85, 3.0, 1, 1) == expected


@given(
    st.sampled_from([1, -1]),
    st.integers(1_000_000, 10_000_000),
    st.floats(0.5, 20_000.0),
    st.floats(0.5, 5.0),
    st.sampled_from([1, 5, 25]),
)
def test_rounding_is_away_from_the_entry_by_less_than_a_tick(side, touch_units, distance, reward_risk, tick):
    touch = touch_units / 100
    profit, stop = bracket_prices(side, touch, distance, reward_risk, tick, 2)
    step, noise = tick / 100, 2e-6 * tick / 100
    assert reward_risk * distance - noise <= side * (profit - touch) <= reward_risk * distance + step + noise
    assert distance - noise <= side * (touch - stop) <= distance + step + noise
    for price in (profit, stop):
        assert round(price * 100) % tick == 0


def test_a_stop_in_basis_points_is_a_share_of_the_touch():
    assert stop_distance("bps", 10.0, 60_000.0) == 60.0


def test_a_volatility_stop_is_the_population_deviation_of_the_last_log_returns():
    mids = np.array([90.0, 100.0, 101.0, 99.0, 100.0])
    returns = np.diff(np.log(mids[-4:]))
    assert stop_distance("volatility", 2.0, 50.0, mids, 3) == pytest.approx(2.0 * returns.std() * 50.0)


def test_a_volatility_stop_without_history_is_no_number():
    assert math.isnan(stop_distance("volatility", 2.0, 50.0, np.array([100.0, 101.0, 102.0]), 3))


@given(st.lists(st.floats(50.0, 150.0), min_size=2, max_size=60), st.integers(1, 60))
def test_the_deviation_is_the_same_bits_from_mids_and_from_returns(mids, window):
    values = np.array(mids)
    returns = np.empty(values.size - 1)
    log_returns_kernel(values, returns)
    a = log_return_deviation_kernel(values, window)
    b = return_deviation_kernel(returns, returns.size, window)
    assert (math.isnan(a) and math.isnan(b)) or a == b
    assert math.isnan(a) == (window > returns.size)


@given(st.integers(1, 7), st.lists(st.floats(1.0, 2.0), max_size=40))
def test_the_mid_window_is_the_tail_of_what_was_pushed(length, mids):
    window = MidWindow(length)
    for mid in mids:
        window.push(mid)
    assert window.values.tolist() == mids[-length:]
    assert len(window) == min(length, len(mids))
    assert window.values.flags.c_contiguous


BOOK = np.array(
    [[99.0, 98.0, 97.0, 96.0, 95.0, 1.0], [1.0, 2.0, 0.0, 1.0, 1.0, 99.0],
     [101.0, 102.0, math.nan, 0.0, 0.0, 0.0], [1.0, 3.0, 0.0, 0.0, 0.0, 0.0]]
)  # fmt: skip


@pytest.mark.parametrize(
    ("direction", "size", "price"),
    [
        (1, 0.5, 101.0),
        (1, 1.0, 101.0),
        (1, 2.0, 101.5),
        (1, 10.0, (101.0 + 9 * 102.0) / 10),
        (-1, 3.0, (99.0 + 2 * 98.0) / 3),
        (-1, 4.0, (99.0 + 2 * 98.0 + 96.0) / 4),
        (-1, 10.0, (99.0 + 2 * 98.0 + 96.0 + 6 * 95.0) / 10),
    ],
)
def test_a_market_order_walks_five_levels_and_fills_the_rest_at_the_last(direction, size, price):
    assert walk(BOOK, direction, size, 100.0) == pytest.approx(price, rel=1e-14)


def test_without_displayed_levels_the_touch_fills():
    assert walk(NO_DEPTH, 1, 3.0, 100.5) == 100.5


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=5), st.integers(1, 200)
)
def test_walking_agrees_with_exact_fractions(levels, size):
    book = np.zeros((4, 5))
    price, exact, left, last = 1000, Fraction(0), Fraction(size), None
    for k, (gap, available) in enumerate(levels):
        price += gap
        book[2, k], book[3, k] = price, available
        taken = min(left, available)
        exact += taken * price
        left -= taken
        last = price if available else last
    touch = 1000.0
    exact += left * Fraction(last if last is not None else touch)
    assert walk(book, 1, float(size), touch) == pytest.approx(float(exact / size), rel=1e-14)


def test_a_round_trip_pays_two_fees_the_spread_and_its_slippage():
    cost = round_trip_cost(60_000.0, 0.1, entry_fee=0.0005, exit_fee=0.0005, slippage=0.4)
    assert cost == pytest.approx(60.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stop_distance("ticks", 1.0, 1.0),
        lambda: stop_distance("bps", -1.0, 1.0),
        lambda: stop_distance("volatility", 1.0, 1.0, np.ones(3), 0),
        lambda: bracket_prices(0, 1.0, 1.0, 3.0, 1, 1),
        lambda: bracket_prices(1, math.nan, 1.0, 3.0, 1, 1),
        lambda: bracket_prices(1, 1.0, 1.0, 3.0, 0, 1),
        lambda: MidWindow(0),
        lambda: walk(np.zeros((3, 5)), 1, 1.0, 1.0),
        lambda: walk(BOOK, 0, 1.0, 1.0),
        lambda: walk(BOOK, 1, 0.0, 1.0),
        lambda: round_trip_cost(0.0, 0.1, entry_fee=0.0, exit_fee=0.0),
        lambda: round_trip_cost(1.0, -0.1, entry_fee=0.0, exit_fee=0.0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError):
        call()
