"""Ledgers against the venue's account."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.actors.reconciliation import Balance, reconcile

LOTS = {"BTC": 0.001, "ETH": 0.01}


def test_equal_books_agree_whatever_floating_point_does():
    balances = [Balance(f"a{i}", 200.1, "BTC", 0.001) for i in range(10)]
    result = reconcile(1000.0 + 2001.0, 1000.0, balances, {"BTC": 0.01}, lots=LOTS)
    assert result.agrees
    assert result.ledger_cash == pytest.approx(3001.0)


@pytest.mark.parametrize(("gap", "agrees"), [(0.0049, True), (-0.0049, True), (0.0051, False), (-1.0, False)])
def test_cash_must_agree_to_the_cent(gap, agrees):
    result = reconcile(200.0 + gap, 0.0, [Balance("a", 200.0, "BTC", 0.0)], {}, lots=LOTS)
    assert result.agrees is agrees


@pytest.mark.parametrize(
    ("venue", "fragment"),
    [({}, "BTC: venue 0, ledgers 0.003"), ({"BTC": 0.003, "ETH": 1.0}, "ETH: venue 1, ledgers 0")],
)
def test_a_difference_is_named_with_both_sides(venue, fragment):
    balances = [Balance("a", 0.0, "BTC", 0.005), Balance("b", 0.0, "BTC", -0.002)]
    result = reconcile(0.0, 0.0, balances, venue, lots=LOTS)
    assert not result.agrees
    assert fragment in result.differences[0]


def test_opposite_agents_net_to_a_flat_venue():
    balances = [Balance("a", 1.0, "BTC", 0.1), Balance("b", 2.0, "BTC", -0.1)]
    assert reconcile(3.0, 0.0, balances, {}, lots=LOTS).agrees


def test_an_unknown_balance_is_a_difference():
    assert not reconcile(math.nan, 0.0, [], {}, lots=LOTS).agrees
    assert not reconcile(0.0, 0.0, [], {"BTC": math.nan}, lots=LOTS).agrees


@settings(max_examples=60, deadline=None)
@given(
    cents=st.lists(st.integers(-100_000, 100_000), min_size=1, max_size=12),
    lots=st.lists(st.integers(-500, 500), min_size=12, max_size=12),
    off=st.integers(-3, 3),
    strange=st.integers(-2, 2),
)
def test_books_agree_exactly_when_nothing_was_moved(cents, lots, off, strange):
    balances = [Balance(f"a{i}", c / 100, "BTC", lots[i] * 0.001) for i, c in enumerate(cents)]
    account = (sum(cents) + off) / 100 + 50.0
    net = (sum(lots[: len(cents)]) + strange) * 0.001
    result = reconcile(account, 50.0, balances, {"BTC": net}, lots=LOTS)
    assert result.agrees == (off == 0 and strange == 0)
