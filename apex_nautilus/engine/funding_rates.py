"""Which perpetuals of a run pay funding, when, and at which rate: out of a market catalog, before it starts.

Rates come from the instrument's own external series ``funding_rate`` (one value a settlement), or else from
recorded `FundingRateUpdate` objects: the last one told before a settlement is the rate of it. Where the
catalog holds `MarkPriceUpdate` objects, the last one of the minute before a settlement is its mark.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec
import numpy as np
from nautilus_trader.model.data import FundingRateUpdate, MarkPriceUpdate
from nautilus_trader.model.instruments import CryptoPerpetual, Instrument
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.engine.market_data import MarketDataError
from apex_nautilus.risk.funding import funding_gaps
from apex_nautilus.store import StoreError
from apex_nautilus.store.external import load_external

__all__ = ["FundingCoverage", "FundingPlan", "FundingSetting", "Settlement", "check_funding", "plan_funding"]

FundingSetting = str | bool | list[str]
"""``"stored"``: every traded perpetual whose rates the catalog holds. True: every traded perpetual, and it is
an error where rates are missing. A list: these instruments and no others, likewise. False: nobody."""

_FEATURE = "funding_rate"
_SECOND = 1_000_000_000
_MARK_AGE_NS = 60 * _SECOND
_DAY_NS = 86_400 * _SECOND


class Settlement(msgspec.Struct, frozen=True):
    """One settlement of one instrument.

    Attributes
    ----------
    ts_ns : int
        When it is due, a whole second: venues stamp their rates some milliseconds after it.
    rate : float
        Share of the notional; longs pay where it is positive.
    mark : float or None
        The recorded mark price; None where the middle of the venue's book is to be taken.
    """

    ts_ns: int
    rate: float
    mark: float | None = None


class FundingCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one traded perpetual's funding over the span of a run.

    Attributes
    ----------
    instrument_id : str
    source : str
        ``series``, ``updates``, ``none`` (no rates are stored) or ``off``.
    settlements : int
        In the span.
    gaps : tuple of (int, int)
        Stretches without a rate where there must have been a settlement, nanoseconds; nothing is booked in
        them.
    """

    instrument_id: str
    source: str
    settlements: int = 0
    gaps: tuple[tuple[int, int], ...] = ()


class FundingPlan(msgspec.Struct, frozen=True):
    """The funding of a run: settlements by instrument (those of the span, in order), and a line for each
    traded perpetual."""

    settlements: dict[str, list[Settlement]]
    coverage: list[FundingCoverage]


def check_funding(setting: FundingSetting, instrument_ids: Sequence[str]) -> None:
    """Raise ValueError, naming the field, where `setting` is another word than ``stored``, or a list has an
    instrument twice or one that nobody trades."""
    if not isinstance(setting, list):
        if setting not in ("stored", True, False):
            raise ValueError(
                f'funding: must be "stored", true, false or a list of instrument ids, got {setting!r}'
            )
        return
    for i, instrument_id in enumerate(setting):
        if instrument_id not in instrument_ids:
            raise ValueError(
                f"funding[{i}]: nobody trades {instrument_id!r} (traded: {', '.join(instrument_ids)})"
            )
        if instrument_id in setting[:i]:
            raise ValueError(f"funding[{i}]: {instrument_id!r} is named twice")


def plan_funding(
    catalog_path: str | os.PathLike[str],
    instrument_ids: Sequence[str],
    setting: FundingSetting,
    *,
    start_ns: int,
    end_ns: int,
) -> FundingPlan:
    """Read the settlements of a run.

    Parameters
    ----------
    catalog_path : of the market.
    instrument_ids : what is traded. Spot pairs have no funding and are passed over.
    setting : see `FundingSetting`.
    start_ns, end_ns : first and last time of the run's data. A settlement at the very start finds nobody
        with a position.

    Raises
    ------
    MarketDataError
        When `setting` asks for the funding of an instrument that is no perpetual or whose rates are not
        stored, or what is stored cannot be read.
    """
    catalog = ParquetDataCatalog(str(catalog_path))
    defined = {i.id.value: i for i in catalog.instruments(instrument_ids=list(instrument_ids))}
    settlements: dict[str, list[Settlement]] = {}
    coverage = []
    for instrument_id in instrument_ids:
        named = isinstance(setting, list) and instrument_id in setting
        if not isinstance(defined.get(instrument_id), CryptoPerpetual):
            if named:
                raise MarketDataError(
                    f"funding: {instrument_id} is no perpetual and pays none; leave it out of the list"
                )
            continue
        if setting is False or (isinstance(setting, list) and not named):
            coverage.append(FundingCoverage(instrument_id=instrument_id, source="off"))
            continue
        source, times, rates = _rates(catalog, defined[instrument_id], start_ns, end_ns)
        if source == "none":
            if setting != "stored":
                raise MarketDataError(
                    f"funding: {catalog_path} holds no funding rates of {instrument_id}; import them "
                    "(apex data import freqtrade-funding, see docs/external-features.md), or leave the "
                    "instrument out"
                )
            coverage.append(FundingCoverage(instrument_id=instrument_id, source=source))
            continue
        inside = (times > start_ns) & (times <= end_ns)
        found = [
            Settlement(ts_ns, rate)
            for ts_ns, rate in zip(times[inside].tolist(), rates[inside].tolist(), strict=True)
        ]
        settlements[instrument_id] = _with_marks(catalog, instrument_id, found)
        coverage.append(
            FundingCoverage(
                instrument_id=instrument_id,
                source=source,
                settlements=len(found),
                gaps=tuple(funding_gaps(times, start_ns, end_ns)),
            )
        )
    return FundingPlan(settlements, coverage)


def _rates(
    catalog: ParquetDataCatalog, instrument: Instrument, start_ns: int, end_ns: int
) -> tuple[str, np.ndarray, np.ndarray]:
    """Where the rates come from, and (times of settlement, rates), times strictly increasing."""
    instrument_id = instrument.id.value
    try:
        stored = load_external(catalog.path, _FEATURE, instrument_id)
    except StoreError as error:
        raise MarketDataError(f"funding: {error}") from None
    # A series of the whole market is somebody's average: a feature, but nobody's bill.
    if stored is not None and stored.instrument_id == instrument_id:
        return "series", *_distinct(stored.published_ns // _SECOND * _SECOND, stored.value)
    # What was told up to a day before says when and at which rate the first settlement of the span was.
    updates = catalog.query(
        FundingRateUpdate,
        identifiers=[instrument_id],
        start=max(0, start_ns - _DAY_NS),
        end=end_ns,
    )
    told: dict[int, float] = {}
    for update in sorted(updates, key=lambda u: u.ts_init):
        # History says when a rate was paid, a stream when the present one will be.
        due = update.ts_event if update.next_funding_ns is None else update.next_funding_ns
        due = due // _SECOND * _SECOND
        if update.next_funding_ns is None or update.ts_init < due:
            told[due] = float(update.rate)
    if not told:
        return "none", np.empty(0, np.int64), np.empty(0)
    times = np.array(sorted(told), dtype=np.int64)
    return "updates", times, np.array([told[t] for t in times.tolist()])


def _distinct(times: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One rate a settlement: the last of those that fall into one second."""
    last = np.append(times[1:] != times[:-1], True)[: times.size]
    return times[last], rates[last]


def _with_marks(
    catalog: ParquetDataCatalog, instrument_id: str, settlements: list[Settlement]
) -> list[Settlement]:
    if not catalog.get_intervals(MarkPriceUpdate, instrument_id):
        return settlements
    marked = []
    for one in settlements:
        found = catalog.query(
            MarkPriceUpdate, identifiers=[instrument_id], start=one.ts_ns - _MARK_AGE_NS, end=one.ts_ns - 1
        )
        last = max(found, key=lambda m: m.ts_init, default=None)
        mark = None if last is None else float(last.value.as_decimal())
        marked.append(msgspec.structs.replace(one, mark=mark))
    return marked
