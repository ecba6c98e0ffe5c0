"""A line now and then, so that a long import is seen to live."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Progress"]


class Progress:
    """Passes a line on at most every few seconds; what is over sooner says nothing.

    Parameters
    ----------
    tell : callable or None
        Takes a line of text; None says nothing.
    every_s : float
        Least time between lines, and before the first one, seconds.
    clock : callable
        Seconds, rising.
    """

    def __init__(
        self,
        tell: Callable[[str], None] | None,
        *,
        every_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._tell = tell
        self._every = every_s
        self._clock = clock
        self._last = clock()

    def step(self, what: str, done: int, unit: str = "rows") -> None:
        """Say how far `what` has come, if it is time."""
        if self._tell is None or (now := self._clock()) - self._last < self._every:
            return
        self._last = now
        self._tell(f"{what}: {done:,} {unit}")
