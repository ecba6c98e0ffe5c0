"""The allocator: which agents may bet more, from what they have earned lately.

Each agent has a weight; the weights sum to 1, and an agent's orders are multiplied by N times its weight, so
that the mean multiplier is 1. No money moves between ledgers.

One step, every `AllocatorRules.every_s` of engine time, with the log growth of each agent over the marks
since the last one:

1. *Risk-adjusted growth.* Growth is divided by its own running deviation (the root of an exponentially
   weighted mean of the sums of squared changes, `memory`), and clipped. The result does not depend on how
   large an agent bets, so that a large multiplier cannot earn itself a larger one.
2. *Exponentiated gradient* (Kivinen & Warmuth 1997; on full information this is Hedge of Freund & Schapire
   1997) with a cost of turnover: the new weights minimise

       -rate <w, gain> + KL(w || old) + turnover_cost |w - old|_1

   over the weights that sum to 1 and lie within the bounds. The solution has the form ``old_i exp(soft(rate
   gain_i - mu, turnover_cost))`` clipped to the bounds, where `soft` shrinks towards 0 and mu makes the sum
   1: what would not pay for its turnover stays where it is.
3. *Risk parity*, where asked for: the weights that agents get are blended with weights in inverse proportion
   to their deviations.

With gains in [-1, 1] and no cost, the weights earn at most ``ln(N) / rate + rate T / 2`` less than the best
constant weights in the bounds would have earned over T steps, whatever the gains were (a test holds it).

An agent that is born gets the mean weight, 1/N; an agent that dies leaves its weight to the others in
proportion. Neither changes what the others have relative to each other, as far as the bounds allow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from apex_nautilus.actors.contest import YEAR_S

__all__ = [
    "ALLOCATION_TOPIC",
    "Allocation",
    "Allocator",
    "AllocatorRules",
    "bounds_of",
    "hedge_step",
    "project",
    "risk_parity",
]

ALLOCATION_TOPIC = "apex.allocation"
"""Message bus topic of the weights (the message is an `Allocation`)."""


class AllocatorRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How weights move.

    Parameters
    ----------
    every_s : float
        Seconds of engine time between two steps, at least 1.
    rate : float
        Learning rate, in [0, 10]: a gain of 1 moves a weight by the factor exp(rate) beside one without gain.
        0 keeps all weights where they are.
    floor, cap : float
        Bounds of a weight, ``0 <= floor < cap <= 1``; see `bounds_of` for numbers of agents that cannot keep
        them.
    turnover_cost : float
        Cost of moving a unit of weight, in units of rate times gain; in [0, 10].
    clip : float
        Risk-adjusted growth beyond +- this counts as this, in (0, 100]; a gain of 1 is growth of `clip`
        deviations.
    memory : float
        Weight of the past in the running mean of squared changes, in [0, 1).
    risk_parity : float
        Share of the inverse-deviation weights in what agents get, in [0, 1].

    Raises
    ------
    ValueError
        When a field is outside its range.
    """

    every_s: float = 60.0
    rate: float = 0.05
    floor: float = 0.05
    cap: float = 0.40
    turnover_cost: float = 0.002
    clip: float = 3.0
    memory: float = 0.97
    risk_parity: float = 0.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.every_s <= YEAR_S:
            raise ValueError(f"allocator: every_s must be in [1, {YEAR_S:.0f}], got {self.every_s!r}")
        if not 0.0 <= self.floor < self.cap <= 1.0:
            raise ValueError(
                f"allocator: need 0 <= floor < cap <= 1, got floor {self.floor!r} and cap {self.cap!r}"
            )
        for name, low, high in (
            ("rate", 0.0, 10.0),
            ("turnover_cost", 0.0, 10.0),
            ("risk_parity", 0.0, 1.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"allocator: {name} must be in [{low:g}, {high:g}], got {getattr(self, name)!r}"
                )
        if not 0.0 < self.clip <= 100.0:
            raise ValueError(f"allocator: clip must be in (0, 100], got {self.clip!r}")
        if not 0.0 <= self.memory < 1.0:
            raise ValueError(f"allocator: memory must be in [0, 1), got {self.memory!r}")


class Allocation(msgspec.Struct, frozen=True):
    """The weights of all agents at one moment; the lists are in the order of `agents`.

    `gains` are what the step was made from (risk-adjusted growth, 1 being `AllocatorRules.clip` deviations),
    `multipliers` what sizing sees, `turnover` the sum of the absolute changes of weights.
    """

    agents: tuple[str, ...]
    weights: tuple[float, ...]
    multipliers: tuple[float, ...]
    gains: tuple[float, ...]
    turnover: float
    floor: float
    cap: float

    def multiplier_of(self, agent: str) -> float:
        """What the orders of `agent` are multiplied by; 1 for one that has no weight."""
        return self.multipliers[self.agents.index(agent)] if agent in self.agents else 1.0


def bounds_of(n: int, floor: float, cap: float) -> tuple[float, float]:
    """Bounds that `n` weights with a sum of 1 can keep.

    `floor` and `cap` themselves wherever possible. With too few agents for the cap (two, at 0.40) it becomes
    ``min(1, 1.5 / n)``, with too many for the floor (more than twenty, at 0.05) that becomes ``0.5 / n``:
    multipliers then range up to 1.5, or down to 0.5.
    """
    if n < 1:
        raise ValueError(f"allocator: need at least one agent, got {n!r}")
    low = floor if n * floor <= 1.0 else 0.5 / n
    high = cap if n * cap >= 1.0 else min(1.0, 1.5 / n)
    return low, high


def hedge_step(
    weights: ArrayLike,
    gains: ArrayLike,
    *,
    rate: float,
    floor: float,
    cap: float,
    turnover_cost: float = 0.0,
) -> NDArray[np.float64]:
    """One step of exponentiated gradient within bounds; see the module.

    Parameters
    ----------
    weights : (n,) array_like
        Old weights, positive.
    gains : (n,) array_like
        What each has earned, finite.
    rate, turnover_cost : float
    floor, cap : float
        ``n * floor <= 1 <= n * cap``.

    Returns
    -------
    (n,) float64
        In [floor, cap], sum 1 (to rounding).

    Raises
    ------
    ValueError
        When the shapes differ, a weight is not positive, a number is not finite, or the bounds cannot be
        kept.
    """
    old = np.asarray(weights, dtype=np.float64)
    gain = np.asarray(gains, dtype=np.float64)
    if old.ndim != 1 or old.shape != gain.shape or old.size == 0:
        raise ValueError(
            f"hedge: need as many gains as weights, at least one; got shapes {old.shape}, {gain.shape}"
        )
    if not (np.all(np.isfinite(old)) and np.all(old > 0.0) and np.all(np.isfinite(gain))):
        raise ValueError("hedge: weights must be positive and finite, gains finite")
    n = old.size
    if not (0.0 <= floor <= cap and n * floor <= 1.0 + 1e-12 and n * cap >= 1.0 - 1e-12):
        raise ValueError(f"hedge: {n} weights with a sum of 1 cannot keep to [{floor!r}, {cap!r}]")
    push = rate * gain
    logs = np.log(old)
    log_low = math.log(floor) if floor > 0.0 else -math.inf
    log_high = math.log(cap)

    def at(mu: float) -> NDArray[np.float64]:
        moved = push - mu
        soft = np.sign(moved) * np.maximum(np.abs(moved) - turnover_cost, 0.0)
        return np.exp(np.clip(logs + soft, log_low, log_high))

    # The sum falls in mu, from n * cap to n * floor; all that can matter is within these ends.
    reach = turnover_cost + 50.0
    low = float(np.min(push + logs)) - reach
    high = float(np.max(push + logs)) + reach
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if float(at(middle).sum()) > 1.0:
            low = middle
        else:
            high = middle
    return _exactly_one(at(0.5 * (low + high)), floor, cap)


def project(weights: ArrayLike, floor: float, cap: float) -> NDArray[np.float64]:
    """The nearest weights (in relative entropy) that sum to 1 within the bounds.

    Those that touch no bound keep their ratios to each other, which the Euclidean projection would not.
    """
    values = np.asarray(weights, dtype=np.float64)
    return hedge_step(values, np.zeros_like(values), rate=0.0, floor=floor, cap=cap)


def _exactly_one(weights: NDArray[np.float64], floor: float, cap: float) -> NDArray[np.float64]:
    """Spread what rounding left over the sum of 1 among the weights that have room for it."""
    for _ in range(3):
        missing = 1.0 - float(weights.sum())
        room = cap - weights if missing > 0.0 else weights - floor
        total = float(room.sum())
        if missing == 0.0 or total <= 0.0:
            break
        weights = np.clip(weights + missing * room / total, floor, cap)
    return weights


def risk_parity(deviations: ArrayLike, floor: float, cap: float) -> NDArray[np.float64]:
    """Weights in inverse proportion to deviations, within bounds: equal risk each, correlations left out.

    A deviation that is not known (nan or 0) counts as the median of the known ones.
    """
    values = np.asarray(deviations, dtype=np.float64)
    known = np.isfinite(values) & (values > 0.0)
    middle = float(np.median(values[known])) if known.any() else 1.0
    return project(1.0 / np.where(known, values, middle), floor, cap)


class Allocator:
    """Carries weights and deviations of the living agents from step to step.

    Parameters
    ----------
    rules : AllocatorRules
    """

    def __init__(self, rules: AllocatorRules) -> None:
        self.rules = rules
        self._weights: dict[str, float] = {}
        self._squares: dict[str, float] = {}
        self._given: dict[str, float] = {}

    def census(self, agents: Sequence[str]) -> None:
        """Let the dead go and take the new in.

        Parameters
        ----------
        agents : sequence of str
            All that live now, each once.
        """
        if len(set(agents)) != len(agents):
            raise ValueError(f"allocator: an agent is named twice in {list(agents)}")
        for name in [name for name in self._weights if name not in set(agents)]:
            del self._weights[name]
            self._squares.pop(name, None)
            self._given.pop(name, None)
        total = math.fsum(self._weights.values())
        if total > 0.0:
            self._weights = {name: weight / total for name, weight in self._weights.items()}
        for name in agents:
            if name not in self._weights:
                n = len(self._weights) + 1
                self._weights = {other: weight * (n - 1) / n for other, weight in self._weights.items()}
                self._weights[name] = 1.0 / n
        self._weights = {name: self._weights[name] for name in agents}

    def step(self, log_returns: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> Allocation:
        """Move the weights by what each living agent earned since the last step.

        Parameters
        ----------
        log_returns : mapping of agent to (k,) float64
            Changes of the logarithm of its equity from mark to mark, oldest first; an agent without any
            earned nothing. Agents that are not among them die, new ones are born; see `census`.

        Returns
        -------
        Allocation
            In the order of the mapping.

        Raises
        ------
        ValueError
            When there is no agent or a change is not finite.
        """
        names = tuple(log_returns)
        if not names:
            raise ValueError("allocator: no agents; there is nothing to share out")
        rules = self.rules
        self.census(names)
        gains = [self._gain(name, np.asarray(log_returns[name], dtype=np.float64)) for name in names]
        floor, cap = bounds_of(len(names), rules.floor, rules.cap)
        weights = hedge_step(
            [self._weights[name] for name in names],
            gains,
            rate=rules.rate,
            floor=floor,
            cap=cap,
            turnover_cost=rules.turnover_cost,
        )
        self._weights = dict(zip(names, weights.tolist(), strict=True))
        if rules.risk_parity > 0.0:
            deviations = [math.sqrt(self._squares.get(name, 0.0)) for name in names]
            equal_risk = risk_parity(deviations, floor, cap)
            weights = (1.0 - rules.risk_parity) * weights + rules.risk_parity * equal_risk
        turnover = math.fsum(
            abs(w - self._given.get(name, 1.0 / len(names)))
            for name, w in zip(names, weights.tolist(), strict=True)
        )
        self._given = dict(zip(names, weights.tolist(), strict=True))
        return Allocation(
            agents=names,
            weights=tuple(weights.tolist()),
            multipliers=tuple((len(names) * weights).tolist()),
            gains=tuple(gains),
            turnover=turnover,
            floor=floor,
            cap=cap,
        )

    def _gain(self, name: str, changes: NDArray[np.float64]) -> float:
        if not np.all(np.isfinite(changes)):
            raise ValueError(f"allocator: a change of the equity of {name} is not finite")
        squares = float(np.sum(changes * changes))
        before = self._squares.get(name)
        if before is None or before == 0.0:
            mean = squares
        else:
            mean = self.rules.memory * before + (1.0 - self.rules.memory) * squares
        self._squares[name] = mean
        if not mean > 0.0:
            return 0.0
        adjusted = float(np.sum(changes)) / math.sqrt(mean)
        return min(max(adjusted, -self.rules.clip), self.rules.clip) / self.rules.clip
