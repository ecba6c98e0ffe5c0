"""Funding payments as arithmetic, and the holes of a history of rates."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk.funding import funding_gaps, funding_payment

HOUR = 3_600_000_000_000


@pytest.mark.parametrize(
    ("quantity", "mark", "rate", "amount"),
    [
        (0.5, 60_000.0, 0.0001, -3.0),  # a long pays a positive rate
        (-0.5, 60_000.0, 0.0001, 3.0),  # and a short receives it
        (0.5, 60_000.0, -0.0001, 3.0),
        (0.001, 83_000.15, 0.00006789, -0.00563488),
        (0.0, 60_000.0, 0.0001, 0.0),
        (1.0, 60_000.0, 0.0, 0.0),
    ],
)
def test_longs_pay_shorts_the_rate_on_the_notional(quantity, mark, rate, amount):
    assert funding_payment(quantity, mark, rate, decimals=8) == amount


def test_nothing_is_paid_as_a_plain_zero():
    assert math.copysign(1.0, funding_payment(1.0, 100.0, 0.0, decimals=8)) == 1.0
    assert math.copysign(1.0, funding_payment(1e-9, 1.0, 1e-9, decimals=2)) == 1.0


def test_a_contract_of_many_units_pays_for_all_of_them():
    assert funding_payment(2.0, 50.0, 0.001, decimals=8, multiplier=10.0) == -1.0


@given(
    units=st.integers(-(10**6), 10**6),
    mark=st.integers(1, 10**7),
    rate=st.integers(-300_000, 300_000),
    decimals=st.sampled_from([2, 6, 8]),
)
def test_a_payment_is_the_exact_product_to_the_last_place_and_opposite_positions_cancel(
    units, mark, rate, decimals
):
    quantity, price, share = units / 1000, mark / 10, rate / 10**8
    paid = funding_payment(quantity, price, share, decimals=decimals)
    exact = -Fraction(units, 1000) * Fraction(mark, 10) * Fraction(rate, 10**8)
    assert abs(Fraction(paid) - exact) <= Fraction(501, 1000 * 10**decimals) + abs(exact) * Fraction(1, 2**50)
    assert paid + funding_payment(-quantity, price, share, decimals=decimals) == 0.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"quantity": math.nan}, "quantity"),
        ({"mark": 0.0}, "mark"),
        ({"mark": math.inf}, "mark"),
        ({"rate": math.nan}, "rate"),
        ({"multiplier": 0.0}, "multiplier"),
        ({"decimals": 17}, "decimals"),
    ],
)
def test_numbers_that_make_no_payment_are_named(change, named):
    values = {"quantity": 1.0, "mark": 100.0, "rate": 1e-4, "decimals": 8, **change}
    with pytest.raises(ValueError, match=f"funding_payment: {named} must be"):
        funding_payment(values.pop("quantity"), values.pop("mark"), values.pop("rate"), **values)


def hours(*times: int) -> np.ndarray:
    return np.array(times, dtype=np.int64) * HOUR


@pytest.mark.parametrize(
    ("settled", "span", "gaps"),
    [
        (range(0, 49, 8), (1, 47), []),
        ([0, 8, 24, 32, 40], (0, 40), [(8, 24)]),
        ([0, 8, 16, 20, 24, 28, 32], (0, 32), []),  # from eight hours to four
        ([16, 24, 32], (0, 32), [(0, 16)]),  # begins late
        ([8, 16, 24], (0, 40), [(24, 40)]),  # ends early
        ([8, 16, 24], (0, 31), []),  # the next is not due yet
        ([0, 8, 16, 48, 56], (0, 20), []),  # the hole begins when the span is about to end
        ([0, 8, 16, 48, 56], (0, 30), [(16, 30)]),
        ([0, 8, 16, 48, 56], (30, 56), [(30, 48)]),
        ([0, 8, 16, 48, 56], (50, 56), []),
        ([], (3, 9), [(3, 9)]),
        ([5], (0, 100), [(5, 100)]),
        ([5], (0, 12), []),
        ([0, 8, 24, 40, 48], (0, 48), [(8, 24), (24, 40)]),  # one after the other
        ([0, 1, 2, 5, 6], (0, 6), [(2, 5)]),  # every hour
    ],
)
def test_a_settlement_that_must_have_been_is_missed(settled, span, gaps):
    lo, hi = (t * HOUR for t in span)
    assert funding_gaps(hours(*settled), lo, hi) == [(a * HOUR, b * HOUR) for a, b in gaps]


def test_recorded_rates_of_every_step_have_no_gap_and_show_one_that_is_cut_out(shared_data):
    """Steps of eight, four and one hour; one instrument changes its step in the middle."""
    steps = set()
    files = sorted((shared_data / "perp-candles-2025").glob("*-funding_rate.feather"))
    assert len(files) > 10
    for file in files:
        times = pl.read_ipc(file.open("rb"))["date"].dt.epoch("s").to_numpy() * 10**9
        assert (times % HOUR == 0).all(), file.name
        first, last = int(times[0]), int(times[-1])
        assert funding_gaps(times, first, last) == [], file.name
        cut = len(times) // 3
        assert funding_gaps(np.delete(times, cut), first, last) == [(times[cut - 1], times[cut + 1])], (
            file.name
        )
        steps |= set((np.diff(times) // HOUR).tolist())
    assert steps == {1, 4, 8}
