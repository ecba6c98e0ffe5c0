"""The paired comparison holds its size under autocorrelation and finds a difference that is there."""

import math

import numpy as np
import pytest

from apex_nautilus.stats import paired_comparison
from apex_nautilus.stats.paired import _cosine_long_run_variance


def autocorrelated(rng, n, rho, runs):
    series = rng.standard_normal((n, runs))
    for i in range(1, n):
        series[i] += rho * series[i - 1]
    return series


@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.075), (0.5, 0.075), (0.8, 0.10)])
def test_equal_agents_are_seldom_told_apart(rho, most):
    rng = np.random.default_rng(11)
    series = autocorrelated(rng, 600, rho, 600)
    zero = np.zeros(600)
    swaps = np.mean([paired_comparison(series[:, r], zero).probability >= 0.95 for r in range(600)])
    assert swaps <= most


def test_the_plain_t_test_would_swap_far_too_often():
    rng = np.random.default_rng(11)
    series = autocorrelated(rng, 600, 0.8, 600)
    t = series.mean(axis=0) / (series.std(axis=0, ddof=1) / math.sqrt(600))
    assert np.mean(t > 1.645) > 0.25


def test_a_real_difference_is_found():
    rng = np.random.default_rng(5)
    better = autocorrelated(rng, 2000, 0.5, 1)[:, 0] + 0.3
    worse = autocorrelated(rng, 2000, 0.5, 1)[:, 0]
    result = paired_comparison(better, worse)
    assert result.probability > 0.99
    assert result.mean_difference == pytest.approx(np.mean(better - worse))


def test_swapping_the_two_mirrors_the_probability():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal(100), rng.standard_normal(100)
    assert paired_comparison(a, b).probability + paired_comparison(b, a).probability == pytest.approx(1.0)


def test_ties_and_short_records_decide_nothing():
    assert paired_comparison(np.ones(50), np.ones(50)).probability == 0.5
    assert paired_comparison(np.arange(7.0), np.zeros(7)).probability == 0.5
    assert paired_comparison([], []).probability == 0.5


def test_a_constant_lead_is_decided_by_its_sign():
    assert paired_comparison(np.full(20, 0.1), np.zeros(20)).probability == 1.0
    assert paired_comparison(np.zeros(20), np.full(20, 0.1)).probability == 0.0


@pytest.mark.parametrize("n", [8, 9, 50, 101])
def test_the_transform_is_the_sum_of_the_paper(n):
    x = np.random.default_rng(n).standard_normal(n)
    t = np.arange(1, n + 1)
    terms = [math.sqrt(2 / n) * np.sum(x * np.cos(math.pi * j * (t - 0.5) / n)) for j in range(1, 6)]
    assert _cosine_long_run_variance(x, 5) == pytest.approx(np.mean(np.square(terms)))


def test_white_noise_has_its_own_variance_as_long_run_variance():
    x = np.random.default_rng(1).standard_normal(50_000)
    assert _cosine_long_run_variance(x - x.mean(), 556) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]]), ([math.nan] * 9, [0.0] * 9)])
def test_series_that_do_not_pair_are_refused(a, b):
    with pytest.raises(ValueError):
        paired_comparison(a, b)
