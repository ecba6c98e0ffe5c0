"""Volatility of the bar to come, from closed bars alone: EGARCH(1,1).

Nelson (1991), "Conditional heteroskedasticity in asset returns: a new approach", Econometrica 59(2), eq.
(2.1) and (2.2), for one lag of each term and normal innovations:

    z_t = r_t / s_t
    ln s_{t+1}^2 = omega + alpha (|z_t| - sqrt(2 / pi)) + gamma z_t + beta ln s_t^2

The recursion only ever runs forward. What it says of bar t + 1 is known when bar t has closed.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

__all__ = ["Egarch", "egarch_step_kernel", "forward_sigma"]

#: Mean of |z| of a standard normal variable.
MEAN_ABS_NORMAL = math.sqrt(2.0 / math.pi)


class Egarch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of an EGARCH(1,1) of log returns times `scale`.

    Parameters
    ----------
    omega, alpha, gamma, beta : float
        Of the recursion; ``|beta| < 1``.
    start : float
        Log variance of the first bar, of scaled returns.
    low, high : float
        The log variance is held to [low, high]: a return beyond all that was fitted on must not send the
        exponential of the recursion off the scale.
    scale : float
        Returns are multiplied by it; 1e4 makes them basis points.
    """

    omega: float
    alpha: float
    gamma: float
    beta: float
    start: float
    low: float
    high: float
    scale: float = 1e4

    def check(self, where: str = "egarch") -> None:
        """Raise ValueError, naming the field, when a parameter cannot be used."""
        for name in self.__struct_fields__:
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{where}.{name}: must be finite, got {getattr(self, name)!r}")
        if not abs(self.beta) < 1.0:
            raise ValueError(f"{where}.beta: must lie inside (-1, 1), got {self.beta!r}")
        if not self.scale > 0.0:
            raise ValueError(f"{where}.scale: must be positive, got {self.scale!r}")
        if not self.low <= self.start <= self.high:
            raise ValueError(
                f"{where}.start: must lie in [low, high] = [{self.low!r}, {self.high!r}], got {self.start!r}"
            )


@njit(cache=True, error_model="numpy")
def egarch_step_kernel(
    log_variance: float,
    scaled_return: float,
    omega: float,
    alpha: float,
    gamma: float,
    beta: float,
    low: float,
    high: float,
) -> float:
    """Return the log variance of the next bar, given this bar's and its scaled return."""
    z = scaled_return * math.exp(-0.5 * log_variance)
    ahead = omega + alpha * (abs(z) - MEAN_ABS_NORMAL) + gamma * z + beta * log_variance
    return min(max(ahead, low), high)


@njit(cache=True, error_model="numpy")
def _forward(scaled_returns, start, omega, alpha, gamma, beta, low, high, out):
    log_variance = start
    for i in range(scaled_returns.shape[0]):
        out[i] = math.exp(0.5 * log_variance)
        log_variance = egarch_step_kernel(
            log_variance, scaled_returns[i], omega, alpha, gamma, beta, low, high
        )
    out[scaled_returns.shape[0]] = math.exp(0.5 * log_variance)


def forward_sigma(model: Egarch, log_returns: ArrayLike) -> NDArray[np.float64]:
    """Deviation of the log return of each bar, as it was forecast when the bar before had closed.

    Parameters
    ----------
    model : Egarch
    log_returns : (n,) array_like
        One a bar; finite, not scaled.

    Returns
    -------
    (n + 1,) float64
        ``out[i]`` depends on ``log_returns[:i]`` only; the last one is of the bar after the last.

    Raises
    ------
    ValueError
        When a return is not finite, or the parameters cannot be used.
    """
    model.check()
    returns = np.ascontiguousarray(log_returns, dtype=np.float64)
    if returns.ndim != 1 or not np.isfinite(returns).all():
        raise ValueError(f"forward_sigma: log_returns must be finite, of shape (n,), got {returns.shape}")
    out = np.empty(returns.shape[0] + 1)
    _forward(
        returns * model.scale, model.start, model.omega, model.alpha, model.gamma, model.beta, model.low,
        model.high, out,
    )  # fmt: skip
    return out / model.scale
