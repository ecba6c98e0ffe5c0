"""A whole cost model of one instrument, fitted on what a catalog holds of it."""

from __future__ import annotations

import os

import numpy as np

from apex_nautilus.data import DataError, bar_type_name, bar_types, load_instrument, read_bars, read_events
from apex_nautilus.data.bars import MINUTES
from apex_nautilus.forge.egarch_fit import fit_egarch
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.impact_fit import (
    BookSamples,
    abdi_ranaldo,
    fit_half_spread,
    fit_impact,
    sample_books,
)
from apex_nautilus.risk import BarCosts, InstrumentSpec
from apex_nautilus.risk.cost_file import COSTS_SCHEMA, CostFile, FitNote

__all__ = ["fit_costs"]


def fit_costs(
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    clock: str,
    *,
    window_s: int = 60,
    impact: float | None = None,
    half_spread_bps: float | None = None,
    volume_window: int = 48,
) -> CostFile:
    """Fit half spread, k and EGARCH on an instrument's recorded book and stored candles.

    Parameters
    ----------
    catalog_path : folder of the catalog.
    instrument_id : str
    clock : {"1m", "5m", "15m"}
        Length of the bars that orders will meet.
    window_s : int
        See `sample_books`.
    impact, half_spread_bps : float, optional
        Taken as they are where no book is recorded; given beside a book they take the place of the fit.
    volume_window : int
        Bars whose volume is averaged.

    Raises
    ------
    ForgeError
        When no candles are stored, k is neither given nor can be fitted, or a fit does not come off.
    DataError
        When the catalog lacks the instrument or is damaged.
    """
    spec = load_instrument(catalog_path, instrument_id)
    named = bar_type_name(instrument_id, MINUTES[clock])
    if named not in bar_types(catalog_path, instrument_id):
        raise ForgeError(
            f"{catalog_path}: no candles {named}; import some first (apex data import freqtrade), they tell "
            "how volatility moves"
        )
    bars = read_bars(catalog_path, named)
    closing = bars["close"] / 10.0**spec.price_precision
    span = (int(bars["ts_ns"][0]), int(bars["ts_ns"][-1]))
    source = f"{bars.size:,} candles {clock}"
    books = _books(catalog_path, spec, window_s)
    notes: list[FitNote] = []
    notes.append(_half_spread(bars, spec, half_spread_bps, books, source, span))
    if impact is not None:
        notes.append(_given("impact", impact))
    elif books is None:
        raise ForgeError(
            f"{catalog_path}: no book of {instrument_id} is recorded to fit k on; give it with --impact "
            "(recorded perpetuals of bitcoin and ether gave 1.0 and 0.6, see docs/bar-execution.md)"
        )
    else:
        notes.append(fit_impact(books, source="recorded book"))
    # A hole in the candles is no return of one bar.
    steps = np.diff(bars["ts_ns"])
    returns = np.diff(np.log(closing))[steps == MINUTES[clock] * 60_000_000_000]
    egarch, told = fit_egarch(returns, source=source, span_ns=span)
    costs = BarCosts(
        half_spread_bps=notes[0].value,
        impact=max(notes[1].value, 0.0),
        volume_window=volume_window,
        egarch=egarch,
    )
    return CostFile(
        schema=COSTS_SCHEMA,
        instrument_id=instrument_id,
        bar_minutes=MINUTES[clock],
        costs=costs,
        notes=[*notes, *told],
    )


def _given(name: str, value: float) -> FitNote:
    return FitNote(name=name, method="given, not fitted", source="given", samples=0, value=value)


def _books(catalog_path: str | os.PathLike[str], spec: InstrumentSpec, window_s: int) -> BookSamples | None:
    try:
        events = [chunk for chunk in read_events(catalog_path, spec.id) if chunk.size]
    except DataError:
        return None
    return sample_books(events, spec, window_s=window_s) if events else None


def _half_spread(bars, spec, given, books, source, span) -> FitNote:
    if given is not None:
        return _given("half_spread_bps", given)
    if books is not None:
        return fit_half_spread(books, source="recorded book")
    scale = 10.0**spec.price_precision
    return abdi_ranaldo(
        bars["high"] / scale, bars["low"] / scale, bars["close"] / scale, source=source, span_ns=span
    )
