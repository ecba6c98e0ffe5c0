"""Marchenko-Pastur: golden edges, the density's mass, and matrices of real noise."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from apex_nautilus.stats.marchenko_pastur import marchenko_pastur_density, marchenko_pastur_edges


@pytest.mark.parametrize(
    ("n", "t", "low", "high"), [(50, 500, 0.4675, 1.7325), (100, 500, 0.3056, 2.0944), (50, 50, 0.0, 4.0)]
)
def test_edges_are_those_of_the_paper(n, t, low, high):
    assert marchenko_pastur_edges(n, t) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("n", "t", "mass"), [(50, 500, 1.0), (100, 120, 1.0), (200, 100, 0.5)])
@pytest.mark.parametrize("variance", [1.0, 0.3])
def test_the_density_integrates_to_the_share_of_nonzero_eigenvalues(n, t, mass, variance):
    low, high = marchenko_pastur_edges(n, t, variance)
    total, _ = quad(lambda x: float(marchenko_pastur_density(x, n, t, variance)), low, high)
    mean, _ = quad(lambda x: x * float(marchenko_pastur_density(x, n, t, variance)), low, high)
    assert total == pytest.approx(mass, abs=1e-6)
    assert mean == pytest.approx(variance, abs=1e-6)


def test_the_density_is_zero_outside_and_nan_stays_nan():
    values = marchenko_pastur_density(np.array([-1.0, 0.0, 0.2, 1.0, 2.0, np.nan]), 50, 500)
    assert values[[0, 1, 2, 4]].tolist() == [0.0] * 4
    assert values[3] > 0.5
    assert math.isnan(values[5])


def test_eigenvalues_of_noise_lie_between_the_edges():
    rng = np.random.default_rng(5)
    values = np.linalg.eigvalsh(np.corrcoef(rng.normal(size=(400, 2000))))
    low, high = marchenko_pastur_edges(400, 2000)
    assert low - 0.03 < values[0] < low + 0.05
    assert high - 0.05 < values[-1] < high + 0.03
    bins = np.linspace(low, high, 9)
    share = np.histogram(values, bins)[0] / 400
    expected = [quad(lambda x: float(marchenko_pastur_density(x, 400, 2000)), a, b)[0]
                for a, b in pairwise(bins)]  # fmt: skip
    np.testing.assert_allclose(share, expected, atol=0.02)


@pytest.mark.parametrize("arguments", [(0, 5), (5, 0), (5, 5, 0.0), (5, 5, math.inf), (5, 5, math.nan)])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"at least one asset|variance must be"):
        marchenko_pastur_edges(*arguments)
