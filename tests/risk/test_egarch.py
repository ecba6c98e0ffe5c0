"""The volatility recursion: the one of `arch`, from the past only."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from arch.univariate import EGARCH
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.risk import Egarch, forward_sigma

MODEL = Egarch(omega=0.11, alpha=0.28, gamma=-0.04, beta=0.97, start=5.0, low=-20.0, high=40.0)


def returns(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, n) * 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_conditional_volatility_of_arch(seed):
    """Same parameters, run forward by the library: equal to 1e-10, one step beyond the sample included."""
    scaled = returns(seed, 2000) * MODEL.scale
    sample = np.append(scaled, 0.0)
    theirs = np.empty(sample.size)
    parameters = np.array([MODEL.omega, MODEL.alpha, MODEL.gamma, MODEL.beta])
    bounds = np.column_stack([np.full(sample.size, 1e-12), np.full(sample.size, 1e30)])
    # arch begins with omega + beta * (log of the backcast); ours with the log variance that is given.
    backcast = (MODEL.start - MODEL.omega) / MODEL.beta
    EGARCH(p=1, o=1, q=1).compute_variance(parameters, sample, theirs, backcast, bounds)
    ours = forward_sigma(MODEL, scaled / MODEL.scale) * MODEL.scale
    np.testing.assert_allclose(ours, np.sqrt(theirs), rtol=1e-10)


@given(at=st.integers(0, 199), size=st.floats(-0.2, 0.2))
def test_what_comes_later_changes_nothing_before(at, size):
    calm = returns(9, 200)
    shaken = calm.copy()
    shaken[at] = size
    before, after = forward_sigma(MODEL, calm), forward_sigma(MODEL, shaken)
    assert (before[: at + 1] == after[: at + 1]).all()


def test_a_shock_raises_the_next_bar_and_fades():
    quiet = np.zeros(50)
    shocked = quiet.copy()
    shocked[10] = -0.02
    ratio = forward_sigma(MODEL, shocked) / forward_sigma(MODEL, quiet)
    assert ratio[10] == 1.0
    assert ratio[11] > 1.5
    assert (np.diff(ratio[11:]) < 0.0).all()


def test_the_log_variance_is_held_to_its_bounds():
    held = msgspec.structs.replace(MODEL, low=4.0, high=6.0)
    shocked = np.zeros(3)
    shocked[0] = 0.5
    sigma = forward_sigma(held, shocked) * held.scale
    assert sigma[1] == pytest.approx(math.exp(3.0))
    assert forward_sigma(held, np.zeros(500))[-1] * held.scale == pytest.approx(math.exp(2.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beta": 1.0}, r"egarch\.beta: must lie inside"),
        ({"omega": math.nan}, r"egarch\.omega: must be finite"),
        ({"start": 50.0}, r"egarch\.start: must lie in \[low, high\]"),
        ({"scale": 0.0}, r"egarch\.scale: must be positive"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_name(change, said):
    with pytest.raises(ValueError, match=said):
        forward_sigma(msgspec.structs.replace(MODEL, **change), np.zeros(3))
    with pytest.raises(ValueError, match="must be finite"):
        forward_sigma(MODEL, [0.0, math.inf])
