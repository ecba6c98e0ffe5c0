"""The elementary functions against exact ones, over their whole range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.genome import call, compile_trees, evaluate_block, evaluate_row, feature, new_state

NAMES = ("tanh", "sigmoid", "signed_log1p", "signed_sqrt")
PROGRAMS = [compile_trees([call(name, feature(0))], 1) for name in NAMES]


def exact(name: str, x: float) -> float:
    if name == "tanh":
        return math.tanh(x)
    if name == "sigmoid":
        return 1.0 / (1.0 + math.exp(-x)) if x > -700 else math.exp(max(x, -708.0))
    if name == "signed_log1p":
        return math.copysign(math.log1p(abs(x)), x)
    return math.copysign(math.sqrt(abs(x)), x)


def test_errors_stay_below_four_units_of_the_last_place():
    rng = np.random.default_rng(1)
    sizes = 10.0 ** rng.uniform(-300, 12, 20_000)
    X = np.concatenate(
        [sizes * rng.choice([-1.0, 1.0], len(sizes)), rng.uniform(-40, 40, 20_000), [0.0, -0.0]]
    )
    found, _ = evaluate_block(PROGRAMS, X[:, None])
    for g, name in enumerate(NAMES):
        expected = np.array([exact(name, x) for x in X])
        error = np.abs(found[g, 0] - expected) / np.maximum(np.abs(expected), 1e-307)
        assert error.max() < 9e-16, (name, X[error.argmax()])


@pytest.mark.parametrize("g", range(len(NAMES)))
@given(x=st.floats(-1e12, 1e12, allow_nan=False))
def test_scalar_and_vector_code_agree_for_any_argument(g, x):
    X = np.full((40, 1), x)
    out = np.zeros(1)
    evaluate_row(PROGRAMS[g], X[0], new_state(PROGRAMS[g]), out)
    found, _ = evaluate_block([PROGRAMS[g]], X)
    assert found.tobytes() == np.full(40, out[0]).tobytes()


@given(x=st.floats(-1e12, 1e12), y=st.floats(-1e12, 1e12))
def test_they_never_decrease(x, y):
    low, high = sorted((x, y))
    found, _ = evaluate_block(PROGRAMS, np.array([[low], [high]]))
    assert (found[:, 0, 0] <= found[:, 0, 1] + 2e-16 * np.abs(found[:, 0, 1])).all()
