"""Everything of a genome that decides, beside its trees, as one flat record that numba reads.

`trading_rules` joins a genome's entry threshold, calibration, bracket and sizing with the steps, limits and
fees of the instrument it trades. The replay takes an array of such records, live one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apex_nautilus.risk.bracket import STOP_BPS, STOP_VOLATILITY
from apex_nautilus.risk.entry_policy import PASSIVE_TIMERS, PassiveTimers, check_timers, execution_kind
from apex_nautilus.risk.instrument import InstrumentSpec, require_linear
from apex_nautilus.risk.kelly import STAKE_NOTIONAL, STAKE_RISK

MAX_KNOTS = 32

CALIBRATION_PLATT = 0
CALIBRATION_ISOTONIC = 1

SIZING_KELLY = 0
SIZING_EVOLVED = 1

#: One record: the rules of one genome on one instrument. Units are in the names; ``*_units`` are counts of
#: ``10**-precision``, ``*_scale`` is ``10**precision``. `genome_max_qty` 0 is "no bound of the genome's own".
#: `certainty` scales f*: 1, or what `uncertainty_shrink` leaves of it. `execution` is how an entry gets into
#: the market, see `entry_policy.execution_kind`; the two times after it are those of a passive one.
RULES = np.dtype(
    [
        ("entry_threshold", "f8"),
        ("reward_risk", "f8"),
        ("stop_kind", "i8"),
        ("stop_value", "f8"),
        ("stop_window", "i8"),
        ("max_hold_ns", "i8"),
        ("execution", "i8"),
        ("reprice_ns", "i8"),
        ("patience_ns", "i8"),
        ("calibration_kind", "i8"),
        ("platt_a", "f8"),
        ("platt_b", "f8"),
        ("n_knots", "i8"),
        ("knot_scores", "f8", (MAX_KNOTS,)),
        ("knot_probabilities", "f8", (MAX_KNOTS,)),
        ("sizing_mode", "i8"),
        ("kelly_fraction", "f8"),
        ("size_low", "f8"),
        ("size_high", "f8"),
        ("certainty", "f8"),
        ("stake", "i8"),
        ("max_leverage", "f8"),
        ("genome_min_qty", "f8"),
        ("genome_max_qty", "f8"),
        ("is_spot", "i8"),
        ("tick_units", "i8"),
        ("price_scale", "f8"),
        ("lot_units", "i8"),
        ("size_scale", "f8"),
        ("venue_min_qty", "f8"),
        ("venue_max_qty", "f8"),
        ("min_notional", "f8"),
        ("maker_fee", "f8"),
        ("taker_fee", "f8"),
    ],
    align=True,
)


class GenomeLike(Protocol):
    """What `trading_rules` reads of a genome; the structs of `apex_nautilus.genome` have this shape.

    `bracket` has `reward_risk`, `max_hold_s` and `stop`, which has `value` (basis points) or `multiple` and
    `window` (volatility). `calibration` has `a` and `b` (Platt) or `scores` and `probabilities` (isotonic
    knots). `sizing` has `mode`, `kelly_fraction`, `stake`, `max_leverage`, `min_qty`, `max_qty`, `lo`, `hi`.
    """

    @property
    def id(self) -> str: ...
    @property
    def entry_threshold(self) -> float: ...
    @property
    def execution(self) -> str: ...
    @property
    def bracket(self) -> Any: ...
    @property
    def calibration(self) -> Any: ...
    @property
    def sizing(self) -> Any: ...


@njit(cache=True, error_model="numpy")
def sigmoid_kernel(x: float) -> float:
    """Return 1 / (1 + exp(-x)), without overflow on either side."""
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    grown = math.exp(x)
    return grown / (1.0 + grown)


@njit(cache=True, error_model="numpy")
def calibrate_kernel(rules, score: float) -> float:
    """Return the probability of winning that `score` stands for; NaN for a NaN score.

    Platt (1999): sigmoid(a x + b). Isotonic: linear between the knots, flat outside them.
    """
    if math.isnan(score):
        return math.nan
    if rules.calibration_kind == CALIBRATION_PLATT:
        return sigmoid_kernel(rules.platt_a * score + rules.platt_b)
    last = rules.n_knots - 1
    if last < 0:
        return math.nan
    if score <= rules.knot_scores[0]:
        return rules.knot_probabilities[0]
    if score >= rules.knot_scores[last]:
        return rules.knot_probabilities[last]
    right = 1
    while rules.knot_scores[right] < score:
        right += 1
    low, high = rules.knot_scores[right - 1], rules.knot_scores[right]
    start, end = rules.knot_probabilities[right - 1], rules.knot_probabilities[right]
    return start + (end - start) * ((score - low) / (high - low))


def _number(value: float, name: str, where: str, low: float, high: float) -> float:
    number = float(value)
    if not low <= number <= high:
        raise ValueError(f"{where}: {name} must be in [{low:g}, {high:g}], got {value!r}")
    return number


def _fill_calibration(record: np.void, calibration: Any, where: str) -> None:
    if hasattr(calibration, "scores"):
        scores = np.asarray(calibration.scores, dtype=np.float64)
        probabilities = np.asarray(calibration.probabilities, dtype=np.float64)
        if not 1 <= scores.size <= MAX_KNOTS or scores.shape != probabilities.shape:
            raise ValueError(
                f"{where}: calibration needs 1 to {MAX_KNOTS} knots, scores and probabilities alike in "
                f"number; got {scores.size} and {probabilities.size}"
            )
        if not np.all(np.isfinite(scores)) or np.any(np.diff(scores) <= 0.0):
            raise ValueError(f"{where}: calibration.scores must be finite and rise strictly")
        if not np.all((probabilities >= 0.0) & (probabilities <= 1.0)):
            raise ValueError(f"{where}: calibration.probabilities must lie in [0, 1]")
        record["calibration_kind"] = CALIBRATION_ISOTONIC
        record["n_knots"] = scores.size
        record["knot_scores"][: scores.size] = scores
        record["knot_probabilities"][: scores.size] = probabilities
        return
    record["calibration_kind"] = CALIBRATION_PLATT
    record["platt_a"] = _number(calibration.a, "calibration.a", where, -1e12, 1e12)
    record["platt_b"] = _number(calibration.b, "calibration.b", where, -1e12, 1e12)


def _fill_bracket(record: np.void, bracket: Any, where: str) -> None:
    record["reward_risk"] = _number(bracket.reward_risk, "bracket.reward_risk", where, 1e-3, 1e3)
    seconds = _number(bracket.max_hold_s, "bracket.max_hold_s", where, 1e-3, 1e9)
    record["max_hold_ns"] = round(seconds * 1e9)
    stop = bracket.stop
    if hasattr(stop, "multiple"):
        record["stop_kind"] = STOP_VOLATILITY
        record["stop_value"] = _number(stop.multiple, "bracket.stop.multiple", where, 1e-6, 1e6)
        window = int(stop.window)
        if window < 1:
            raise ValueError(f"{where}: bracket.stop.window must be at least 1, got {stop.window!r}")
        record["stop_window"] = window
        return
    record["stop_kind"] = STOP_BPS
    record["stop_value"] = _number(stop.value, "bracket.stop.value", where, 1e-6, 1e4)


def _fill_sizing(record: np.void, sizing: Any, where: str) -> None:
    modes = {"kelly": SIZING_KELLY, "evolved": SIZING_EVOLVED}
    stakes = {"risk": STAKE_RISK, "notional": STAKE_NOTIONAL}
    if sizing.mode not in modes:
        raise ValueError(f"{where}: sizing.mode must be one of {', '.join(modes)}, got {sizing.mode!r}")
    if sizing.stake not in stakes:
        raise ValueError(f"{where}: sizing.stake must be one of {', '.join(stakes)}, got {sizing.stake!r}")
    record["sizing_mode"] = modes[sizing.mode]
    record["stake"] = stakes[sizing.stake]
    record["kelly_fraction"] = _number(sizing.kelly_fraction, "sizing.kelly_fraction", where, 0.0, 1.0)
    record["size_low"] = _number(sizing.lo, "sizing.lo", where, 0.0, 1.0)
    record["size_high"] = _number(sizing.hi, "sizing.hi", where, record["size_low"], 1.0)
    record["max_leverage"] = _number(sizing.max_leverage, "sizing.max_leverage", where, 1e-6, 1e3)
    record["genome_min_qty"] = _number(sizing.min_qty or 0.0, "sizing.min_qty", where, 0.0, 1e12)
    if sizing.max_qty is not None:
        low = max(float(record["genome_min_qty"]), 1e-12)
        record["genome_max_qty"] = _number(sizing.max_qty, "sizing.max_qty", where, low, 1e12)


def _fill_execution(record: np.void, execution: str, timers: PassiveTimers, where: str) -> None:
    try:
        record["execution"] = execution_kind(execution)
        record["reprice_ns"], record["patience_ns"] = check_timers(timers)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def trading_rules(
    genome: GenomeLike,
    instrument: InstrumentSpec,
    *,
    certainty: float = 1.0,
    timers: PassiveTimers = PASSIVE_TIMERS,
) -> np.void:
    """Join what a genome decides with what the venue allows.

    Parameters
    ----------
    genome : GenomeLike
        A genome, or anything of its shape.
    instrument : InstrumentSpec
        The instrument it trades.
    certainty : float
        Share of f* that is bet, in [0, 1]; what parameter uncertainty leaves of it, see `Certainty`.
    timers : PassiveTimers
        Of a passive entry.

    Returns
    -------
    numpy.void
        One record of dtype `RULES`. On spot its leverage is at most what equity pays for, fee included.

    Raises
    ------
    ValueError
        When a field is outside its range, or its entry policy is unknown; the message names genome and
        field. When the instrument is inverse.
    """
    require_linear(instrument, "sizing")
    record = np.zeros(1, dtype=RULES)[0]
    where = f"genome {genome.id or '<unsealed>'}"
    record["entry_threshold"] = _number(genome.entry_threshold, "entry_threshold", where, 0.0, 1e12)
    _fill_bracket(record, genome.bracket, where)
    _fill_calibration(record, genome.calibration, where)
    _fill_sizing(record, genome.sizing, where)
    _fill_execution(record, genome.execution, timers, where)
    record["certainty"] = _number(certainty, "certainty", where, 0.0, 1.0)
    record["is_spot"] = instrument.is_spot
    record["tick_units"] = instrument.tick_units
    record["price_scale"] = 10.0**instrument.price_precision
    record["lot_units"] = instrument.lot_units
    record["size_scale"] = 10.0**instrument.size_precision
    record["venue_min_qty"] = instrument.min_qty
    record["venue_max_qty"] = instrument.max_qty
    record["min_notional"] = instrument.min_notional
    record["maker_fee"] = instrument.maker_fee
    record["taker_fee"] = instrument.taker_fee
    if instrument.is_spot:
        # What is bought on spot is paid for, fee included: nobody lends.
        record["max_leverage"] = min(record["max_leverage"], 1.0 / (1.0 + max(instrument.taker_fee, 0.0)))
    return record


def rules_array(
    genomes: Sequence[GenomeLike], instrument: InstrumentSpec, *, timers: PassiveTimers = PASSIVE_TIMERS
) -> NDArray[np.void]:
    """Return the rules of many genomes on one instrument as an array of dtype `RULES`."""
    records = np.zeros(len(genomes), dtype=RULES)
    for place, genome in enumerate(genomes):
        records[place] = trading_rules(genome, instrument, timers=timers)
    return records
