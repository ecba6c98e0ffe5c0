"""PBO by CSCV: even odds on noise, near zero on a planted edge, equal to the definition spelled out."""

from itertools import combinations

import numpy as np
import pytest

from apex_nautilus.stats import probability_of_backtest_overfitting


def test_noise_overfits_half_of_the_time():
    rng = np.random.default_rng(4)
    values = [probability_of_backtest_overfitting(rng.standard_normal((640, 20))) for _ in range(10)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.12)


def test_a_planted_edge_survives_out_of_sample():
    returns = np.random.default_rng(4).standard_normal((1600, 50))
    returns[:, 7] += 0.25
    assert probability_of_backtest_overfitting(returns) < 0.05


@pytest.mark.parametrize("strategies", [2, 3, 6])
def test_the_batched_sums_equal_the_definition(strategies):
    rng = np.random.default_rng(strategies)
    returns = rng.standard_normal((50, strategies))
    stretches = np.array_split(returns[2:], 6)
    below = 0.0
    halves = list(combinations(range(6), 3))
    for chosen in halves:
        inside = np.concatenate([stretches[i] for i in chosen])
        outside = np.concatenate([stretches[i] for i in range(6) if i not in chosen])
        best = np.argmax(inside.mean(0) / inside.std(0))
        sharpes = outside.mean(0) / outside.std(0)
        omega = (np.sum(sharpes < sharpes[best]) + 1) / (strategies + 1)
        below += 1.0 if omega < 0.5 else 0.5 if omega == 0.5 else 0.0
    assert probability_of_backtest_overfitting(returns, 6) == pytest.approx(below / len(halves))


def test_strategies_without_a_trade_are_ties():
    assert 0.0 <= probability_of_backtest_overfitting(np.zeros((64, 4))) <= 1.0


@pytest.mark.parametrize(
    ("shape", "splits"), [((64, 1), 16), ((64,), 16), ((10, 3), 16), ((64, 3), 7), ((64, 3), 22)]
)
def test_shapes_that_do_not_allow_it_are_refused(shape, splits):
    with pytest.raises(ValueError):
        probability_of_backtest_overfitting(np.zeros(shape), splits)
