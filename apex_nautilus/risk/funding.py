"""What a perpetual's funding costs or brings at a settlement, and where a history of rates has holes."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["funding_gaps", "funding_payment"]

_LONGEST_NS = 8 * 3_600_000_000_000
"""No venue settles less often than every eight hours."""


def funding_payment(
    quantity: float, mark: float, rate: float, *, decimals: int, multiplier: float = 1.0
) -> float:
    """Return what the holder of a position of a linear perpetual receives at a settlement.

    ``-quantity * multiplier * mark * rate``, as the venues publish it: with a positive rate longs pay shorts.
    Each position is rounded by itself (half to even), so that a venue's sum is the sum of what its holders
    were told, and equal and opposite positions cancel exactly.

    Parameters
    ----------
    quantity : float
        Signed position in base units, + long.
    mark : float
        Price at which the position counts, quote units, positive.
    rate : float
        Share of the notional for the period that ends now; any sign.
    decimals : int
        Places of the account's currency, 0..16.
    multiplier : float
        Base units a contract, positive.

    Returns
    -------
    float
        Quote units, negative when paid; never -0.0.

    Raises
    ------
    ValueError
        When an argument is not finite or outside its range.
    """
    for name, value in (("quantity", quantity), ("rate", rate)):
        if not math.isfinite(value):
            raise ValueError(f"funding_payment: {name} must be finite, got {value!r}")
    for name, value in (("mark", mark), ("multiplier", multiplier)):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"funding_payment: {name} must be finite and positive, got {value!r}")
    if not 0 <= decimals <= 16:
        raise ValueError(f"funding_payment: decimals must be in 0..16, got {decimals!r}")
    return round(-quantity * multiplier * mark * rate, decimals) + 0.0


def funding_gaps(settled_ns: np.ndarray, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return the stretches of a span in which a settlement must have been, but none is known.

    The usual step at a place is the longer of the two beside it, eight hours at most: venues change it now
    and then. A step longer than one and a half of it is a gap; so is a beginning or an end that is further
    than one usual step from the edge of the span.

    Parameters
    ----------
    settled_ns : (N,) int64
        Times of the known settlements, strictly increasing; those outside the span help to know the step.
    start_ns, end_ns : int
        The span, both included.

    Returns
    -------
    list of (int, int)
        Pairs of the times around each gap, within the span and in order; all of the span where no settlement
        is known.
    """
    times = np.asarray(settled_ns, dtype=np.int64).tolist()
    if not times:
        return [(start_ns, end_ns)]
    steps = np.diff(times).tolist()
    found = []
    if times[0] - start_ns > min([_LONGEST_NS, *steps[:1]]):
        found.append((start_ns, min(times[0], end_ns)))
    for i, step in enumerate(steps):
        usual = min(_LONGEST_NS, max(steps[max(0, i - 1) : i] + steps[i + 1 : i + 2], default=step))
        lo, hi = max(times[i], start_ns), min(times[i + 1], end_ns)
        # Of a step that reaches over an edge, what lies inside must itself be long enough to hold one.
        if step > 1.5 * usual and hi - lo >= usual:
            found.append((lo, hi))
    if end_ns - times[-1] > min([_LONGEST_NS, *steps[-1:]]):
        found.append((max(times[-1], start_ns), end_ns))
    return found
