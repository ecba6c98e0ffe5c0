"""Schedules that a learned execution policy has to beat, and what they cost.

A policy is a function of the progress of an episode that returns an action.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from .execution import CROSS, JOIN, WAIT, ExecutionSettings, ExecutionTask, Progress

__all__ = ["BASELINES", "Baseline", "Cost", "Policy", "evaluate", "summarise"]

Policy = Callable[[Progress], int]


def cross(progress: Progress) -> int:
    """Take from the other side in every step."""
    return CROSS


def join(progress: Progress) -> int:
    """Rest at the own side's best price and follow it; what is left at the end crosses."""
    return JOIN if progress.action_mask[JOIN] else WAIT


@dataclass(frozen=True, slots=True)
class Baseline:
    """A policy and what it changes about the settings.

    Attributes
    ----------
    doc : one line about it.
    policy : of a step.
    slices : largest order, as the settings' `slices`; None leaves it.
    """

    doc: str
    policy: Policy
    slices: int | None = None


def twap(slices: int) -> Policy:
    """Return the policy that crosses with a slice whenever less is done than the time asks for.

    The first slice goes at once and the others in even intervals.
    """

    def policy(progress: Progress) -> int:
        due = min((math.floor(progress.elapsed * slices + 1e-9) + 1) / slices, 1.0)
        return CROSS if progress.filled < due * progress.parent * (1.0 - 1e-9) else WAIT

    return policy


BASELINES: dict[str, Baseline] = {
    "cross-at-once": Baseline("the whole order in the first step", cross, slices=1),
    "twap": Baseline("ten equal slices in equal intervals, each crossing", twap(10), slices=10),
    "join-only": Baseline("rests a tenth at a time at the best price; the end crosses", join, slices=10),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Shortfall over many markets, basis points of the parent's worth at arrival.

    Attributes
    ----------
    seeds : how many markets.
    mean, standard_error : of the mean over markets; the error is NaN for a single one.
    deviation : between markets.
    steps : mean number of decisions in an episode.
    untraded : share of the orders' size that could not be traded and was charged at the touch.
    """

    seeds: int
    mean: float
    standard_error: float
    deviation: float
    steps: float
    untraded: float


def evaluate(
    policy: Policy, settings: ExecutionSettings, seeds: Iterable[int], *, side: str | None = None
) -> tuple[np.ndarray, list[Progress], np.ndarray]:
    """Run one episode a seed; the same seed is the same market for every policy, and for either side.

    `side` replaces that of the settings.

    Returns
    -------
    shortfall_bps : float64 (episodes,).
    ends : how each stood at its end.
    steps : int64 (episodes,).
    """
    task = ExecutionTask(settings)
    ends: list[Progress] = []
    counts: list[int] = []
    for seed in seeds:
        progress = task.begin(np.random.default_rng(seed), side=side)
        count = 0
        while not (progress.finished or progress.halted):
            _, progress = task.step(policy(progress))
            count += 1
        ends.append(progress)
        counts.append(count)
    return np.array([end.shortfall_bps for end in ends]), ends, np.array(counts, np.int64)


def summarise(
    baseline: Baseline, settings: ExecutionSettings, seeds: Iterable[int], *, both_sides: bool = False
) -> Cost:
    """Evaluate a baseline.

    With `both_sides` every market is met twice, once to buy and once to sell, and the mean of the two counts:
    where the market would have gone anyway cancels, and what is left is the cost of trading.

    Raises ValueError when there is no seed.
    """
    seeds = list(seeds)
    if not seeds:
        raise ValueError("seeds: give at least one")
    if baseline.slices is not None:
        settings = replace(settings, slices=baseline.slices)
    runs = [
        evaluate(baseline.policy, settings, seeds, side=side)
        for side in (("buy", "sell") if both_sides else (None,))
    ]
    shortfall = np.mean([run[0] for run in runs], axis=0)
    ends = [end for run in runs for end in run[1]]
    deviation = float(shortfall.std(ddof=1)) if len(seeds) > 1 else math.nan
    return Cost(
        seeds=len(seeds),
        mean=float(shortfall.mean()),
        standard_error=deviation / math.sqrt(len(seeds)),
        deviation=deviation,
        steps=float(np.mean([run[2] for run in runs])),
        untraded=sum(end.left for end in ends) / sum(end.parent for end in ends),
    )
