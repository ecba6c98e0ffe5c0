"""The Watchtower: whether an agent may live on, from its numbers alone.

`judge` is a function of an agent's equity, its limits and the returns of its closed trades; it knows no
engine, no clock and no file. `Watchtower` asks the same question of many agents at every fill and every mark
and carries what it needs along, so that a fill costs microseconds. The arena writes each verdict with the
numbers it was made from, and acts on the terminal ones at once.

Sharpe ratios are per trade and never annualised; the trials of the deflated ratio are all agents ever judged
in the arena, the dead included, so that an agent is held against the luckiest of all that were tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from apex_nautilus.actors.trade_return import trade_return
from apex_nautilus.risk import MAX_LEVERAGE
from apex_nautilus.stats import (
    Moments,
    TrackRecord,
    expected_maximum_sharpe,
    moments,
    probabilistic_sharpe_ratio,
    sharpe_ratio,
)
from apex_nautilus.store import LedgerRecord

__all__ = [
    "Limits",
    "Lives",
    "TrialBook",
    "Trials",
    "Verdict",
    "Vitals",
    "Watchtower",
    "judge",
    "past_returns",
]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ends or lifts an agent.

    Parameters
    ----------
    drawdown : float
        An agent dies when its equity falls below ``(1 - drawdown)`` of its capital, in [0.5, 1.0]. At 1.0
        only ruin kills.
    max_leverage : float
        Largest notional over equity an agent may hold, whatever its genome asks for, in (0, 1000]. Ruin is an
        equity that can no longer place the smallest order with it, or with less where the genome wants less.
    min_trades : int
        Closed trades before the Sharpe ratio is looked at, at least 3.
    window : int
        Latest trades that the ratio is taken over, at least `min_trades`.
    decay_psr : float
        An agent dies when PSR(0), the probability that its true Sharpe ratio is positive, is below this, in
        [0, 1); 0 switches the rule off. The default of 0.02 is the largest that kills at most 5 % of agents
        with a true ratio of 0.1 a trade within 300 trades (`apex watchtower table`, docs/watchtower.md); a
        demanding one such as 0.90 kills practically all of them.
    decay_dsr : float
        The same for the deflated ratio, in [0, 1); 0, the default, switches it off: held against the luckiest
        of all trials, an ordinary winner looks like a loser.
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
    decay_psr: float = 0.02
    decay_dsr: float = 0.0
    promotion_dsr: float = 0.99

    def __post_init__(self) -> None:
        if not 0.5 <= self.drawdown <= 1.0:
            raise ValueError(f"limits: drawdown must be in [0.5, 1.0], got {self.drawdown!r}")
        if not 0.0 < self.max_leverage <= MAX_LEVERAGE:
            raise ValueError(
                f"limits: max_leverage must be in (0, {MAX_LEVERAGE:g}], got {self.max_leverage!r}"
            )
        if self.min_trades < 3:
            raise ValueError(f"limits: min_trades must be at least 3, got {self.min_trades!r}")
        if self.window < self.min_trades:
            raise ValueError(
                f"limits: window must be at least min_trades, {self.min_trades!r}, got {self.window!r}"
            )
        if self.window > 1_000_000:
            raise ValueError(f"limits: window must be at most 1000000, got {self.window!r}")
        for name in ("decay_psr", "decay_dsr"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"limits: {name} must be in [0, 1), got {getattr(self, name)!r}")
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
    or loss net of fees over the equity before it, oldest first; `max_leverage`, the genome's own.
    """

    equity: float
    capital: float
    smallest_notional: float
    returns: Sequence[float] | np.ndarray = ()
    max_leverage: float = math.inf


class Verdict(msgspec.Struct, frozen=True):
    """A judgement and the numbers it was made from.

    `kind` is ``live``, ``promote``, or one of the terminal ``ruin``, ``drawdown``, ``decay``. `sharpe`,
    `skew`, `kurtosis` (raw), `psr` and `dsr` are nan before `Limits.min_trades` trades; they are of the last
    `judged` ones. `benchmark` is SR0, the ratio that the deflated one is held against, made from `trials` and
    `trials_variance`. `max_leverage` is the smaller of the limit and the genome's own.
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
    judged: int = 0
    skew: float = math.nan
    kurtosis: float = math.nan
    benchmark: float = math.nan
    max_leverage: float = math.nan

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
        self._sum = self._squares = 0.0
        self._changes = 0
        self._trials: Trials | None = Trials(0, 0.0)

    def record(self, agent: str, returns: Sequence[float], limits: Limits) -> None:
        """Set the ratio of `agent` by its returns so far, over the window that it is judged by."""
        enough = len(returns) >= limits.min_trades
        self.put(agent, sharpe_ratio(returns[-limits.window :]) if enough else 0.0)

    def put(self, agent: str, sharpe: float) -> None:
        """Set the ratio of `agent`.

        Raises
        ------
        ValueError
            When it is not finite.
        """
        if not math.isfinite(sharpe):
            raise ValueError(f"trials: the Sharpe ratio of {agent} must be finite, got {sharpe!r}")
        before = self._sharpe.get(agent, 0.0)
        self._sharpe[agent] = sharpe
        self._sum += sharpe - before
        self._squares += sharpe * sharpe - before * before
        self._changes += 1
        self._trials = None
        if self._changes >= 256:  # sums that are carried along gather rounding errors
            self._changes = 0
            self._sum = math.fsum(self._sharpe.values())
            self._squares = math.fsum(x * x for x in self._sharpe.values())

    def trials(self) -> Trials:
        """Count and sample variance (0 below two agents) of all ratios on record."""
        if self._trials is None:  # asked at every mark, changed by closed trades alone
            n = len(self._sharpe)
            variance = 0.0
            if n > 1:
                variance = max(0.0, (self._squares - self._sum * self._sum / n) / (n - 1))
            self._trials = Trials(n, variance)
        return self._trials


class Watchtower:
    """Judges many agents at every fill and every mark.

    Life cycle: `record` once a closed trade, then `judge`; the first `judge` of an agent makes it a trial.
    The Sharpe ratio changes with trades alone, so between two of them only equity is looked at; `verdict`
    gives all the numbers at any time. What was judged before a restart is told by `restore`.

    Parameters
    ----------
    limits : Limits

    Attributes
    ----------
    trials : TrialBook
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.trials = TrialBook()
        self._records: dict[str, TrackRecord] = {}
        self._unjudged: set[str] = set()

    def record(self, agent: str, returned: float) -> None:
        """Add a closed trade of `agent`: its net result over the equity before it."""
        self._track(agent).add(returned)
        self._unjudged.add(agent)

    def forget(self, agent: str) -> None:
        """Drop the trades of an agent that is gone. It stays a trial."""
        self._records.pop(agent, None)
        self._unjudged.discard(agent)

    def count(self, agent: str) -> None:
        """Bring the ratio of `agent` among the trials up to date, without a judgement: the trade that closed
        a condemned agent's position belongs to its life as well."""
        track = self._track(agent)
        self._unjudged.discard(agent)
        enough = track.trades >= self.limits.min_trades
        self.trials.put(agent, track.moments().sharpe if enough else 0.0)

    def restore(self, lives: Iterable[Sequence[float]]) -> None:
        """Count agents of earlier runs as trials; see `Lives`. They get names that no agent has."""
        for returns in lives:
            self.trials.record(f"earlier:{self.trials.trials().count}", returns, self.limits)

    def judge(
        self,
        agent: str,
        equity: float,
        capital: float,
        smallest_notional: float,
        max_leverage: float = math.inf,
    ) -> Verdict:
        """Judge one agent by what changed since it was judged last; see the module's `judge`."""
        money = (equity, capital, smallest_notional, max_leverage)
        if agent in self._unjudged or agent not in self._records:
            self.count(agent)
            return self.verdict(agent, *money)
        verdict = _verdict(*money, 0, None, self.limits, self.trials.trials())
        # Once, with all the numbers for the line.
        return self.verdict(agent, *money) if verdict.is_terminal else verdict

    def verdict(
        self,
        agent: str,
        equity: float,
        capital: float,
        smallest_notional: float,
        max_leverage: float = math.inf,
    ) -> Verdict:
        """The judgement of one agent with all its numbers."""
        track = self._track(agent)
        shape = track.moments() if track.trades >= self.limits.min_trades else None
        money = (equity, capital, smallest_notional, max_leverage)
        return _verdict(*money, track.trades, shape, self.limits, self.trials.trials())

    def _track(self, agent: str) -> TrackRecord:
        track = self._records.get(agent)
        if track is None:
            track = self._records[agent] = TrackRecord(self.limits.window)
        return track


class Lives:
    """Returns of the closed trades of every agent that a ledger knows, in the order of their births.

    Made from the births, fills and funding alone, as the arena's own books are: a trade ends where the
    position is flat, and returns (`trade_return`) what changed since it was flat before.

    Attributes
    ----------
    returns : list of list of float
        One list an agent.
    """

    def __init__(self) -> None:
        self.returns: list[list[float]] = []
        self._of: dict[str, list[float]] = {}
        self._flat_cash: dict[str, float] = {}
        self._is_flat: dict[str, bool] = {}

    def take(self, line: LedgerRecord) -> None:
        """Take the next line of one writer, in the order written."""
        fields = line.fields
        if line.kind == "birth":
            agent = fields["agent"]
            self._of[agent] = []
            self._flat_cash[agent], self._is_flat[agent] = fields["capital"], True
            self.returns.append(self._of[agent])
        elif line.kind == "funding" and self._is_flat.get(fields["agent"], False):
            self._flat_cash[fields["agent"]] = fields["cash"]
        elif line.kind == "fill" and fields["agent"] in self._of:
            agent, cash = fields["agent"], fields["cash"]
            self._is_flat[agent] = fields["position"] == 0.0
            if self._is_flat[agent]:
                self._of[agent].append(trade_return(self._flat_cash[agent], cash))
                self._flat_cash[agent] = cash


def past_returns(lines: Iterable[LedgerRecord]) -> list[list[float]]:
    """The `Lives.returns` of the lines of one writer, in the order written."""
    lives = Lives()
    for line in lines:
        lives.take(line)
    return lives.returns


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
    trades = len(vitals.returns)
    shape = None
    if trades >= limits.min_trades:
        shape = moments(np.asarray(vitals.returns[-limits.window :], dtype=np.float64))
    money = (vitals.equity, vitals.capital, vitals.smallest_notional, vitals.max_leverage)
    return _verdict(*money, trades, shape, limits, trials)


def _verdict(
    equity: float,
    capital: float,
    smallest_notional: float,
    max_leverage: float,
    trades: int,
    shape: Moments | None,
    limits: Limits,
    trials: Trials,
) -> Verdict:
    if not math.isfinite(equity) or not math.isfinite(smallest_notional):
        raise ValueError(
            f"vitals: equity {equity!r} and smallest_notional {smallest_notional!r} must be finite"
        )
    if not capital > 0.0:
        raise ValueError(f"vitals: capital must be positive, got {capital!r}")
    if not max_leverage > 0.0:
        raise ValueError(f"vitals: max_leverage must be positive, got {max_leverage!r}")
    max_leverage = min(max_leverage, limits.max_leverage)
    floor = (1.0 - limits.drawdown) * capital
    sharpe = skew = kurtosis = psr = dsr = benchmark = math.nan
    if shape is not None:
        sharpe, skew = shape.sharpe, shape.skew
        # Exact arithmetic keeps 1 + skew^2 <= kurtosis; two-point returns are at that bound.
        kurtosis = max(shape.kurtosis, 1.0 + skew * skew)
        psr = probabilistic_sharpe_ratio(sharpe, shape.n, skew=skew, kurtosis=kurtosis)
        benchmark = expected_maximum_sharpe(trials.variance, max(1, trials.count))
        dsr = psr
        if benchmark != 0.0:
            dsr = probabilistic_sharpe_ratio(
                sharpe, shape.n, benchmark=benchmark, skew=skew, kurtosis=kurtosis
            )

    if equity <= 0.0:
        kind, reason = "ruin", f"equity {equity:.2f} is not positive"
    elif equity * max_leverage < smallest_notional:
        kind, reason = (
            "ruin",
            f"equity {equity:.2f} x leverage {max_leverage:g} is below the smallest order "
            f"{smallest_notional:.2f}",
        )
    elif equity < floor:
        kind, reason = "drawdown", f"equity {equity:.2f} is below {floor:.2f}"
    elif psr < limits.decay_psr:
        kind, reason = "decay", f"PSR(0) {psr:.4f} is below {limits.decay_psr:g} over the latest trades"
    elif dsr < limits.decay_dsr:
        kind, reason = "decay", f"DSR {dsr:.4f} is below {limits.decay_dsr:g} with {trials.count} trials"
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
        equity=equity,
        capital=capital,
        floor=floor,
        smallest_notional=smallest_notional,
        trades=trades,
        sharpe=sharpe,
        psr=psr,
        dsr=dsr,
        trials=trials.count,
        trials_variance=trials.variance,
        judged=0 if shape is None else shape.n,
        skew=skew,
        kurtosis=kurtosis,
        benchmark=benchmark,
        max_leverage=max_leverage,
    )
