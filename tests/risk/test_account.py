"""The account's arithmetic against exact fractions: partial closes, flips, fees, funding, marks at the
touch."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk import AgentAccount


class ExactAccount:
    """Cash and position in fractions: equity needs no average price and no realised profit."""

    def __init__(self, capital):
        self.cash = Fraction(capital)
        self.position = Fraction(0)
        self.lots = []

    def fill(self, direction, units, price, fee):
        self.cash -= direction * units * price + fee
        self.position += direction * units

    def equity(self, bid, ask):
        return self.cash + self.position * (bid if self.position > 0 else ask)


FILLS = st.lists(
    st.tuples(
        st.sampled_from([1, -1]), st.integers(1, 500), st.integers(50_000, 70_000), st.integers(-100, 1000)
    ),
    max_size=40,
)


@given(FILLS, st.integers(50_000, 70_000), st.integers(1, 50), st.integers(-500, 500))
def test_equity_agrees_with_cash_in_exact_fractions(fills, bid_units, spread, funding_cents):
    account, exact = AgentAccount(200.0, size_precision=3), ExactAccount(200)
    for direction, units, price, fee in fills:
        account.fill(direction, units / 1000, price / 10, fee / 100)
        exact.fill(direction, Fraction(units, 1000), Fraction(price, 10), Fraction(fee, 100))
    account.fund(funding_cents / 100)
    exact.cash += Fraction(funding_cents, 100)
    bid, ask = Fraction(bid_units, 10), Fraction(bid_units + spread, 10)
    assert account.position_units == exact.position * 1000
    assert account.is_flat == (exact.position == 0)
    # Turnover reaches 140,000 quote units here; a cent is 1e-7 of it, float64 keeps 1e-16.
    assert account.equity(float(bid), float(ask)) == pytest.approx(float(exact.equity(bid, ask)), abs=1e-7)
    if account.is_flat:
        assert account.balance == account.equity(math.nan, math.nan)
        assert account.average_price == 0.0


@given(FILLS)
def test_parts_add_up(fills):
    account = AgentAccount(200.0, size_precision=3)
    realised = 0.0
    for direction, units, price, fee in fills:
        realised += account.fill(direction, units / 1000, price / 10, fee / 100)
    assert account.realised == pytest.approx(realised, abs=1e-9)
    assert account.balance == pytest.approx(200.0 + account.realised - account.fees + account.funding)
    assert account.n_fills == len(fills)


def test_a_partial_close_realises_its_part_and_keeps_the_average():
    account = AgentAccount(200.0, size_precision=3)
    assert account.fill(1, 0.002, 100.0) == 0.0
    assert account.fill(1, 0.002, 110.0) == 0.0
    assert account.average_price == pytest.approx(105.0)
    assert account.fill(-1, 0.001, 120.0, fee=0.01) == pytest.approx(0.015)
    assert account.average_price == pytest.approx(105.0)
    assert account.position == 0.003


def test_a_flip_closes_all_and_opens_the_rest_at_its_price():
    account = AgentAccount(200.0, size_precision=3)
    account.fill(-1, 0.002, 100.0)
    assert account.fill(1, 0.005, 90.0) == pytest.approx(0.02)
    assert account.position == 0.003
    assert account.average_price == 90.0


@pytest.mark.parametrize(("direction", "equity"), [(1, 199.0), (-1, 198.0)])
def test_equity_marks_at_the_touch_it_would_close_on(direction, equity):
    account = AgentAccount(200.0, size_precision=0)
    account.fill(direction, 1.0, 100.0)
    assert account.equity(bid=99.0, ask=102.0) == equity


def test_tenths_close_to_exactly_flat():
    account = AgentAccount(200.0, size_precision=1)
    for _ in range(3):
        account.fill(1, 0.1, 100.0)
    account.fill(-1, 0.3, 100.0)
    assert account.is_flat


@pytest.mark.parametrize(
    ("direction", "quantity", "price", "fee"),
    [
        (0, 1.0, 1.0, 0.0),
        (1, 0.0, 1.0, 0.0),
        (1, 0.0005, 1.0, 0.0),
        (1, math.nan, 1.0, 0.0),
        (1, 1.0, 0.0, 0.0),
        (1, 1.0, math.inf, 0.0),
        (1, 1.0, 1.0, math.nan),
    ],
)
def test_a_fill_that_cannot_be_leaves_the_account_as_it_was(direction, quantity, price, fee):
    account = AgentAccount(200.0, size_precision=3)
    account.fill(1, 0.5, 10.0, 0.1)
    before = (account.position_units, account.average_price, account.realised, account.fees, account.n_fills)
    with pytest.raises(ValueError):
        account.fill(direction, quantity, price, fee)
    assert before == (
        account.position_units,
        account.average_price,
        account.realised,
        account.fees,
        account.n_fills,
    )


@pytest.mark.parametrize("capital", [0.0, -1.0, math.nan, math.inf])
def test_an_account_needs_money(capital):
    with pytest.raises(ValueError):
        AgentAccount(capital, size_precision=3)


def test_funding_must_be_a_number():
    with pytest.raises(ValueError):
        AgentAccount(200.0, size_precision=3).fund(math.nan)
