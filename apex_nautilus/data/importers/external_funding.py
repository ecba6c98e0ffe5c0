"""freqtrade's funding rates (feather) as the external series ``funding_rate`` of an instrument.

The pair is in the file's name: ``BTC_USDT_USDT-8h-funding_rate.feather``; the rate is in the column ``open``
and the date is the settlement, when the rate is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import feather

from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.external import write_external
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.features.external import ExternalSeries, external_spec

__all__ = ["import_freqtrade_funding"]

_NAME = re.compile(r"([A-Z0-9]+)_([A-Z0-9]+)_([A-Z0-9]+)-\d+[mhd]-funding_rate\.feather")
_FEATURE = "funding_rate"


def import_freqtrade_funding(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    *,
    instrument_id: str | None = None,
    max_bad_share: float = 0.001,
    replace: bool = False,
) -> list[ImportReport]:
    """Import files of funding rates, each whole or not at all; see the module for names and times.

    Parameters
    ----------
    instrument_id : whose rates they are; by default read off each file's name
    replace : take the place of a stored series; otherwise it is continued

    Raises
    ------
    ImportRefused
        When a name does not say the pair, a file cannot be read, or too many rows are bad.
    DataError
        When a stored series says otherwise of the same time.
    """
    named = [(Path(p), instrument_id or _instrument(Path(p).name)) for p in paths]
    return [_import(path, whose, catalog_path, max_bad_share, replace) for path, whose in named]


def _instrument(name: str) -> str:
    match = _NAME.fullmatch(name)
    if match is None or match[2] != match[3]:
        raise ImportRefused(
            f"{name}: expected BASE_QUOTE_QUOTE-TIME-funding_rate.feather; else name the instrument"
        )
    return f"{match[1]}{match[2]}-PERP.BINANCE"


def _import(
    path: Path, instrument_id: str, catalog_path: str | os.PathLike[str], max_bad_share: float, replace: bool
) -> ImportReport:
    try:
        table = feather.read_table(path, columns=["date", "open"], memory_map=False)
        table.validate(full=True)
        frame = pl.DataFrame(pl.from_arrow(table))
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise ImportRefused(
            f"{path}: cannot be read as feather with the columns date and open: {error}"
        ) from error
    if not isinstance(frame.schema["date"], pl.Datetime) or not frame.schema["open"].is_numeric():
        raise ImportRefused(f"{path}: columns date and open must be times and numbers, got {frame.schema}")
    spec = external_spec(_FEATURE)
    rows = RowLedger(max_bad_share)
    rows.place, rows.rows = path.name, frame.height
    times = frame["date"].dt.epoch("ns").fill_null(-1).to_numpy()
    values = frame["open"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    newest = np.maximum.accumulate(np.concatenate([[-1], times[:-1]])) if frame.height else times
    keep = np.ones(frame.height, dtype=bool)
    for reason, bad in (
        ("bad_value", ~(np.isfinite(values) & (values >= spec.low) & (values <= spec.high)) | (times < 0)),
        ("duplicate", times == newest),
        ("time_backwards", times < newest),
    ):
        bad &= keep
        if bad.any():
            first = int(np.argmax(bad))
            rows.line = first + 1
            rows.refuse(reason, f"rate {values[first]!r} of {frame['date'][first]}", int(bad.sum()))
            keep &= ~bad
    rows.check()
    if not keep.any():
        raise ImportRefused(f"{path}: holds no funding rate")
    rows.keep(_FEATURE, int(keep.sum()))
    series = ExternalSeries(_FEATURE, times[keep], values[keep])
    file = write_external(catalog_path, series, instrument_id, replace=replace)
    report = rows.report(
        source="freqtrade-funding",
        instrument_id=instrument_id,
        paths=[path.name],
        first_ns=int(series.published_ns[0]),
        last_ns=int(series.published_ns[-1]),
        written={_FEATURE: len(series)},
        files=[str(file.relative_to(catalog_path))],
    )
    keep_report(catalog_path, report)
    return report


register(
    Importer(
        kind="freqtrade-funding",
        help="""freqtrade's funding rates (feather).

    The pair is read from each file's name: BTC_USDT_USDT-8h-funding_rate.feather.
    """,
        function=import_freqtrade_funding,
    )
)
