"""Genomes drawn by lot: the overconfident field that an arena starts with before anything was evolved."""

from __future__ import annotations

import math

import numpy as np

from apex_nautilus.data import Dataset
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Constant,
    Genome,
    Node,
    Platt,
    Sizing,
    compile_genome,
    evaluate_block,
    sealed,
)
from apex_nautilus.genome.random_trees import random_tree

__all__ = ["CLAIMED_P", "draw_incumbent"]

CLAIMED_P = 0.40
"""What every incumbent claims as its probability of winning, unproven; half Kelly then stakes a tenth."""

_TRADES_OFTEN = (0.02, 0.98)
_MAX_DRAWS = 10_000


def draw_incumbent(
    data: Dataset,
    rng: np.random.Generator,
    *,
    stops_bps: tuple[float, ...] = (15.0, 20.0, 30.0),
    max_hold_s: float = 300.0,
) -> Genome:
    """Draw random signals until one is neither silent nor stuck on the history; claim `CLAIMED_P` for it.

    Nothing is learnt: the draw looks at how often a signal fires, never at what it would have earned.

    Raises
    ------
    RuntimeError
        When no signal in 10,000 draws fires often enough.
    """
    names = data.feature_names
    rows = np.asarray(data.features[-2000:])
    for _ in range(_MAX_DRAWS):
        genome = Genome(
            instrument_id=data.instrument.id,
            clock=data.clock,
            conflate_ms=data.card.conflate_ms,
            features=names,
            signal=random_tree(rng, len(names), depth=3),
            confidence=Node(Constant(0.0)),
            calibration=Platt(a=0.0, b=math.log(CLAIMED_P / (1.0 - CLAIMED_P))),
            bracket=Bracket(stop=BpsStop(float(rng.choice(stops_bps))), max_hold_s=max_hold_s),
            sizing=Sizing(),
        )
        signal = np.asarray(evaluate_block([compile_genome(genome)], rows)[0])[0, 0]
        long, short = np.mean(signal > genome.entry_threshold), np.mean(signal < -genome.entry_threshold)
        if _TRADES_OFTEN[0] < long + short and max(long, short) < _TRADES_OFTEN[1]:
            return sealed(genome)
    raise RuntimeError(f"no random signal over {', '.join(names)} fires on these rows")
