"""Genomes that trade on bars."""

from __future__ import annotations

import math

from apex_nautilus.genome import Constant, Genome, Node, sealed
from apex_nautilus.genome.schema import BpsStop, Bracket, Feature, Platt, Sizing

__all__ = ["on_bars"]


def on_bars(
    instrument_id: str,
    clock: str,
    *,
    stop_bps: float = 40.0,
    leverage: float = 2.0,
    max_hold_s: float = 3600.0,
    features: tuple[str, ...] = ("bar_return", "bar_volatility"),
) -> Genome:
    """Follows the first of its features, sure of itself."""
    return sealed(
        Genome(
            instrument_id=instrument_id,
            clock=clock,
            features=features,
            signal=Node(Feature(0)),
            confidence=Node(Constant(0.0)),
            entry_threshold=0.0,
            calibration=Platt(0.0, math.log(0.6 / 0.4)),
            bracket=Bracket(stop=BpsStop(stop_bps), max_hold_s=max_hold_s),
            sizing=Sizing(max_leverage=leverage),
        )
    )
