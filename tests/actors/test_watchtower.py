"""The Watchtower's judgement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.actors.watchtower import Limits, TrialBook, Trials, Vitals, judge

NOBODY = Trials(0, 0.0)


@pytest.mark.parametrize(
    ("equity", "smallest", "limits", "kind"),
    [
        (200.0, 6.0, Limits(), "live"),
        (100.0, 6.0, Limits(drawdown=0.5), "live"),  # at the floor is not below it
        (99.99, 6.0, Limits(drawdown=0.5), "drawdown"),
        (99.99, 6.0, Limits(drawdown=0.6), "live"),
        (0.61, 6.0, Limits(drawdown=1.0), "live"),  # 6.1 of reach still places an order of 6
        (0.6, 6.0, Limits(drawdown=1.0), "live"),
        (0.59, 6.0, Limits(drawdown=1.0), "ruin"),
        (0.0, 0.0, Limits(drawdown=1.0), "ruin"),
        (-3.0, 6.0, Limits(drawdown=1.0), "ruin"),
        (150.0, 160.0, Limits(max_leverage=1.0), "ruin"),
        (0.59, 6.0, Limits(drawdown=0.5), "ruin"),  # ruin is said before drawdown
    ],
)
def test_an_agent_dies_by_ruin_or_by_its_drawdown_limit(equity, smallest, limits, kind):
    verdict = judge(Vitals(equity, 200.0, smallest), limits, NOBODY)
    assert verdict.kind == kind
    assert verdict.is_terminal == (kind != "live")
    assert verdict.floor == pytest.approx((1.0 - limits.drawdown) * 200.0)


def test_losing_money_with_confidence_is_decay_and_needs_enough_trades():
    limits = Limits(min_trades=30)
    losing = np.where(np.arange(60) % 5 == 0, 0.02, -0.02)
    few = judge(Vitals(180.0, 200.0, 6.0, losing[:29]), limits, NOBODY)
    assert (few.kind, few.trades) == ("live", 29)
    assert math.isnan(few.psr)
    verdict = judge(Vitals(180.0, 200.0, 6.0, losing), limits, NOBODY)
    assert verdict.kind == "decay"
    assert verdict.psr < 0.05


def test_decay_looks_at_the_latest_trades_only():
    rng = np.random.default_rng(3)
    lost_long_ago = np.r_[np.full(100, -0.05), 0.01 + 0.002 * rng.standard_normal(40)]
    whole = judge(Vitals(190.0, 200.0, 6.0, lost_long_ago), Limits(window=140), NOBODY)
    recent = judge(Vitals(190.0, 200.0, 6.0, lost_long_ago), Limits(window=40), NOBODY)
    assert whole.kind == "decay"
    assert recent.kind != "decay"


def test_promotion_asks_more_of_an_agent_the_more_were_tried():
    rng = np.random.default_rng(5)
    returns = 0.006 + 0.01 * rng.standard_normal(100)
    alone = judge(Vitals(260.0, 200.0, 6.0, returns), Limits(), Trials(1, 0.0))
    among_many = judge(Vitals(260.0, 200.0, 6.0, returns), Limits(), Trials(500, 0.09))
    assert alone.kind == "promote"
    assert alone.dsr == pytest.approx(alone.psr)
    assert among_many.kind == "live"
    assert among_many.dsr < alone.dsr


def test_all_agents_ever_judged_are_trials_the_dead_included():
    limits = Limits(min_trades=4, window=10)
    book = TrialBook()
    book.record("a", [0.1, -0.1, 0.2, 0.1], limits)
    book.record("b", [5.0], limits)  # too few trades: counted, with a ratio of 0
    book.record("b", [5.0, 6.0], limits)
    ratio = np.mean([0.1, -0.1, 0.2, 0.1]) / np.std([0.1, -0.1, 0.2, 0.1])
    trials = book.trials()
    assert trials.count == 2
    assert trials.variance == pytest.approx(np.var([ratio, 0.0], ddof=1))


@settings(max_examples=100, deadline=None)
@given(
    equity=st.floats(-1e3, 1e4),
    lower=st.floats(0.0, 100.0),
    smallest=st.floats(0.0, 1e3),
    drawdown=st.floats(0.5, 1.0),
)
def test_less_equity_never_saves_a_condemned_agent(equity, lower, smallest, drawdown):
    limits = Limits(drawdown=drawdown)
    verdict = judge(Vitals(equity, 200.0, smallest), limits, NOBODY)
    poorer = judge(Vitals(equity - lower, 200.0, smallest), limits, NOBODY)
    assert poorer.is_terminal or not verdict.is_terminal


@pytest.mark.parametrize(
    "vitals", [Vitals(math.nan, 200.0, 6.0), Vitals(1.0, 200.0, math.nan), Vitals(1.0, 0.0, 1.0)]
)
def test_unknown_numbers_are_refused_and_not_judged_alive(vitals):
    with pytest.raises(ValueError, match="vitals"):
        judge(vitals, Limits(), NOBODY)


@pytest.mark.parametrize(
    "wrong",
    [
        {"drawdown": 0.49},
        {"drawdown": 1.01},
        {"max_leverage": 0.0},
        {"min_trades": 2},
        {"window": 10},
        {"decay_psr": 1.0},
        {"promotion_dsr": 0.0},
    ],
)
def test_impossible_limits_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)
