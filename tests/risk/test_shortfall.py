"""The parts of what a fill cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk.shortfall import fill_cost


@pytest.mark.parametrize(
    ("case", "arguments", "expected"),
    [
        ("bought at the ask", {"side": 1, "price": 101.0, "bid": 99.0, "ask": 101.0}, (100.0, 2.0, 0.0)),
        ("bought above it", {"side": 1, "price": 101.5, "bid": 99.0, "ask": 101.0}, (100.0, 2.0, 1.0)),
        ("sold, and the bid had risen", {"side": -1, "price": 99.5, "bid": 99.0, "ask": 101.0}, (100, 2, -1)),
        ("stop sold through its trigger", {"side": -1, "price": 98.0, "asked": 98.5}, (98.5, 0.0, 1.0)),
        ("limit bought at its price", {"side": 1, "price": 99.0, "asked": 99.0}, (99.0, 0.0, 0.0)),
        ("limit sold at a better one", {"side": -1, "price": 99.5, "asked": 99.0}, (99.0, 0.0, -1.0)),
    ],
)
def test_a_fill_of_two_units_is_split_by_hand(case, arguments, expected):
    cost = fill_cost(quantity=2.0, **arguments)
    assert tuple(cost) == pytest.approx(expected), case


@given(
    st.sampled_from((1, -1)), st.floats(1e-3, 1e3), st.floats(1.0, 1e5), st.floats(1.0, 1e5), st.floats(0, 10)
)
def test_the_parts_are_the_distance_from_the_reference(side, quantity, price, bid, spread):
    for cost in (
        fill_cost(side, quantity, price, bid=bid, ask=bid + spread),
        fill_cost(side, quantity, price, asked=bid),
    ):
        away = side * (price - cost.reference) * quantity
        assert cost.spread + cost.slippage == pytest.approx(away, rel=1e-9, abs=1e-6)
        assert cost.spread >= 0.0


def test_an_unknown_touch_is_not_made_up_and_bad_input_is_refused():
    assert all(math.isnan(x) for x in fill_cost(1, 1.0, 100.0))
    with pytest.raises(ValueError, match="side"):
        fill_cost(0, 1.0, 100.0)
    with pytest.raises(ValueError, match="positive"):
        fill_cost(1, -1.0, 100.0)
