"""How much of the price's moves order flow explains: the regression of Cont, Kukanov & Stoikov (2014).

Over intervals of one length, the change of the mid-price in ticks is regressed on the order-flow imbalance of
the interval, on the signed volume of its trades (trade imbalance), and on both. Standard errors are those of
Newey & West (1987) with a Bartlett kernel, since neither the variance of the residuals nor their independence
can be relied on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Fit", "OfiRegression", "least_squares", "newey_west_lags", "ofi_regression"]


@dataclass(frozen=True, slots=True)
class Fit:
    """One linear regression with an intercept.

    Attributes
    ----------
    n : observations.
    coefficients : ndarray (1 + k,), the intercept first; units of y over units of each x.
    errors : ndarray (1 + k,), Newey-West standard errors.
    r2 : share of the variance of y explained, in [0, 1].
    lags : of the Newey-West errors.
    """

    n: int
    coefficients: np.ndarray
    errors: np.ndarray
    r2: float
    lags: int

    @property
    def slope(self) -> float:
        """Coefficient of the first regressor."""
        return float(self.coefficients[1])

    @property
    def slope_error(self) -> float:
        """Standard error of `slope`."""
        return float(self.errors[1])

    @property
    def t(self) -> float:
        """`slope` over its error."""
        return self.slope / self.slope_error if self.slope_error > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class OfiRegression:
    """The price's change on order-flow imbalance, and on trade imbalance where there were trades."""

    ofi: Fit
    trades: Fit | None
    both: Fit | None


def newey_west_lags(n: int) -> int:
    """Return ``floor(4 (n / 100)^(2/9))``, the usual rule for the number of lags (Newey & West 1994)."""
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0))


def least_squares(y: np.ndarray, *regressors: np.ndarray, lags: int | None = None) -> Fit:
    """Fit `y` by the regressors and an intercept.

    Parameters
    ----------
    y : ndarray (n,)
    regressors : ndarrays (n,)
    lags : of the Newey-West errors; 0 gives White's (HC0), None `newey_west_lags`.

    Raises
    ------
    ValueError
        When lengths differ, a value is not finite, there are fewer than k + 3 observations, `y` does not
        vary, or the regressors are collinear (one that does not vary is collinear with the intercept).
    """
    y = np.asarray(y, dtype=np.float64)
    n, k = y.size, len(regressors)
    if any(np.shape(x) != (n,) for x in regressors) or y.ndim != 1:
        raise ValueError("y and the regressors must be vectors of one length")
    if n < k + 3:
        raise ValueError(f"{n} observations are too few for {k} regressors")
    x = np.column_stack([np.ones(n), *regressors]).astype(np.float64)
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise ValueError("a value is not finite")
    lags = newey_west_lags(n) if lags is None else lags
    if not 0 <= lags < n:
        raise ValueError(f"lags must lie in [0, {n}), got {lags}")
    # Columns of very different size (1 and thousands of coins) are brought to one before they are judged.
    norms = np.sqrt((x**2).sum(axis=0))
    total = float(((y - y.mean()) ** 2).sum())
    if (norms == 0).any() or np.linalg.matrix_rank(x / norms) < k + 1:
        raise ValueError("the regressors are collinear, or one does not vary")
    if total == 0.0:
        raise ValueError("y does not vary")
    scaled = x / norms
    inverse = np.linalg.inv(scaled.T @ scaled)
    beta = inverse @ (scaled.T @ y)
    residual = y - scaled @ beta
    scores = scaled * residual[:, None]
    meat = scores.T @ scores
    for lag in range(1, lags + 1):
        gamma = scores[lag:].T @ scores[:-lag]
        meat += (1.0 - lag / (lags + 1.0)) * (gamma + gamma.T)
    variance = np.diag(inverse @ meat @ inverse)
    return Fit(
        n=n,
        coefficients=beta / norms,
        errors=np.sqrt(np.maximum(variance, 0.0)) / norms,
        r2=float(min(max(1.0 - (residual**2).sum() / total, 0.0), 1.0)),
        lags=lags,
    )


def ofi_regression(
    mid_change: np.ndarray, ofi: np.ndarray, trade_imbalance: np.ndarray | None = None
) -> OfiRegression:
    """Regress the change of the mid-price on order-flow imbalance, on trade imbalance, and on both.

    Parameters
    ----------
    mid_change : ndarray (n,)
        In ticks.
    ofi : ndarray (n,)
        Sum of e_n over the interval, in base units.
    trade_imbalance : ndarray (n,), optional
        Volume that bought less volume that sold, in base units. Taken as missing when it is all zero.

    Raises
    ------
    ValueError
        As `least_squares`.
    """
    both = trades = None
    if trade_imbalance is not None and np.any(trade_imbalance):
        trades = least_squares(mid_change, trade_imbalance)
        both = least_squares(mid_change, ofi, trade_imbalance)
    return OfiRegression(least_squares(mid_change, ofi), trades, both)
