"""Hypothesis strategies for typed trees and for rows, from the table of primitives."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from apex_nautilus.genome import FLOAT, PRIMITIVES, WINDOWS, call, constant, feature

HOSTILE = [0.0, -0.0, 1.0, -1.0, 1e-9, -1e-10, 1e12, -1e12, 1e300, -1e300, np.inf, -np.inf, np.nan, 5e-324]


@st.composite
def trees(draw, n_features: int = 3, depth: int = 4, kind: str = FLOAT, windowed: bool = True):
    """A typed tree; a condition may also be given as a number, which the codec accepts."""
    terminal = st.one_of(
        st.integers(0, n_features - 1).map(feature),
        st.floats(-1e6, 1e6, allow_nan=False).map(constant),
        st.sampled_from([0.0, -0.0, 1.0, 1e-10, -2.0]).map(constant),
    )
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(terminal)
    names = [p for p in PRIMITIVES.values() if p.result == kind and (windowed or not p.windowed)]
    primitive = draw(st.sampled_from(names))
    if primitive.windowed:
        return call(
            primitive.name, feature(draw(st.integers(0, n_features - 1))), k=draw(st.sampled_from(WINDOWS))
        )
    return call(
        primitive.name, *(draw(trees(n_features, depth - 1, kind, windowed)) for kind in primitive.arguments)
    )


@st.composite
def rows(draw, n_features: int = 3, most: int = 90):
    """A matrix with ordinary values, repeats, and everything that could go wrong."""
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n, n_features)) * 10.0 ** rng.integers(-3, 4)
    X[rng.random(X.shape) < 0.1] = np.round(X[rng.random(X.shape) < 0.1].mean() if n > 9 else 0.5, 1)
    share = draw(st.sampled_from([0.0, 0.05, 0.4]))
    hit = rng.random(X.shape) < share
    X[hit] = rng.choice(HOSTILE, size=int(hit.sum()))
    return X
