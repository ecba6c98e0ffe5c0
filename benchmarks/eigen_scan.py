"""Eigen scan: 50 assets, four windows, against numpy's corrcoef and eigvalsh on the same returns.

Prices are a walk whose common factor makes half of each asset's variance, as in the market of large coins.
numpy makes each scan anew; ours rolls. Both on one thread of BLAS where the environment says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from apex_nautilus.features.eigen import EIGEN_WINDOWS, EigenConfig, EigenScanner
from benchmarks.harness import Row, compare, peer_version

N = 50


def _prices(t: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    moves = 0.7 * rng.normal(size=(t, 1)) + 0.7 * rng.normal(size=(t, N))
    return 100.0 * np.cumprod(1.0 + 1e-4 * moves, axis=0)


def _numpy_scans(returns: np.ndarray, rows: range) -> np.ndarray:
    """All eigenvalues / N of each window, (rows, 4, N); `rows` are ends of windows."""
    out = np.empty((len(rows), 4, N))
    for i, end in enumerate(rows):
        for k, w in enumerate(EIGEN_WINDOWS):
            out[i, k] = np.linalg.eigvalsh(np.corrcoef(returns[end - w : end].T)) / N
    return out


def run(quick: bool) -> Iterator[Row]:
    """Yield scans a second: the largest eigenvalue, then the whole spectrum."""
    ours_n, theirs_n, repeats = (400, 20, 5) if quick else (2000, 100, 7)
    warm = max(EIGEN_WINDOWS) + 2
    prices = _prices(warm + 200 + ours_n * (repeats + 2))
    returns = prices[1:] / prices[:-1] - 1.0
    times = np.arange(len(prices)) * 5_000_000_000
    for name, spectrum, null_every, goal in (
        ("eigen scan, largest eigenvalue", False, 0, 30.0),
        ("eigen scan, largest eigenvalue and shuffled null", False, 750, None),
        ("eigen scan, all eigenvalues", True, 0, 2.0),
    ):
        config = EigenConfig(spectrum=spectrum, null_every=null_every)
        check = EigenScanner(N, config).scan_many(prices[: warm + 50], times[: warm + 50])
        expected = _numpy_scans(returns, range(check.row[0], check.row[-1] + 1))
        error = np.abs(check.records["lambda_max"] - expected[:, :, -1]).max()
        if spectrum:
            error = max(error, np.abs(check.spectrum - expected).max())
        if not error < 1e-12:
            raise AssertionError(f"{name}: differs from numpy by {error:.1e}")
        scanner = EigenScanner(N, config)
        scanner.scan_many(prices[:warm], times[:warm])
        starts = itertools.count(warm, ours_n)

        def ours(scanner=scanner, starts=starts):
            a = next(starts)
            return scanner.scan_many(prices[a : a + ours_n], times[a : a + ours_n])

        yield compare(
            name,
            ours,
            lambda: _numpy_scans(returns, range(warm, warm + theirs_n)),
            work=ours_n,
            their_work=theirs_n,
            unit="scans/s",
            peer=peer_version("numpy"),
            goal_ratio=goal,
            same_work=f"50 scans equal to {error:.0e}",
            repeats=repeats,
        )
