"""Kelly's fraction at its golden values, and sizes that never leave their bounds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.risk import (
    STAKE_NOTIONAL,
    half_kelly,
    kelly,
    net_reward_risk,
    quantity,
    uncertainty_shrink,
)
from apex_nautilus.risk.rounding import floor_units_kernel


@pytest.mark.parametrize(("p", "fraction"), [(0.40, 0.20), (0.25, 0.0), (0.20, 0.0), (1.0, 1.0), (0.0, 0.0)])
def test_kelly_bets_only_with_an_edge(p, fraction):
    assert kelly(p, 3.0) == pytest.approx(fraction)


@pytest.mark.parametrize(("p", "fraction"), [(0.40, 0.10), (0.25, 0.0), (0.20, 0.0)])
def test_half_kelly_bets_half(p, fraction):
    assert half_kelly(p, reward_risk=3.0) == pytest.approx(fraction)


def test_half_kelly_keeps_three_quarters_of_the_growth():
    # In the limit of small bets, where Kelly's argument is exact: growth g(f) = mu f - sigma^2 f^2 / 2.
    p, b = 0.2505, 3.0
    full = kelly(p, b)

    def growth(f):
        return p * math.log1p(b * f) + (1 - p) * math.log1p(-f)

    assert growth(full / 2) / growth(full) == pytest.approx(0.75, abs=0.002)


def test_half_kelly_halves_once_in_eight_and_doubles_first_eight_times_in_nine():
    rng = np.random.default_rng(0)
    p, b = 0.30, 3.0
    f = half_kelly(p, b)
    # Finite bets are close to the continuous limit the golden values are of: 1/8 and 8/9.
    steps = np.where(rng.random((4000, 6000)) < p, math.log1p(b * f), math.log1p(-f)).cumsum(axis=1)
    halved_at = np.argmax(steps <= math.log(0.5), axis=1)
    doubled_at = np.argmax(steps >= math.log(2.0), axis=1)
    halved = (steps <= math.log(0.5)).any(axis=1)
    doubled = (steps >= math.log(2.0)).any(axis=1)
    assert halved.mean() == pytest.approx(1 / 8, abs=0.02)
    assert (doubled & (~halved | (doubled_at < halved_at))).mean() == pytest.approx(8 / 9, abs=0.02)


@given(st.floats(0.0, 1.0), st.floats(0.01, 100.0))
def test_kelly_maximises_the_growth_of_the_logarithm(p, b):
    f = kelly(p, b)
    assert 0.0 <= f <= 1.0

    def growth(x):
        return p * math.log1p(b * x) + (1 - p) * math.log1p(-x) if x < 1.0 else -math.inf

    if f < 1.0:
        for other in (0.0, f / 2, f + (1 - f) * 1e-3):
            assert growth(f) >= growth(other) - 1e-12


@pytest.mark.parametrize(("p", "b"), [(1.1, 3.0), (-0.1, 3.0), (math.nan, 3.0), (0.5, 0.0), (0.5, math.inf)])
def test_what_is_no_probability_or_no_odds_is_refused(p, b):
    with pytest.raises(ValueError):
        kelly(p, b)


def test_costs_lower_the_win_and_deepen_the_loss():
    assert net_reward_risk(30.0, 10.0, 0.0) == 3.0
    assert net_reward_risk(30.0, 10.0, 2.0) == pytest.approx(28.0 / 12.0)
    assert net_reward_risk(30.0, 10.0, 30.0) == 0.0


@pytest.mark.parametrize(("sharpe", "n", "factor"), [(0.0, 100, 0.0), (0.1, 100, 0.5), (-0.1, 100, 0.5)])
def test_parameter_uncertainty_shrinks_the_bet(sharpe, n, factor):
    assert uncertainty_shrink(sharpe, n) == pytest.approx(factor)


def test_stake_risk_loses_the_fraction_at_the_stop():
    size = quantity(200.0, 0.10, touch=60_000.0, risk_per_unit=2000.0, lot_units=1, size_scale=1e6)
    assert size * 2000.0 == pytest.approx(20.0)


def test_stake_notional_holds_the_fraction():
    size = quantity(1e6, 0.1, touch=60_000.0, risk_per_unit=1.0, stake=STAKE_NOTIONAL, size_scale=1e6)
    assert size * 60_000.0 == pytest.approx(1e5, rel=1e-5)


SIZES = {
    "equity": st.floats(0.0, 1e7),
    "fraction": st.floats(0.0, 1.0),
    "touch": st.floats(1e-4, 1e6),
    "risk": st.floats(1e-6, 1e5),
    "stake": st.sampled_from([0, 1]),
    "multiplier": st.floats(0.0, 6.0),
    "leverage": st.floats(0.1, 50.0),
    "low": st.floats(0.0, 10.0),
    "high": st.one_of(st.just(0.0), st.floats(1e-3, 100.0)),
    "venue_low": st.floats(0.0, 1.0),
    "venue_high": st.floats(1.0, 1e6),
    "notional": st.floats(0.0, 200.0),
    "lot": st.sampled_from([1, 5, 25]),
    "precision": st.integers(0, 8),
}


@settings(max_examples=300)
@given(st.fixed_dictionaries(SIZES))
def test_a_quantity_is_none_or_inside_every_cap(d):
    scale = 10.0 ** d["precision"]
    size = quantity(
        d["equity"], d["fraction"], touch=d["touch"], risk_per_unit=d["risk"], stake=d["stake"],
        multiplier=d["multiplier"], max_leverage=d["leverage"], genome_min_qty=d["low"],
        genome_max_qty=d["high"], venue_min_qty=d["venue_low"], venue_max_qty=d["venue_high"],
        min_notional=d["notional"], lot_units=d["lot"], size_scale=scale,
    )  # fmt: skip
    assert size >= 0.0
    if size == 0.0:
        return
    assert d["fraction"] > 0.0
    assert d["multiplier"] > 0.0
    assert size <= d["equity"] * d["leverage"] / d["touch"]
    assert size <= d["venue_high"]
    assert not d["high"] or size <= d["high"]
    assert size >= d["venue_low"]
    assert size * d["touch"] >= d["notional"]
    assert round(size * scale) % d["lot"] == 0
    if not d["low"]:
        per_unit = d["touch"] if d["stake"] else d["risk"]
        assert size <= d["equity"] * d["fraction"] / per_unit * d["multiplier"]


def test_a_lower_bound_never_turns_no_bet_into_a_bet():
    common = {"touch": 100.0, "risk_per_unit": 1.0, "genome_min_qty": 1.0, "size_scale": 1000.0}
    assert quantity(200.0, 0.0, **common) == 0.0
    assert quantity(200.0, 0.001, **common) == 1.0


def test_below_the_venue_minimum_there_is_no_order():
    common = {"touch": 100.0, "risk_per_unit": 1.0, "size_scale": 1000.0}
    assert quantity(200.0, 0.001, min_notional=20.0, **common) == 0.2
    assert quantity(200.0, 0.001, min_notional=20.1, **common) == 0.0
    assert quantity(200.0, 0.001, venue_min_qty=0.201, **common) == 0.0


@given(st.integers(0, 10**9), st.sampled_from([1, 5, 100]), st.integers(0, 9))
def test_a_value_on_the_grid_is_not_rounded_down_from_it(steps, step, precision):
    scale = 10.0**precision
    assert floor_units_kernel((steps * step) / scale, step, scale) == steps * step


@given(st.floats(0.0, 1e9), st.sampled_from([1, 5, 100]), st.integers(0, 6))
def test_flooring_is_the_largest_step_not_above(value, step, precision):
    scale = 10.0**precision
    units = floor_units_kernel(value, step, scale)
    assert units % step == 0
    assert units / scale <= value
    assert (units + step) / scale > value


@pytest.mark.parametrize("call", [
    lambda: quantity(1.0, 0.1, touch=1.0, risk_per_unit=1.0, stake=2),
    lambda: quantity(1.0, 0.1, touch=1.0, risk_per_unit=1.0, lot_units=0),
    lambda: half_kelly(0.5, 3.0, kelly_fraction=1.5),
    lambda: net_reward_risk(1.0, 0.0),
    lambda: net_reward_risk(1.0, 1.0, -1.0),
    lambda: uncertainty_shrink(math.nan, 3),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError):
        call()


def test_the_multiplier_comes_before_the_leverage_cap_and_the_genomes_bounds_after_it():
    common = {"touch": 100.0, "risk_per_unit": 1.0, "max_leverage": 10.0, "size_scale": 1000.0}
    assert quantity(200.0, 0.05, **common) == 10.0
    assert quantity(200.0, 0.05, multiplier=1.5, **common) == 15.0
    assert quantity(200.0, 0.05, multiplier=2.5, **common) == 20.0  # 200 x 10 / 100
    assert quantity(200.0, 0.05, multiplier=2.5, genome_max_qty=12.0, **common) == 12.0
    assert quantity(200.0, 0.05, multiplier=0.1, genome_min_qty=3.0, **common) == 3.0
    assert quantity(200.0, 0.05, genome_min_qty=30.0, **common) == 20.0
    assert quantity(200.0, 0.05, multiplier=0.0, genome_min_qty=3.0, **common) == 0.0
