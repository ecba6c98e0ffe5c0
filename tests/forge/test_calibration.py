"""The probability of winning is learnt from evidence, and from little evidence only little."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from apex_nautilus.forge import PlattFit, fit_platt

PRIOR = {"prior_rate": 0.25, "prior_events": 10.0, "slope_penalty": 1.0}


def _sample(n, a, b, seed=0, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n) * scale + shift
    wins = (rng.random(n) < 1.0 / (1.0 + np.exp(-(a * scores + b)))).astype(float)
    return scores, wins


@pytest.mark.parametrize("n", [1, 5, 40, 500])
@pytest.mark.parametrize("start", [None, PlattFit(0.7, -0.4, 50, 20)])
def test_the_fit_is_the_minimum_that_scipy_finds(n, start):
    scores, wins = _sample(n, 1.2, -0.8, seed=n, scale=3.0, shift=2.0)
    fit = fit_platt(scores, wins, start=start, **PRIOR)
    mean, deviation = scores.mean(), scores.std()
    if deviation == 0.0:
        z, unit, slope = np.zeros(n), 1.0, 0.0
    else:
        z, unit, slope = (scores - mean) / deviation, deviation, 0.0
    rate = PRIOR["prior_rate"]
    if start is not None:
        rate = 1.0 / (1.0 + math.exp(-(start.a * mean + start.b)))
        slope = start.a * deviation

    def loss(theta):
        x = theta[0] * z + theta[1]
        data = np.sum(np.logaddexp(0.0, x) - wins * x)
        prior = PRIOR["prior_events"] * (np.logaddexp(0.0, theta[1]) - rate * theta[1])
        return data + prior + 0.5 * PRIOR["slope_penalty"] * (theta[0] - slope) ** 2

    found = minimize(loss, [slope, 0.0], method="BFGS", options={"gtol": 1e-10}).x
    assert fit.a * unit == pytest.approx(found[0], abs=2e-5)
    assert fit.b + fit.a * mean == pytest.approx(found[1], abs=2e-5)


def test_many_events_reveal_the_truth():
    scores, wins = _sample(40_000, 1.5, -1.0)
    fit = fit_platt(scores, wins, **PRIOR)
    assert fit.a == pytest.approx(1.5, abs=0.06)
    assert fit.b == pytest.approx(-1.0, abs=0.05)
    assert (fit.events, fit.wins) == (40_000, int(wins.sum()))


def test_without_events_it_is_a_fair_game_or_what_was_known_before():
    none = np.empty(0)
    assert fit_platt(none, none, **PRIOR).probability(3.0) == pytest.approx(0.25)
    before = PlattFit(0.5, 0.1, 40, 25)
    assert fit_platt(none, none, start=before, **PRIOR) == PlattFit(0.5, 0.1, 0, 0)


@pytest.mark.parametrize("wins", [1, 2, 3])
def test_a_few_wins_move_it_only_a_little(wins):
    fit = fit_platt(np.linspace(0.0, 1.0, wins), np.ones(wins), **PRIOR)
    p = fit.probability(0.5)
    assert 0.25 < p < 0.5
    assert p == pytest.approx((2.5 + wins) / (10.0 + wins), abs=0.03)


@settings(max_examples=40)
@given(st.floats(0.001, 1000.0), st.floats(-100.0, 100.0), st.integers(0, 30))
def test_the_unit_of_the_score_does_not_matter(scale, shift, seed):
    scores, wins = _sample(60, 1.0, -0.5, seed=seed)
    fit = fit_platt(scores, wins, **PRIOR)
    moved = fit_platt(scores * scale + shift, wins, **PRIOR)
    for score in (-1.0, 0.0, 2.0):
        assert moved.probability(score * scale + shift) == pytest.approx(fit.probability(score), abs=1e-6)


@pytest.mark.parametrize(
    "scores",
    [np.full(30, 0.7), np.concatenate([np.full(29, 1e12), [1e12 + 1.0]]), np.array([0.0, 1e-9] * 15)],
)
def test_scores_that_hardly_differ_give_finite_rates(scores):
    wins = np.zeros(30)
    wins[::3] = 1.0
    fit = fit_platt(scores, wins, **PRIOR)
    assert math.isfinite(fit.a) and abs(fit.a) <= 1e6  # noqa: PT018
    assert math.isfinite(fit.b) and abs(fit.b) <= 1e6  # noqa: PT018
    assert 0.2 < fit.probability(float(scores[0])) < 0.45


@pytest.mark.parametrize("changed", [{"prior_rate": 0.0}, {"prior_rate": 1.0}, {"prior_events": 0.0}])
def test_a_prior_that_is_none_is_refused(changed):
    with pytest.raises(ValueError, match="prior"):
        fit_platt(np.zeros(3), np.zeros(3), **(PRIOR | changed))
