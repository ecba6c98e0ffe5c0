"""Floats on a venue's grid: whole steps inside, the nearest float of a decimal outside."""

import math
from decimal import Decimal

from ..risk.rounding import GRID_TOLERANCE

__all__ = ["Grid", "OffGridError"]

_MOST_STEPS = 1 << 50  # beyond, neighbouring floats are too far apart to tell steps from noise
_FINEST = 1e-12


class OffGridError(ValueError):
    """A number is no multiple of the step; `steps_down` and `steps_up` are its neighbours."""

    def __init__(self, message: str, steps_down: int) -> None:
        super().__init__(message)
        self.steps_down = steps_down
        self.steps_up = steps_down + 1


class Grid:
    """The multiples of a step.

    The step is taken as the decimal it is written as: the multiples of 0.1 are 0.1, 0.2, 0.3, not 0.1 and
    0.30000000000000004. `number` gives the float nearest to that decimal, and `steps` takes it back, exactly,
    for all multiples up to 2**50.

    Parameters
    ----------
    name : what lies on the grid, for messages.
    step : within [1e-12, 1e12].

    Raises
    ------
    ValueError when the step is out of bounds.
    """

    def __init__(self, name: str, step: float) -> None:
        step = float(step)
        if not _FINEST <= step <= 1.0 / _FINEST:  # also catches NaN
            raise ValueError(f"{name}_size: {step!r} is outside [{_FINEST:g}, {1.0 / _FINEST:g}]")
        self.name = name
        self.step = step
        numerator, denominator = Decimal(repr(step)).as_integer_ratio()
        self._numerator, self._denominator = numerator, denominator

    def steps(self, value: float) -> int:
        """Return how many steps `value` is.

        What floating-point arithmetic leaves of a multiple counts as that multiple: 0.1 + 0.2 is three
        steps of 0.1.

        Raises
        ------
        ValueError when it is NaN, infinite or more than 2**50 steps; OffGridError, a ValueError, when it lies
        between two multiples.
        """
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a finite number")
        position = value * self._denominator / self._numerator
        if abs(position) > _MOST_STEPS:
            raise ValueError(f"{value!r} is more than 2**50 steps of {self.step!r}")
        nearest = math.floor(position + 0.5)
        if abs(position - nearest) > max(GRID_TOLERANCE, 4.0 * math.ulp(position)):
            raise OffGridError(
                f"{value!r} is no multiple of the {self.name} size {self.step!r} "
                f"(neighbours: {self.number(math.floor(position))!r}, {self.number(math.ceil(position))!r})",
                math.floor(position),
            )
        return nearest

    def number(self, steps: int) -> float:
        """Return the float nearest to that many steps."""
        return int(steps) * self._numerator / self._denominator  # of integers: rounded once, correctly
