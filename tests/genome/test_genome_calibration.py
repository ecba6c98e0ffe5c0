"""Raw scores become probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.genome import Isotonic, Platt, calibrate_kernel, calibrated_probability, calibration_table


@given(a=st.floats(-1e3, 1e3), b=st.floats(-1e3, 1e3), x=st.floats(-1e12, 1e12))
def test_platt_is_a_sigmoid(a, b, x):
    z = a * x + b
    expected = 1.0 / (1.0 + math.exp(-max(min(z, 700.0), -700.0)))
    assert calibrated_probability(Platt(a, b), x) == pytest.approx(expected, rel=1e-14, abs=1e-300)


@given(
    knots=st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1)), min_size=1, max_size=32, unique_by=lambda k: k[0]
    ),
    x=st.floats(-2e6, 2e6),
)
def test_isotonic_interpolates_between_knots_and_is_flat_outside(knots, x):
    scores = tuple(sorted(k[0] for k in knots))
    probabilities = tuple(sorted(k[1] for k in knots))
    calibration = Isotonic(scores, probabilities)
    p = calibrated_probability(calibration, x)
    assert p == pytest.approx(np.interp(x, scores, probabilities), abs=1e-12)
    assert probabilities[0] <= p <= probabilities[-1]
    for score, probability in zip(scores, probabilities, strict=True):
        assert calibrated_probability(calibration, score) == probability


@given(seed=st.integers(0, 2**31), x=st.floats(-3, 3), y=st.floats(-3, 3))
def test_isotonic_never_falls(seed, x, y):
    rng = np.random.default_rng(seed)
    calibration = Isotonic(tuple(np.sort(rng.normal(size=8))), tuple(np.sort(rng.random(8))))
    low, high = sorted((x, y))
    assert calibrated_probability(calibration, low) <= calibrated_probability(calibration, high)


def test_a_score_that_is_not_a_number_has_no_probability():
    for calibration in (Platt(), Isotonic((0.0, 1.0), (0.2, 0.8))):
        assert math.isnan(calibrated_probability(calibration, math.nan))


def test_the_kernel_takes_the_table():
    table = calibration_table(Isotonic((0.0, 1.0), (0.25, 0.75)))
    assert calibrate_kernel(*table, 0.5) == 0.5
