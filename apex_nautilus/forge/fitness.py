"""Time-to-target fitness: how soon an agent doubles its money, and how far it got where it did not.

Every hit is worth more than every miss, a sooner hit more than a later one, a larger final equity more than a
smaller one, and a ruin less than any survivor, the less the sooner it came.
"""

from __future__ import annotations

import math

from numba import njit

#: The largest double below 1: a miss, however close, never equals a hit.
BELOW_ONE = math.nextafter(1.0, 0.0)


@njit(cache=True, error_model="numpy")
def time_to_target_kernel(
    growth: float, target: float, target_after: float, ruin_after: float, horizon: float
) -> float:
    """Return the fitness; see `time_to_target`. Times below 0 mean "did not happen"; NaN growth counts as
    ruin.
    """
    share_left = 0.0
    if target_after >= 0.0:
        if horizon > 0.0:
            share_left = min(max((horizon - target_after) / horizon, 0.0), 1.0)
        return 1.0 + share_left
    if ruin_after >= 0.0 or not growth > 0.0:
        if ruin_after >= 0.0 and horizon > 0.0:
            share_left = min(max((horizon - ruin_after) / horizon, 0.0), 1.0)
        return -1.0 - share_left
    return min(max(math.log(growth) / math.log(target), -1.0), BELOW_ONE)


def time_to_target(
    final_equity: float,
    *,
    horizon_ns: int,
    start_equity: float = 200.0,
    target: float = 2.0,
    target_after_ns: int | None = None,
    ruin_after_ns: int | None = None,
) -> float:
    """Fitness of one run over a horizon T.

    Reached after t: ``1 + (T - t) / T``. Not reached: ``log(E_T / E_0) / log(target)``, held to [-1, 1).
    Ruined after t: ``-1 - (T - t) / T``. A target reached before a ruin counts as reached.

    Parameters
    ----------
    final_equity : float
        E_T, quote units. Read only where neither target nor ruin came.
    horizon_ns : int
        T, the span of the run.
    start_equity : float
        E_0, positive.
    target : float
        Multiple of E_0 to reach, above 1.
    target_after_ns, ruin_after_ns : int, optional
        Time from the start to the target and to the ruin; None where it did not come.

    Returns
    -------
    float
        In [-2, 2].

    Raises
    ------
    ValueError
        When `target` is not above 1, `start_equity` is not positive, `final_equity` is NaN, or a time is
        negative or beyond the horizon.
    """
    if not (math.isfinite(target) and target > 1.0):
        raise ValueError(f"time_to_target: target must be finite and above 1, got {target!r}")
    if not (math.isfinite(start_equity) and start_equity > 0.0):
        raise ValueError(f"time_to_target: start_equity must be finite and positive, got {start_equity!r}")
    if math.isnan(final_equity):
        raise ValueError("time_to_target: final_equity is NaN")
    if horizon_ns < 0:
        raise ValueError(f"time_to_target: horizon_ns must not be negative, got {horizon_ns!r}")
    for name, after in (("target_after_ns", target_after_ns), ("ruin_after_ns", ruin_after_ns)):
        if after is not None and not 0 <= after <= horizon_ns:
            raise ValueError(f"time_to_target: {name} must lie in [0, {horizon_ns}], got {after!r}")
    return time_to_target_kernel(
        float(final_equity) / start_equity,
        float(target),
        -1.0 if target_after_ns is None else float(target_after_ns),
        -1.0 if ruin_after_ns is None else float(ruin_after_ns),
        float(horizon_ns),
    )
