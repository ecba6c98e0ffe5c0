"""The Watchtower's judgement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.actors import watchtower
from apex_nautilus.actors.watchtower import (
    Limits,
    TrialBook,
    Trials,
    Vitals,
    Watchtower,
    judge,
    past_returns,
)
from apex_nautilus.stats import Moments, expected_maximum_sharpe, probabilistic_sharpe_ratio
from apex_nautilus.store import LedgerRecord

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


@pytest.mark.parametrize(
    ("own", "limit", "kind"),
    [(10.0, 10.0, "live"), (0.5, 10.0, "ruin"), (10.0, 0.5, "ruin"), (0.61, 10.0, "live")],
)
def test_ruin_is_by_the_smaller_of_the_limit_and_the_genomes_own_leverage(own, limit, kind):
    """Whoever can place no order any more would hold its slot for ever."""
    limits = Limits(max_leverage=limit)
    vitals = Vitals(equity=100.0, capital=150.0, smallest_notional=60.0, max_leverage=own)
    verdict = judge(vitals, limits, NOBODY)
    assert (verdict.kind, verdict.max_leverage) == (kind, min(own, limit))
    assert Watchtower(limits).judge("a", 100.0, 150.0, 60.0, own).kind == kind


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
        {"decay_dsr": -0.1},
        {"promotion_dsr": 0.0},
    ],
)
def test_impossible_limits_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def lives(seed: int, agents: int = 6, trades: int = 260):
    rng = np.random.default_rng(seed)
    drift = rng.uniform(-0.006, 0.006, agents)
    return {
        f"a{k}": np.where(rng.random(trades) < 0.25 + 10 * drift[k], 0.03, -0.01).round(6).tolist()
        for k in range(agents)
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_tower_that_carries_its_sums_judges_as_one_that_reckons_anew(seed):
    limits = Limits(min_trades=10, window=40, promotion_dsr=0.9)
    tower, book = Watchtower(limits), TrialBook()
    returns = lives(seed)
    for n in range(1, 260):
        for name, values in returns.items():
            tower.record(name, values[n - 1])
            book.record(name, values[:n], limits)
            ours = tower.judge(name, 150.0, 200.0, 6.0)
            slow = judge(Vitals(150.0, 200.0, 6.0, values[:n]), limits, book.trials())
            assert (ours.kind, ours.trades, ours.judged, ours.trials) == (
                slow.kind, slow.trades, slow.judged, slow.trials
            )  # fmt: skip
            for field in ("sharpe", "skew", "kurtosis", "psr", "dsr", "benchmark", "trials_variance"):
                mine, theirs = getattr(ours, field), getattr(slow, field)
                assert mine == pytest.approx(theirs, rel=1e-7, abs=1e-9, nan_ok=True)


def test_the_numbers_of_a_verdict_make_it_again():
    """What is in the line is enough for skfolio to come to the same PSR and DSR."""
    measures = pytest.importorskip("skfolio.measures")
    limits = Limits(window=60)
    returns = lives(9, agents=1)["a0"]
    trials = [0.05, -0.1, 0.2, 0.0, 0.12]
    book = TrialBook()
    for k, ratio in enumerate(trials):
        book.put(f"t{k}", ratio)
    verdict = judge(Vitals(200.0, 200.0, 6.0, returns), limits, book.trials())
    shape = {"skew": verdict.skew, "kurtosis": verdict.kurtosis}
    again = probabilistic_sharpe_ratio(verdict.sharpe, verdict.judged, benchmark=verdict.benchmark, **shape)
    assert verdict.dsr == again
    assert verdict.benchmark == expected_maximum_sharpe(verdict.trials_variance, verdict.trials)
    window = np.array(returns[-60:])
    # skfolio's ratio has the sample deviation in it; for equal ratios the probabilities are equal.
    stretched = window + window.mean() * (math.sqrt(60 / 59) - 1.0)
    theirs = measures.probabilistic_sharpe_ratio(stretched, benchmark_sharpe_ratio=0.0)
    assert verdict.psr == pytest.approx(theirs, abs=1e-9)
    assert verdict.dsr == pytest.approx(measures.deflated_sharpe_ratio(stretched, np.array(trials)), abs=1e-9)


@pytest.mark.parametrize(
    ("sharpe", "n", "skew", "kurtosis", "trials", "psr", "dsr"),
    [
        (0.458, 24, 0.0, 3.0, Trials(1, 0.0), 0.9817, 0.9817),
        (0.458, 24, -2.448, 10.164, Trials(1, 0.0), 0.9134, 0.9134),
        (2.5 / math.sqrt(250), 1250, -3.0, 10.0, Trials(100, 0.5 / 250), None, 0.9004),
        (2.5 / math.sqrt(250), 1250, -3.0, 10.0, Trials(46, 0.5 / 250), None, 0.9505),
        (2.5 / math.sqrt(250), 1250, 0.0, 3.0, Trials(88, 0.5 / 250), None, 0.9505),
    ],
)
def test_a_verdict_has_the_values_of_the_papers(sharpe, n, skew, kurtosis, trials, psr, dsr):
    shape = Moments(n, sharpe, 1.0, sharpe, skew, kurtosis)
    limits = Limits(min_trades=20, window=2000)
    verdict = watchtower._verdict(200.0, 200.0, 6.0, 10.0, n, shape, limits, trials)
    assert psr is None or round(verdict.psr, 4) == psr
    assert round(verdict.dsr, 4) == dsr


def test_decay_by_the_deflated_ratio_is_off_unless_asked_for():
    rng = np.random.default_rng(5)
    returns = 0.001 + 0.01 * rng.standard_normal(100)
    crowd = Trials(500, 0.09)
    assert judge(Vitals(210.0, 200.0, 6.0, returns), Limits(), crowd).kind == "live"
    verdict = judge(Vitals(210.0, 200.0, 6.0, returns), Limits(decay_dsr=0.02), crowd)
    assert verdict.kind == "decay"
    assert "500 trials" in verdict.reason


def test_between_two_trades_only_equity_is_looked_at_and_a_death_has_all_numbers():
    tower = Watchtower(Limits(min_trades=5))
    for returned in (0.01, -0.01, 0.02, 0.01, 0.03, -0.01):
        tower.record("a", returned)
    first, between = (tower.judge("a", 180.0, 200.0, 6.0) for _ in range(2))
    assert math.isfinite(first.dsr)
    assert math.isnan(between.dsr)
    death = tower.judge("a", 90.0, 200.0, 6.0)
    assert (death.kind, death.trades, death.judged) == ("drawdown", 6, 6)
    assert death.psr == first.psr


def test_the_dead_and_the_agents_of_earlier_runs_stay_trials():
    tower = Watchtower(Limits(min_trades=3))
    tower.restore([[0.1, -0.1, 0.2], [0.5]])
    tower.record("a", 0.1)
    tower.judge("a", 200.0, 200.0, 6.0)
    tower.forget("a")
    assert tower.trials.trials().count == 3
    tower.restore([[]])
    assert tower.trials.trials().count == 4


def test_earlier_lives_are_read_from_births_and_fills():
    def line(seq, kind, **fields):
        return LedgerRecord(seq, seq, "arena", kind, fields)

    lines = [
        line(0, "birth", agent="a", capital=200.0),
        line(1, "fill", agent="a", position=1.0, cash=199.0),
        line(2, "fill", agent="a", position=0.0, cash=210.0),
        line(3, "birth", agent="b", capital=200.0),
        line(4, "fill", agent="a", position=-1.0, cash=209.0),
        line(5, "fill", agent="a", position=0.0, cash=199.5),
        line(6, "birth", agent="a", capital=200.0),  # the next run uses the name again
        line(7, "fill", agent="a", position=0.0, cash=220.0),
    ]
    first, second, third = past_returns(lines)
    assert first == [pytest.approx(0.05), pytest.approx(-0.05)]
    assert second == []
    assert third == [pytest.approx(0.1)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-2.0, 2.0)), min_size=1, max_size=400))
def test_the_variance_of_the_trials_is_that_of_their_latest_ratios(changes):
    book, latest = TrialBook(), {}
    for agent, ratio in changes:
        book.put(str(agent), ratio)
        latest[agent] = ratio
    expected = np.var(list(latest.values()), ddof=1) if len(latest) > 1 else 0.0
    assert book.trials().count == len(latest)
    assert book.trials().variance == pytest.approx(expected, rel=1e-9, abs=1e-12)
    with pytest.raises(ValueError, match="finite"):
        book.put("x", math.nan)
