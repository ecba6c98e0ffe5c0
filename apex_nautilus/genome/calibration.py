"""From raw score to probability of winning, as numbers and as a kernel.

Platt: p = sigmoid(a x + b) (Platt 1999). Isotonic: linear between the knots, flat beyond the first and last.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from apex_nautilus.genome.elementary import sigmoid
from apex_nautilus.genome.schema import MAX_KNOTS, Calibration, Platt


class CalibrationTable(NamedTuple):
    """A calibration as arrays, for compiled loops.

    Attributes
    ----------
    a, b : float
        Of Platt's form.
    scores, probabilities : ndarray of float64, shape (32,)
        Knots of the isotonic form; the first `n_knots` count.
    n_knots : int
        0 for Platt's form.
    """

    a: float
    b: float
    scores: np.ndarray
    probabilities: np.ndarray
    n_knots: int


def calibration_table(calibration: Calibration) -> CalibrationTable:
    """The arrays of a validated calibration."""
    scores = np.zeros(MAX_KNOTS)
    probabilities = np.zeros(MAX_KNOTS)
    if isinstance(calibration, Platt):
        return CalibrationTable(calibration.a, calibration.b, scores, probabilities, 0)
    n = len(calibration.scores)
    scores[:n] = calibration.scores
    probabilities[:n] = calibration.probabilities
    return CalibrationTable(0.0, 0.0, scores, probabilities, n)


@njit(cache=True, error_model="numpy")
def calibrate_kernel(a, b, scores, probabilities, n_knots, score):
    """Probability for one raw score, in [0, 1]; NaN for NaN.

    Arguments are those of `CalibrationTable`. Nothing is allocated.
    """
    if score != score:
        return score
    if n_knots == 0:
        return sigmoid(a * score + b)
    if score <= scores[0]:
        return probabilities[0]
    if score >= scores[n_knots - 1]:
        return probabilities[n_knots - 1]
    low, high = 0, n_knots - 1
    while high - low > 1:
        middle = (low + high) // 2
        if scores[middle] <= score:
            low = middle
        else:
            high = middle
    share = (score - scores[low]) / (scores[high] - scores[low])
    p = probabilities[low] + share * (probabilities[high] - probabilities[low])
    # rounding must not leave the two knots
    return min(max(p, probabilities[low]), probabilities[high])


def calibrated_probability(calibration: Calibration, score: float) -> float:
    """Probability that the take-profit is hit before the stop, given the raw score.

    Parameters
    ----------
    calibration : Platt or Isotonic
        Of a validated genome.
    score : float
        Output 1 of the genome's program. NaN gives NaN.
    """
    table = calibration_table(calibration)
    return float(
        calibrate_kernel(table.a, table.b, table.scores, table.probabilities, table.n_knots, float(score))
    )
