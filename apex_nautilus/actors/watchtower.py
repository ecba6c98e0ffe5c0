"""The Watchtower: whether an agent may live on, from its numbers alone.

`judge` is a function of an agent's equity, its limits and the returns of its closed trades; it knows no
engine, no clock and no file. The arena calls it at every fill and every mark, writes each verdict with the
numbers it was made from, and acts on the terminal ones at once.

Sharpe ratios are per trade and never annualised; the trials of the deflated ratio are all agents ever judged
in the arena, the dead included, so that an agent is held against the luckiest of all that were tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from apex_nautilus.stats import (
    deflated_sharpe_ratio,
    moments,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
    trial_variance,
)

__all__ = ["Limits", "TrialBook", "Trials", "Verdict", "Vitals", "judge"]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ends or lifts an agent.

    Parameters
    ----------
    drawdown : float
        An agent dies when its equity falls below ``(1 - drawdown)`` of its capital, in [0.5, 1.0]. At 1.0
        only ruin kills.
    max_leverage : float
        Largest notional over equity an agent may hold; positive. With it, ruin is an equity that can no
        longer place the smallest order.
    min_trades : int
        Closed trades before the Sharpe ratio is looked at, at least 3.
    window : int
        Latest trades that the ratio is taken over, at least `min_trades`.
    decay_psr : float
        An agent dies when PSR(0), the probability that its true Sharpe ratio is positive, is below this, in
        [0, 1); 0 switches the rule off. The default of 0.05 kills what loses money with 95 % confidence; a
        high threshold such as 0.90 kills most true winners before they can show.
    promotion_dsr : float
        An agent is promoted when its deflated Sharpe ratio is above this, in (0, 1].

    Raises
    ------
    ValueError
        When a field is outside its range.
    """

    drawdown: float = 0.5
    max_leverage: float = 10.0
    min_trades: int = 30
    window: int = 100
    decay_psr: float = 0.05
    promotion_dsr: float = 0.99

    def __post_init__(self) -> None:
        if not 0.5 <= self.drawdown <= 1.0:
            raise ValueError(f"limits: drawdown must be in [0.5, 1.0], got {self.drawdown!r}")
        if not (math.isfinite(self.max_leverage) and self.max_leverage > 0.0):
            raise ValueError(f"limits: max_leverage must be positive, got {self.max_leverage!r}")
        if self.min_trades < 3:
            raise ValueError(f"limits: min_trades must be at least 3, got {self.min_trades!r}")
        if self.window < self.min_trades:
            raise ValueError(f"limits: window {self.window!r} is below min_trades {self.min_trades!r}")
        if not 0.0 <= self.decay_psr < 1.0:
            raise ValueError(f"limits: decay_psr must be in [0, 1), got {self.decay_psr!r}")
        if not 0.0 < self.promotion_dsr <= 1.0:
            raise ValueError(f"limits: promotion_dsr must be in (0, 1], got {self.promotion_dsr!r}")


class Trials(msgspec.Struct, frozen=True):
    """All agents ever judged: how many, and the variance of their Sharpe ratios per trade."""

    count: int
    variance: float


class Vitals(msgspec.Struct, frozen=True):
    """An agent's numbers at one moment.

    `equity` (USD, at the touch it would close on) and `capital` (USD at birth); `smallest_notional`, the
    value in USD of the smallest order its instrument takes now; `returns`, one number a closed trade, profit
    or loss net of fees over the equity before it, oldest first.
    """

    equity: float
    capital: float
    smallest_notional: float
    returns: Sequence[float] | np.ndarray = ()


class Verdict(msgspec.Struct, frozen=True):
    """A judgement and the numbers it was made from.

    `kind` is ``live``, ``promote``, or one of the terminal ``ruin``, ``drawdown``, ``decay``. `sharpe`, `psr`
    and `dsr` are nan before `Limits.min_trades` trades.
    """

    kind: str
    reason: str
    equity: float
    capital: float
    floor: float
    smallest_notional: float
    trades: int
    sharpe: float
    psr: float
    dsr: float
    trials: int
    trials_variance: float

    @property
    def is_terminal(self) -> bool:
        """Whether the agent must end."""
        return self.kind in ("ruin", "drawdown", "decay")


class TrialBook:
    """The Sharpe ratios of all agents ever judged, the dead included.

    An agent counts from its first judgement on. Before `Limits.min_trades` trades its ratio counts as 0: two
    or three trades make ratios of any size, and would widen the variance until nobody could be promoted.
    """

    def __init__(self) -> None:
        self._sharpe: dict[str, float] = {}
        self._trials: Trials | None = Trials(0, 0.0)

    def record(self, agent: str, returns: Sequence[float], limits: Limits) -> None:
        """Set the ratio of `agent` by its returns so far, over the window that it is judged by."""
        enough = len(returns) >= limits.min_trades
        self._sharpe[agent] = sharpe_ratio(returns[-limits.window :]) if enough else 0.0
        self._trials = None

    def trials(self) -> Trials:
        """Count and sample variance (0 below two agents) of all ratios on record."""
        if self._trials is None:  # asked at every mark, changed by closed trades alone
            self._trials = Trials(len(self._sharpe), trial_variance(list(self._sharpe.values())))
        return self._trials


def judge(vitals: Vitals, limits: Limits, trials: Trials) -> Verdict:
    """Judge one agent.

    In this order: ruin (equity <= 0, or equity * max_leverage below the smallest order), drawdown, decay,
    promotion.

    Parameters
    ----------
    vitals : Vitals
    limits : Limits
    trials : Trials
        All agents ever judged; fewer than two leave DSR = PSR(0).

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        When the equity or the smallest notional is not a number, or the capital is not positive: an agent
        whose numbers are unknown can not be judged alive.
    """
    if not math.isfinite(vitals.equity) or not math.isfinite(vitals.smallest_notional):
        raise ValueError(
            f"vitals: equity {vitals.equity!r} and smallest_notional {vitals.smallest_notional!r} "
            "must be finite"
        )
    if not vitals.capital > 0.0:
        raise ValueError(f"vitals: capital must be positive, got {vitals.capital!r}")
    floor = (1.0 - limits.drawdown) * vitals.capital
    sharpe = psr = dsr = math.nan
    trades = len(vitals.returns)
    if trades >= limits.min_trades:
        window = np.asarray(vitals.returns[-limits.window :], dtype=np.float64)
        shape = moments(window)
        sharpe = shape.sharpe
        psr = probabilistic_sharpe_ratio(sharpe, shape.n, skew=shape.skew, kurtosis=shape.kurtosis)
        dsr = deflated_sharpe_ratio(
            sharpe,
            shape.n,
            trial_variance=trials.variance,
            n_trials=max(1, trials.count),
            skew=shape.skew,
            kurtosis=shape.kurtosis,
        )

    reach = vitals.equity * limits.max_leverage
    if vitals.equity <= 0.0:
        kind, reason = "ruin", f"equity {vitals.equity:.2f} is not positive"
    elif reach < vitals.smallest_notional:
        kind, reason = (
            "ruin",
            f"equity {vitals.equity:.2f} x leverage {limits.max_leverage:g} is below the smallest order "
            f"{vitals.smallest_notional:.2f}",
        )
    elif vitals.equity < floor:
        kind, reason = "drawdown", f"equity {vitals.equity:.2f} is below {floor:.2f}"
    elif psr < limits.decay_psr:
        kind, reason = "decay", f"PSR(0) {psr:.4f} is below {limits.decay_psr:g} over the latest trades"
    elif dsr > limits.promotion_dsr:
        kind, reason = (
            "promote",
            f"DSR {dsr:.4f} is above {limits.promotion_dsr:g} with {trials.count} trials",
        )
    else:
        kind, reason = "live", "within its limits"
    return Verdict(
        kind=kind,
        reason=reason,
        equity=vitals.equity,
        capital=vitals.capital,
        floor=floor,
        smallest_notional=vitals.smallest_notional,
        trades=trades,
        sharpe=sharpe,
        psr=psr,
        dsr=dsr,
        trials=trials.count,
        trials_variance=trials.variance,
    )
