"""How much of Kelly's fraction a track record deserves, as the record grows.

Kelly's f* takes the edge as known. Estimated from T trades, the fraction that earns most in expectation is
smaller by ``T SR^2 / (1 + T SR^2)`` (Baker & McHale 2013, in the approximation of small bets). T and SR are
what is known when the decision is taken: the out-of-sample trades that the genome came with, and the agent's
own closed trades so far.
"""

from __future__ import annotations

import math

from apex_nautilus.risk.kelly import uncertainty_shrink_kernel

__all__ = ["Certainty"]


class Certainty:
    """The share of f* that the trades known so far deserve.

    Parameters
    ----------
    sharpe : float
        Sharpe ratio per trade of the evidence.
    trades : int
        Trades of the evidence; 0 where there is none.

    Raises
    ------
    ValueError
        When `sharpe` is not finite or `trades` is negative.
    """

    __slots__ = ("_evidence", "_mean", "_n", "_squares", "_trades")

    def __init__(self, sharpe: float = 0.0, trades: int = 0) -> None:
        if not math.isfinite(sharpe) or trades < 0:
            raise ValueError(f"certainty: need a finite Sharpe ratio and T >= 0, got {sharpe!r}, {trades!r}")
        self._evidence = sharpe
        self._trades = trades
        self._n = 0
        self._mean = self._squares = 0.0

    def add(self, returned: float) -> None:
        """Add a closed trade: its net result over the equity before it.

        Raises
        ------
        ValueError
            When it is not finite.
        """
        if not math.isfinite(returned):
            raise ValueError(f"certainty: a return must be finite, got {returned!r}")
        self._n += 1
        before = returned - self._mean
        self._mean += before / self._n
        self._squares += before * (returned - self._mean)

    @property
    def n_observations(self) -> int:
        """T: trades of the evidence and the agent's own."""
        return self._trades + self._n

    @property
    def sharpe(self) -> float:
        """Mean of both Sharpe ratios, weighted by their trades; own trades count as 0 while they are fewer
        than two or all alike."""
        deviation = math.sqrt(self._squares / self._n) if self._n > 1 else 0.0
        own = self._mean / deviation if deviation > 0.0 else 0.0
        total = self.n_observations
        return (self._trades * self._evidence + self._n * own) / total if total else 0.0

    @property
    def value(self) -> float:
        """T SR^2 / (1 + T SR^2), in [0, 1); 0 where the ratio is not positive: there is nothing to bet on."""
        sharpe = self.sharpe
        return uncertainty_shrink_kernel(sharpe, float(self.n_observations)) if sharpe > 0.0 else 0.0
