"""Fitting an EGARCH(1,1) to the returns of closed bars, by maximum likelihood (the `arch` library)."""

from __future__ import annotations

import importlib
import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.risk import Egarch, forward_sigma
from apex_nautilus.risk.cost_file import FitNote

__all__ = ["MIN_RETURNS", "fit_egarch"]

MIN_RETURNS: Final = 500
"""Fewer returns do not tell four parameters apart."""

#: The log variance is held within a factor of 1100 of the sample's, 33 in the deviation.
_ROOM: Final = 7.0

#: Share of the sample that the held-out error is measured behind.
_TRAIN: Final = 0.7


def _arch() -> Any:
    try:
        return importlib.import_module("arch")
    except ImportError:
        raise ForgeError(
            "fitting a volatility model needs the library arch: pip install apex_nautilus[ml]"
        ) from None


def _fit(returns: NDArray[np.float64], scale: float) -> tuple[Egarch, NDArray[np.float64], float]:
    """Return (model, standard errors of omega, alpha, gamma, beta, share of log-likelihood per bar)."""
    model = _arch().arch_model(returns * scale, mean="Zero", vol="EGARCH", p=1, o=1, q=1, rescale=False)
    result = model.fit(disp="off", show_warning=False)
    omega, alpha, gamma, beta = (float(v) for v in result.params.to_numpy())
    if result.convergence_flag != 0 or not abs(beta) < 1.0:
        raise ForgeError(
            f"the likelihood of {returns.size} returns has no maximum that holds (flag "
            f"{result.convergence_flag}, beta {beta:.4f}); use a longer span of bars"
        )
    level = math.log(float(np.mean((returns * scale) ** 2)))
    start = min(max(omega / (1.0 - beta), level - _ROOM), level + _ROOM)
    fitted = Egarch(
        omega=omega, alpha=alpha, gamma=gamma, beta=beta, start=start, low=level - _ROOM,
        high=level + _ROOM, scale=scale,
    )  # fmt: skip
    return fitted, np.asarray(result.std_err, dtype=np.float64), float(result.loglikelihood) / returns.size


def fit_egarch(
    log_returns: ArrayLike, *, source: str, span_ns: tuple[int, int] | None = None, scale: float = 1e4
) -> tuple[Egarch, list[FitNote]]:
    """Fit the model of `apex_nautilus.risk.egarch` and say how far it carries.

    Parameters
    ----------
    log_returns : (n,) array_like
        Of consecutive bars, at least `MIN_RETURNS`.
    source : str
        Where they come from; kept in the notes.
    span_ns : (int, int), optional
    scale : float
        Returns are multiplied by it before the fit.

    Returns
    -------
    model : Egarch
        Fitted on all returns. Its first log variance is the mean of the process.
    notes : list of FitNote
        The four parameters with their robust standard errors (Bollerslev and Wooldridge), and `sigma`: how
        well the size of each return is told in the last three tenths by a model fitted on the first seven.
        `held_out_r2` is 1 less the squared error of ``sqrt(2 / pi) sigma`` as a forecast of \\|return\\| over
        that of the constant which the first part suggests; `held_out_error` is the root of the mean squared
        error, a log return.

    Raises
    ------
    ForgeError
        When `arch` is not installed, there are too few returns, one is not finite, they do not vary, or the
        likelihood has no usable maximum.
    """
    returns = np.ascontiguousarray(log_returns, dtype=np.float64)
    if returns.ndim != 1 or returns.size < MIN_RETURNS:
        raise ForgeError(
            f"a volatility model needs at least {MIN_RETURNS} returns of bars, got {returns.size}; import a "
            "longer span of candles"
        )
    if not np.isfinite(returns).all() or not np.ptp(returns) > 0.0:
        raise ForgeError(f"{source}: returns must be finite and must vary")
    model, errors, likelihood = _fit(returns, scale)
    cut = int(_TRAIN * returns.size)
    trained, _, _ = _fit(returns[:cut], scale)
    ahead = forward_sigma(trained, returns)[cut:-1] * math.sqrt(2.0 / math.pi)
    sizes, flat = np.abs(returns[cut:]), float(np.abs(returns[:cut]).mean())
    squared = float(np.sum((sizes - ahead) ** 2))
    common = {"source": source, "span_ns": span_ns, "samples": int(returns.size)}
    method = "EGARCH(1,1), Nelson (1991), normal likelihood, returns in 1e-4"
    values = (model.omega, model.alpha, model.gamma, model.beta)
    notes = [
        FitNote(name=name, method=method, value=value, standard_error=float(error), **common)
        for name, value, error in zip(("omega", "alpha", "gamma", "beta"), values, errors, strict=True)
    ]
    notes.append(
        FitNote(
            name="sigma",
            method="forecast of |log return|, last 30 % by a fit on the first 70 %, against a constant; the "
            f"value is the mean sigma ({likelihood:.4f} log-likelihood a bar)",
            value=float(forward_sigma(model, returns)[:-1].mean()),
            held_out_r2=1.0 - squared / float(np.sum((sizes - flat) ** 2)),
            held_out_error=math.sqrt(squared / sizes.size),
            **common,
        )
    )
    return model, notes
