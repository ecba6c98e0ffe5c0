"""The eigen scan: how much of the market is one mode, over four windows at once, and how fast that changes.

In: the latest prices of N assets at each tick of a clock (5 s), and which of them are fresh. Out: one record
a tick. For each window of w samples, from the correlation matrix of the last w simple returns:

- ``lambda_max``: its largest eigenvalue / assets in it, in [1/N, 1];
- ``velocity``: the change of lambda_max since the scan before, per sample, smoothed if asked;
- ``rotation``: 1 - |v(t) . v(t-1)|, v the leading eigenvector;
- ``instability``: the share of the last 750 scans whose |velocity| was below this one's, ties by half.

Over the windows: ``vel_div``, the shortest window's velocity minus the longest's;
``instability_composite``, the mean of the instabilities; ``regime_signal``, see `EigenScanner`. Formulas,
error bounds and what masks do: docs/eigen-scan.md. `EigenScanner.scan` and `scan_prices` run one kernel and
give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from apex_nautilus.features import _eigen_scan as kernel
from apex_nautilus.features.external.eigen_outputs import EIGEN_FEATURES, EIGEN_WINDOWS
from apex_nautilus.features.registry import FeatureError

__all__ = [
    "EIGEN_SCAN",
    "EIGEN_WINDOWS",
    "EigenConfig",
    "EigenScan",
    "EigenScanner",
    "EigenScans",
    "external_values",
    "scan_prices",
]

EIGEN_SCAN: Final = np.dtype(
    [
        ("scan_number", "<i8"),  # from 1, one more each published scan
        ("timestamp_ns", "<i8"),
        ("lambda_max", "<f8", (4,)),  # by window, shortest first
        ("velocity", "<f8", (4,)),
        ("rotation", "<f8", (4,)),
        ("instability", "<f8", (4,)),
        ("vel_div", "<f8"),
        ("instability_composite", "<f8"),
        ("regime_signal", "<f8"),
        ("excess", "<f8"),  # of the regime window, above its noise ceiling
        ("noise_ceiling", "<f8"),  # in eigenvalue units, not divided by the assets
        ("fresh", "<i4"),  # assets with a fresh price
        ("members", "<i4", (4,)),  # assets in each window's matrix
        ("members_changed", "?"),  # since the scan before: its velocities mix two universes
    ]
)
"""One published scan."""


@dataclass(frozen=True, slots=True)
class EigenConfig:
    """Settings of a scan.

    Parameters
    ----------
    windows : tuple of int
        Four lengths in samples, increasing, the first at least 10.
    max_age_ns : int
        A price older than this is stale, where ages are handed in.
    min_coverage : float
        Share of a window's returns that must have been observed for an asset to count in it.
    velocity_span : float
        Span of the exponential mean of the velocity, in scans: weight 2 / (span + 1); 1 for none.
    regime_window : int
        The window that the regime is read from.
    calm_below, stressed_above : float
        Bounds of the excess, see `EigenScanner`.
    null_every : int
        Scans between two draws of the shuffled null; 0 for the Marchenko-Pastur edge alone.
    seed : int
        Of the null's draws.
    spectrum : bool
        Compute all eigenvalues (Householder and rational QL), not the largest alone.

    Raises
    ------
    FeatureError
        When a setting is out of range; the message names it.
    """

    windows: tuple[int, ...] = EIGEN_WINDOWS
    max_age_ns: int = 15_000_000_000
    min_coverage: float = 0.9
    velocity_span: float = 1.0
    regime_window: int = 300
    calm_below: float = 0.2
    stressed_above: float = 0.6
    null_every: int = 750
    seed: int = 0
    spectrum: bool = False

    def __post_init__(self) -> None:
        w = self.windows
        if len(w) != kernel.WINDOWS or any(b <= a for a, b in pairwise(w)) or w[0] < 10:
            raise FeatureError(f"eigen scan: windows must be four increasing lengths from 10 on, got {w!r}")
        checks = {
            "max_age_ns": self.max_age_ns >= 0,
            "min_coverage": 0.0 < self.min_coverage <= 1.0,
            "velocity_span": 1.0 <= self.velocity_span < math.inf,
            "regime_window": self.regime_window in w,
            "calm_below": 0.0 <= self.calm_below <= self.stressed_above,
            "stressed_above": self.calm_below <= self.stressed_above <= 1.0,
            "null_every": self.null_every >= 0,
            "seed": 0 <= self.seed < 2**64,
        }
        wrong = [name for name, holds in checks.items() if not holds]
        if wrong:
            raise FeatureError(
                "eigen scan: out of range: "
                + ", ".join(f"{name} = {getattr(self, name)!r}" for name in wrong)
            )


@dataclass(frozen=True, slots=True, eq=False)
class EigenScan:
    """One published scan, as a live scanner gives it.

    Attributes
    ----------
    record : numpy.void of EIGEN_SCAN
    prices : (N,) float64
        As handed in.
    fresh : (N,) bool
    loadings : (4, N) float64
        Leading eigenvectors by window, unit length, summing to no less than 0; 0 for assets left out.
    spectrum : (4, N) float64 or None
        All eigenvalues / members, ascending, NaN beyond them; None unless asked for.
    """

    record: np.void
    prices: np.ndarray
    fresh: np.ndarray
    loadings: np.ndarray
    spectrum: np.ndarray | None = None

    @property
    def timestamp_ns(self) -> int:
        """Time of the sample."""
        return int(self.record["timestamp_ns"])

    @property
    def vel_div(self) -> float:
        """Velocity of the shortest window minus that of the longest."""
        return float(self.record["vel_div"])


@dataclass(frozen=True, slots=True, eq=False)
class EigenScans:
    """The published scans of a batch.

    Attributes
    ----------
    records : (M,) EIGEN_SCAN
    row : (M,) int64
        The row of the prices that each belongs to.
    loadings : (M, 4, N) float64 or None
    spectrum : (M, 4, N) float64 or None
    """

    records: np.ndarray
    row: np.ndarray
    loadings: np.ndarray | None
    spectrum: np.ndarray | None


class EigenScanner:
    """Scans prices sample by sample.

    Call `scan` once a tick of the clock, with times that grow. The first scan is published when the longest
    window is full and a scan came before to compare with: at the sample ``max(windows) + 2``. A scan is held
    back, and counted in `counts`, while that is not so (``warming``), when fewer than half of the assets are
    fresh (``stale``), or when fewer than half can be used in some window (``thin``). The sample is still
    taken into the windows; the next velocity is divided by the samples that it spans.

    An asset counts in a window when its price is fresh, `min_coverage` of the window's returns were observed,
    and its returns are not constant. A price that is missing returns 0 and the next one the whole move since,
    so no move is lost and the matrix stays positive.

    The regime is read from one window, with n assets of w samples. The ceiling of noise c is the larger of
    the Marchenko-Pastur edge (1 + sqrt(n / w))^2 and of the largest eigenvalue over 19 copies of the window
    whose returns were shuffled in time, asset by asset (drawn anew every `null_every` scans, the first
    included). excess = (l - c) / (n - c), l the largest eigenvalue: at most 0 where it could be noise, 1
    where all assets move as one. The signal is -1 when excess <= `calm_below`, 1 when excess >=
    `stressed_above`, else 0.

    Parameters
    ----------
    n_assets : int
        At least 2.
    config : EigenConfig

    Attributes
    ----------
    n_assets : int
    config : EigenConfig
    """

    def __init__(self, n_assets: int, config: EigenConfig | None = None) -> None:
        if n_assets < 2:
            raise FeatureError(f"eigen scan: needs at least two assets, got {n_assets}")
        self.n_assets = n_assets
        self.config = config = config or EigenConfig()
        self._state = kernel.new_state(
            n_assets,
            config.windows,
            tuple(math.ceil(config.min_coverage * w) for w in config.windows),
            alpha=2.0 / (config.velocity_span + 1.0),
            null_every=config.null_every,
            regime_window=config.windows.index(config.regime_window),
            calm_below=config.calm_below,
            stressed_above=config.stressed_above,
            seed=config.seed,
            spectrum=config.spectrum,
        )
        self._last_ns: int | None = None
        self._floats = np.empty((1, kernel.FLOATS))
        self._ints = np.empty((1, kernel.INTS), dtype=np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Samples by fate (published, warming, stale, thin), and the work done: exact recomputations of a
        window's sums, windows given to LAPACK, power iterations."""
        return {name: int(self._state.counters[at]) for name, at in kernel.COUNTS.items()}

    def scan(
        self,
        prices: Any,
        timestamp_ns: int,
        *,
        fresh: Any = None,
        ages_ns: Any = None,
    ) -> EigenScan | None:
        """Take one sample; return its scan, or None where it is held back.

        Parameters
        ----------
        prices : (N,) array_like of float64
            Latest prices; NaN, infinite or not positive where there is none.
        timestamp_ns : int
            Time of the sample, after the one before.
        fresh : (N,) array_like of bool, optional
            Which prices are fresh.
        ages_ns : (N,) array_like of int, optional
            Ages of the prices, in place of `fresh`: fresh up to `EigenConfig.max_age_ns`. Without either
            all are.

        Raises
        ------
        FeatureError
            When a shape is wrong, time does not grow, or both masks are given; nothing is taken then.
        """
        prices = np.array(prices, dtype=np.float64)[np.newaxis]
        mask = _mask(prices, fresh, ages_ns, self.config.max_age_ns)
        times = self._checked(prices, mask, np.array([timestamp_ns], dtype=np.int64))
        loadings = np.zeros((1, kernel.WINDOWS, self.n_assets))
        spectrum = np.empty((1, kernel.WINDOWS, self.n_assets)) if self.config.spectrum else _NOTHING
        if not kernel.run(self._state, prices, mask, self._floats, self._ints, loadings, spectrum):
            return None
        record = _records(self._floats, self._ints, times)[0]
        return EigenScan(record, prices[0], mask[0], loadings[0], spectrum[0] if len(spectrum) else None)

    def scan_many(
        self,
        prices: Any,
        timestamp_ns: Any,
        *,
        fresh: Any = None,
        ages_ns: Any = None,
        loadings: bool = False,
    ) -> EigenScans:
        """Take T samples at once; the same as T calls of `scan`, to the last bit.

        Parameters
        ----------
        prices : (T, N) array_like of float64
        timestamp_ns : (T,) array_like of int64
        fresh, ages_ns : (T, N) array_like, optional
        loadings : bool
            Keep the eigenvectors.
        """
        prices = np.ascontiguousarray(prices, dtype=np.float64)
        mask = _mask(prices, fresh, ages_ns, self.config.max_age_ns)
        times = self._checked(prices, mask, np.asarray(timestamp_ns, dtype=np.int64))
        t = len(prices)
        shape = (t, kernel.WINDOWS, self.n_assets)
        floats, ints = np.empty((t, kernel.FLOATS)), np.empty((t, kernel.INTS), dtype=np.int64)
        vectors = np.empty(shape) if loadings else _NOTHING
        spectrum = np.empty(shape) if self.config.spectrum else _NOTHING
        m = kernel.run(self._state, prices, mask, floats, ints, vectors, spectrum)
        row = ints[:m, kernel.SAMPLE].copy()
        return EigenScans(
            _records(floats[:m], ints[:m], times[row]),
            row,
            vectors[:m] if loadings else None,
            spectrum[:m] if self.config.spectrum else None,
        )

    def _checked(self, prices: np.ndarray, mask: np.ndarray, times: np.ndarray) -> np.ndarray:
        if prices.ndim != 2 or prices.shape[1] != self.n_assets or mask.shape != prices.shape:
            raise FeatureError(
                f"eigen scan: prices and mask must have {self.n_assets} columns each, got shapes "
                f"{prices.shape} and {mask.shape}"
            )
        if times.shape != (len(prices),):
            raise FeatureError(f"eigen scan: {len(prices)} samples but times of shape {times.shape}")
        if times.size:
            before = np.concatenate(
                [[self._last_ns if self._last_ns is not None else times[0] - 1], times[:-1]]
            )
            wrong = np.flatnonzero(times <= before)
            if wrong.size:
                at = int(wrong[0])
                raise FeatureError(
                    f"eigen scan: time must grow: sample {at} at {times[at]} comes after {before[at]}"
                )
            self._last_ns = int(times[-1])
        return times


def scan_prices(
    prices: Any,
    timestamp_ns: Any,
    config: EigenConfig | None = None,
    *,
    fresh: Any = None,
    ages_ns: Any = None,
    loadings: bool = False,
) -> EigenScans:
    """Scan a price matrix (T, N) from its first row on; see `EigenScanner.scan_many`."""
    prices = np.ascontiguousarray(prices, dtype=np.float64)
    if prices.ndim != 2:
        raise FeatureError(f"eigen scan: prices must be a matrix of samples by assets, got {prices.shape}")
    scanner = EigenScanner(prices.shape[1], config)
    return scanner.scan_many(prices, timestamp_ns, fresh=fresh, ages_ns=ages_ns, loadings=loadings)


def external_values(records: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns that scans publish as external features, (M,) float64 by name.

    Parameters
    ----------
    records : (M,) EIGEN_SCAN
        Of a scanner with the windows `EIGEN_WINDOWS`, which the names tell. They are published at
        ``records["timestamp_ns"]``.
    """
    out = {}
    for name in EIGEN_FEATURES:
        stem, _, window = name.removeprefix("eigen_").rpartition("_")
        if window.isdigit():
            out[name] = records[stem][:, EIGEN_WINDOWS.index(int(window))]
        else:
            out[name] = records[name.removeprefix("eigen_")]
    return out


_NOTHING: Final = np.empty((0, kernel.WINDOWS, 0))


def _mask(prices: np.ndarray, fresh: Any, ages_ns: Any, max_age_ns: int) -> np.ndarray:
    if fresh is not None and ages_ns is not None:
        raise FeatureError("eigen scan: give fresh or ages_ns, not both")
    if ages_ns is not None:
        ages = np.asarray(ages_ns)
        fresh = (ages >= 0) & (ages <= max_age_ns)
    if fresh is None:
        return np.ones(prices.shape, dtype=np.bool_)
    return np.ascontiguousarray(fresh, dtype=np.bool_).reshape(-1, *np.shape(fresh)[-1:])


def _records(floats: np.ndarray, ints: np.ndarray, times: np.ndarray) -> np.ndarray:
    out = np.zeros(len(floats), dtype=EIGEN_SCAN)
    out["scan_number"] = ints[:, kernel.NUMBER]
    out["timestamp_ns"] = times
    for name, at in (
        ("lambda_max", kernel.LAMBDA),
        ("velocity", kernel.VELOCITY),
        ("rotation", kernel.ROTATION),
        ("instability", kernel.INSTABILITY),
    ):
        out[name] = floats[:, at : at + kernel.WINDOWS]
    for name, at in (
        ("vel_div", kernel.VEL_DIV),
        ("instability_composite", kernel.COMPOSITE),
        ("regime_signal", kernel.REGIME),
        ("excess", kernel.EXCESS),
        ("noise_ceiling", kernel.CEILING),
    ):
        out[name] = floats[:, at]
    out["fresh"] = ints[:, kernel.FRESH]
    out["members"] = ints[:, kernel.MEMBERS : kernel.MEMBERS + kernel.WINDOWS]
    out["members_changed"] = ints[:, kernel.CHANGED]
    return out
