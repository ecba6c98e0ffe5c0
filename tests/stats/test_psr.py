"""PSR, DSR and MinTRL against the papers' numbers, against skfolio, and against the three ways to misuse
them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.stats import (
    annualised,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    moments,
    per_observation,
    probabilistic_sharpe_ratio,
    trial_variance,
)

#: Annual Sharpe ratio 2.5 over five years of 250 days, 100 trials: the example of the 2014 paper.
PAPER = {"n_observations": 1250, "trial_variance": 0.5 / 250}


@pytest.mark.parametrize(
    ("n", "skew", "kurtosis", "expected"),
    [(24, 0.0, 3.0, 0.9817), (24, -2.448, 10.164, 0.9134), (36, -2.448, 10.164, 0.9535)],
)
def test_psr_of_the_hedge_fund_example(n, skew, kurtosis, expected):
    assert round(probabilistic_sharpe_ratio(0.458, n, skew=skew, kurtosis=kurtosis), 4) == expected


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.731), (52, 0.0, 3.0, 2.829), (12, 0.0, 3.0, 3.240), (12, -0.72, 5.78, 4.991)],
)
def test_years_that_prove_an_annual_sharpe_of_two_above_one(periods, skew, kurtosis, years):
    n = minimum_track_record_length(
        per_observation(2.0, periods), benchmark=per_observation(1.0, periods), skew=skew, kurtosis=kurtosis
    )
    assert round(n / periods, 3) == years


def test_expected_maximum_of_a_hundred_trials():
    assert round(expected_maximum_sharpe(0.5 / 250, 100), 5) == 0.11317


@pytest.mark.parametrize(
    ("n_trials", "skew", "kurtosis", "expected"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_dsr_of_the_paper(n_trials, skew, kurtosis, expected):
    dsr = deflated_sharpe_ratio(
        per_observation(2.5, 250), **PAPER, n_trials=n_trials, skew=skew, kurtosis=kurtosis
    )
    assert round(dsr, 4) == expected


@pytest.mark.parametrize("seed", range(8))
def test_psr_and_dsr_agree_with_skfolio(seed):
    measures = pytest.importorskip("skfolio.measures")
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(5, size=int(rng.integers(30, 400))) * 0.01 + rng.uniform(0.0, 0.003)
    trials = rng.normal(0.0, 0.05, size=int(rng.integers(2, 200)))
    # skfolio divides by the sample deviation (ddof 1), this house by the population's; the estimator is
    # compared.
    m = moments(returns)
    ours_sharpe = m.sharpe * math.sqrt((m.n - 1) / m.n)
    psr = probabilistic_sharpe_ratio(ours_sharpe, m.n, benchmark=0.02, skew=m.skew, kurtosis=m.kurtosis)
    theirs = measures.probabilistic_sharpe_ratio(returns, benchmark_sharpe_ratio=0.02)
    assert psr == pytest.approx(theirs, abs=1e-9)
    dsr = deflated_sharpe_ratio(
        ours_sharpe,
        m.n,
        trial_variance=trial_variance(trials),
        n_trials=trials.size,
        skew=m.skew,
        kurtosis=m.kurtosis,
    )
    assert dsr == pytest.approx(measures.deflated_sharpe_ratio(returns, trials), abs=1e-9)


def test_an_annualised_ratio_with_a_count_of_days_is_far_too_sure():
    daily = per_observation(0.5, 250)
    honest = probabilistic_sharpe_ratio(daily, 500)
    assert honest < 0.8
    assert probabilistic_sharpe_ratio(annualised(daily, 250), 500) > 0.999


@pytest.mark.parametrize(("skew", "excess"), [(0.0, 0.0), (-2.448, 2.0)])
def test_an_impossible_kurtosis_is_refused_and_named_as_excess(skew, excess):
    with pytest.raises(ValueError, match="add 3 to an excess kurtosis"):
        probabilistic_sharpe_ratio(0.458, 24, skew=skew, kurtosis=excess)


def test_excess_kurtosis_that_passes_for_raw_would_flatter():
    raw = probabilistic_sharpe_ratio(0.458, 24, skew=-2.448, kurtosis=10.164)
    assert probabilistic_sharpe_ratio(0.458, 24, skew=-2.448, kurtosis=7.164) > raw


def test_normal_returns_have_raw_kurtosis_three():
    assert moments(np.random.default_rng(1).standard_normal(200_000)).kurtosis == pytest.approx(3.0, abs=0.05)


def test_counting_the_survivors_alone_would_promote_what_all_trials_refuse():
    rng = np.random.default_rng(7)
    trials = rng.normal(0.0, 0.05, 1000)
    survivors = np.sort(trials)[-20:]
    best, n = float(trials.max()), 1000
    honest = deflated_sharpe_ratio(best, n, trial_variance=trial_variance(trials, 1000), n_trials=1000)
    flattered = deflated_sharpe_ratio(best, n, trial_variance=trial_variance(survivors), n_trials=20)
    assert honest < 0.6
    assert flattered > 0.99
    with pytest.raises(ValueError, match="all trials count"):
        trial_variance(survivors, n_trials=1000)


@given(
    st.floats(-0.5, 0.5),
    st.integers(3, 5000),
    st.floats(-1.0, 1.0),
    st.floats(0.0, 10.0),
    st.floats(1e-6, 0.1),
)
def test_dsr_never_exceeds_psr_and_falls_with_trials(sharpe, n, skew, above, variance):
    kurtosis = 1.0 + skew * skew + 0.1 + above
    shape = {"skew": skew, "kurtosis": kurtosis}
    psr = probabilistic_sharpe_ratio(sharpe, n, **shape)
    few = deflated_sharpe_ratio(sharpe, n, trial_variance=variance, n_trials=10, **shape)
    many = deflated_sharpe_ratio(sharpe, n, trial_variance=variance, n_trials=1000, **shape)
    assert 0.0 <= many <= few <= psr <= 1.0


@given(st.floats(0.05, 1.0), st.floats(0.0, 0.04), st.sampled_from([0.9, 0.95, 0.99]))
def test_psr_reaches_the_confidence_at_the_minimum_track_record(sharpe, benchmark, confidence):
    n = minimum_track_record_length(sharpe, benchmark=benchmark, confidence=confidence)
    upper = max(2, math.ceil(n))
    assert probabilistic_sharpe_ratio(sharpe, upper, benchmark=benchmark) >= confidence - 1e-12
    if math.floor(n) >= 2:
        assert probabilistic_sharpe_ratio(sharpe, math.floor(n), benchmark=benchmark) <= confidence + 1e-12


def test_a_record_that_does_not_beat_the_benchmark_never_proves_it():
    assert minimum_track_record_length(0.1, benchmark=0.1) == math.inf


def test_expected_maximum_matches_simulated_maxima():
    rng = np.random.default_rng(3)
    maxima = rng.standard_normal((4000, 100)).max(axis=1)
    assert expected_maximum_sharpe(1.0, 100) == pytest.approx(maxima.mean(), rel=0.02)


@pytest.mark.parametrize(
    "call",
    [
        lambda: probabilistic_sharpe_ratio(0.1, 1),
        lambda: probabilistic_sharpe_ratio(math.nan, 10),
        lambda: probabilistic_sharpe_ratio(0.1, 10, benchmark=math.inf),
        lambda: expected_maximum_sharpe(-1.0, 10),
        lambda: expected_maximum_sharpe(1.0, 0),
        lambda: minimum_track_record_length(0.1, confidence=0.5),
        lambda: trial_variance([0.1, math.nan]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError):
        call()
