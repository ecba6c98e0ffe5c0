"""Who contests whom, and when a challenger has won: decisions on numbers alone.

A challenger trades beside the champion it contests, each on its own ledger of the same size, on the same
marks of engine time. What is compared is the change of equity between neighbouring marks, so that a trend of
the market, which moves both, cancels in the difference. A mark is a clock's, not a trade's: nobody chooses
when it is measured. Neighbouring marks of one position are not independent; `stats.paired_comparison` allows
for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from apex_nautilus.stats import paired_comparison

__all__ = [
    "YEAR_S",
    "Champion",
    "Contender",
    "ContestRules",
    "Outcome",
    "choose_for_empty_slot",
    "choose_opponent",
    "decide_contest",
]


YEAR_S = 31_622_400.0
"""Longest time that a configuration may ask for, a year in seconds: what is longer is a slip of the pen."""


class ContestRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a challenger may take a slot.

    Parameters
    ----------
    confidence : float
        Smallest P(mean difference > 0) that swaps, in [0.5, 1).
    min_trades : int
        Closed trades a challenger needs before it can win, at least 1.
    min_shadow_s : float
        Seconds of shadow before a challenger may take an empty slot.
    idle_expiry_s : float
        Seconds without a position or a fill after which a challenger expires; 0 for never.
    every_s : float
        Seconds between two looks at a contest. Each look is a chance to be fooled: the fewer, the better the
        stated confidence holds.

    Raises
    ------
    ValueError
        When a field is outside its range.
    """

    confidence: float = 0.95
    min_trades: int = 30
    min_shadow_s: float = 60.0
    idle_expiry_s: float = 3600.0
    every_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"contest: confidence must be in [0.5, 1), got {self.confidence!r}")
        if not 1 <= self.min_trades <= 1_000_000:
            raise ValueError(f"contest: min_trades must be in [1, 1000000], got {self.min_trades!r}")
        for name in ("min_shadow_s", "idle_expiry_s", "every_s"):
            value = getattr(self, name)
            if not 0.0 <= value <= YEAR_S:
                raise ValueError(f"contest: {name} must be in [0, {YEAR_S:.0f}] seconds, got {value!r}")


class Champion(msgspec.Struct, frozen=True):
    """A trading agent as its challengers see it: `growth` is its equity's change over the marks they share,
    in USD."""

    slot: str
    instrument_id: str
    growth: float


class Contender(msgspec.Struct, frozen=True):
    """A challenger that might fill an empty slot.

    `dsr` is the deflated Sharpe ratio its own evidence states (nan where none), `passed` whether the Forge's
    gate let it through, `growth` what its shadow ledger has won so far in USD, `wanted_slot` the slot its job
    named or "".
    """

    genome_id: str
    instrument_id: str
    wanted_slot: str
    passed: bool
    dsr: float
    growth: float
    shadow_s: float


class Outcome(msgspec.Struct, frozen=True):
    """What a look at a contest decided: `action` is ``swap``, ``keep``, ``wait`` or ``expire``; `reason` says
    why."""

    action: str
    reason: str
    probability: float
    marks: int


def decide_contest(
    challenger: Sequence[float] | np.ndarray,
    champion: Sequence[float] | np.ndarray,
    *,
    trades: int,
    idle_s: float,
    rules: ContestRules,
) -> Outcome:
    """Decide one look at the contest of a challenger with a champion over the marks they share.

    Parameters
    ----------
    challenger, champion : (n + 1,) float64
        Equities in USD at the same marks.
    trades : int
        Closed trades of the challenger.
    idle_s : float
        Seconds since the challenger's last fill, or since its birth; 0 while it holds a position.
    rules : ContestRules

    Returns
    -------
    Outcome
        ``swap`` from `rules.confidence` on with enough trades; a tie (probability 0.5 on equal paths) keeps
        the champion whatever the confidence asks for.

    Raises
    ------
    ValueError
        When the two were not marked at the same marks, or an equity is not finite.
    """
    ours = np.asarray(challenger, dtype=np.float64)
    theirs = np.asarray(champion, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(
            f"contest: equities must be at the same marks, got shapes {ours.shape} and {theirs.shape}"
        )
    probability = paired_comparison(np.diff(ours), np.diff(theirs)).probability if ours.size > 1 else 0.5
    marks = ours.size
    if rules.idle_expiry_s > 0.0 and idle_s >= rules.idle_expiry_s:
        return Outcome("expire", f"no fill for {idle_s:.0f} s", probability, marks)
    if trades < rules.min_trades:
        return Outcome("wait", f"{trades} of {rules.min_trades} trades", probability, marks)
    if probability > 0.5 and probability >= rules.confidence:
        return Outcome("swap", f"P(better) {probability:.4f} >= {rules.confidence}", probability, marks)
    return Outcome("keep", f"P(better) {probability:.4f} < {rules.confidence}", probability, marks)


def choose_opponent(instrument_id: str, wanted_slot: str, champions: Sequence[Champion]) -> str | None:
    """Return the slot a challenger contests: the one its job named if a champion of its instrument holds it,
    else the weakest champion of its instrument (least growth, then the slot's name), else None."""
    rivals = [c for c in champions if c.instrument_id == instrument_id]
    for champion in rivals:
        if champion.slot == wanted_slot:
            return wanted_slot
    if not rivals:
        return None
    return min(rivals, key=lambda c: (c.growth, c.slot)).slot


def choose_for_empty_slot(
    slot: str, instrument_id: str, contenders: Sequence[Contender], rules: ContestRules
) -> Contender | None:
    """Return the challenger that takes an empty slot, or None while there is none old enough.

    Best is: asked for this slot; let through by the gate; the highest DSR on its own evidence; the most won
    in shadow; the smallest id. One that was asked for another slot is left to it.
    """
    fit = [
        c
        for c in contenders
        if c.instrument_id == instrument_id
        and c.shadow_s >= rules.min_shadow_s
        and c.wanted_slot in ("", slot)
    ]
    if not fit:
        return None
    return min(
        fit,
        key=lambda c: (
            c.wanted_slot != slot,
            not c.passed,
            math.inf if math.isnan(c.dsr) else -c.dsr,
            -c.growth,
            c.genome_id,
        ),
    )
