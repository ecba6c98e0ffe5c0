"""What would have become of each entry of a genome, were it to stake the same small sum on all of them.

An event is an entry that the genome's signal asks for while it is flat, with the exit that its own bracket
gave it. The events are found by the replay itself, under rules that believe in every bet: so they obey the
same bracket, the same exits and the same refusals as the trades that the genome will make, and they do not
overlap. Counting every row on which the signal fires would count one stretch of the market many times over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apex_nautilus.forge.replay import EXIT_END, EXIT_TAKE_PROFIT, MarketArrays, replay_trades
from apex_nautilus.genome import Program, range_kernel
from apex_nautilus.risk import RULES
from apex_nautilus.risk.rules import CALIBRATION_PLATT, SIZING_KELLY

__all__ = ["Events", "certain", "events_of"]

#: The stake of an event: this share of this capital is what a bet of an agent of usual size risks, and the
#: capital is too large to be moved by losing it many thousand times.
_CAPITAL = 1e9
_SHARE = 1e-8


class Events(NamedTuple):
    """Entries and their outcomes, in order of time.

    Attributes
    ----------
    rows : (n,) int64, rows of the dataset on which the entry was decided.
    scores : (n,) float64, raw confidence there.
    wins : (n,) float64, 1.0 where the take-profit was hit first; a stop and a time-out are 0.0.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    wins: NDArray[np.float64]


def certain(rules: np.void) -> np.void:
    """Rules that are sure of winning, and stake next to nothing of a large capital."""
    sure = np.array([rules], dtype=RULES)
    sure["calibration_kind"] = CALIBRATION_PLATT
    sure["platt_a"], sure["platt_b"] = 0.0, 40.0
    sure["sizing_mode"] = SIZING_KELLY
    sure["kelly_fraction"] = _SHARE
    return sure[0]


@njit(cache=True, nogil=True)
def _scores_at(opcodes, operands, constants, features, rows, scratch, out, scores):
    for i in range(rows.size):
        range_kernel(opcodes, operands, constants, features, rows[i], rows[i] + 1, scratch, out)
        scores[i] = out[1, 0]


def events_of(market: MarketArrays, program: Program, rules: np.void, rows: tuple[int, int]) -> Events:
    """Find the events of a genome on a range of rows.

    Parameters
    ----------
    market : from `dataset_market`.
    program : the compiled genome; output 0 the signal, 1 the confidence.
    rules : its record of dtype RULES; the calibration and the Kelly fraction in it do not matter.
    rows : (lo, hi). An entry that is still open at the end has no outcome and is left out.
    """
    trades = replay_trades(market, program, certain(rules), rows, equity=_CAPITAL)
    trades = trades[trades["exit_kind"] != EXIT_END]
    entries = np.ascontiguousarray(trades["entry_row"], np.int64)
    scores = np.empty(entries.size)
    scratch = program.scratch(8)
    _scores_at(
        program.opcodes,
        program.operands,
        program.constants,
        market.features,
        entries,
        scratch,
        np.empty((program.n_outputs, 8)),
        scores,
    )
    return Events(entries, scores, (trades["exit_kind"] == EXIT_TAKE_PROFIT).astype(np.float64))
