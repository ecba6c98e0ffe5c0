"""All eigenvalues of a small symmetric matrix, against LAPACK and by their invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.features._eigen_values import eigenvalues


def _bound(matrix):
    return 4 * len(matrix) * 2.0**-52 * max(np.abs(matrix).sum(axis=1).max(), 1e-300)


@settings(max_examples=60)
@given(
    n=st.integers(1, 60),
    samples=st.integers(2, 120),
    common=st.floats(0.0, 3.0),
    twins=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_eigenvalues_of_correlations_are_lapacks(n, samples, common, twins, seed):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(samples, n)) + common * draw.normal(size=(samples, 1))
    if twins:
        x[:, n // 2 :] = x[:, : n - n // 2]
    x -= x.mean(axis=0)
    x /= np.sqrt((x * x).sum(axis=0))
    matrix = x.T @ x
    found = eigenvalues(matrix)
    assert (np.diff(found) >= 0.0).all()
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix), rtol=0, atol=_bound(matrix))
    assert found.sum() == pytest.approx(np.trace(matrix), abs=_bound(matrix) * n)


@settings(max_examples=40)
@given(n=st.integers(1, 40), scale=st.floats(-100.0, 100.0), seed=st.integers(0, 2**32 - 1))
def test_eigenvalues_of_any_symmetric_matrix_are_lapacks(n, scale, seed):
    draw = np.random.default_rng(seed)
    matrix = draw.normal(size=(n, n)) * 10.0 ** (scale / 10.0)
    matrix = matrix + matrix.T
    matrix[draw.random((n, n)) < 0.5] = 0.0
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    np.testing.assert_allclose(eigenvalues(matrix), np.linalg.eigvalsh(matrix), rtol=0, atol=_bound(matrix))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.eye(5), np.ones(5)),
        (np.ones((4, 4)), [0.0, 0.0, 0.0, 4.0]),
        (np.zeros((3, 3)), np.zeros(3)),
        ([[2.0]], [2.0]),
        ([[2.0, 1.0], [1.0, 2.0]], [1.0, 3.0]),
        (np.diag([3.0, -1.0, 2.0]), [-1.0, 2.0, 3.0]),
        # Second differences: 2 - 2 cos(k pi / (n + 1)).
        (
            2.0 * np.eye(30) - np.eye(30, k=1) - np.eye(30, k=-1),
            2.0 - 2.0 * np.cos(np.arange(1, 31) * np.pi / 31),
        ),
    ],
)
def test_known_matrices_have_their_known_eigenvalues(matrix, expected):
    np.testing.assert_allclose(eigenvalues(np.array(matrix, np.float64)), expected, rtol=0, atol=1e-13)
