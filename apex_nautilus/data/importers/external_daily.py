"""Daily factors (CSV with ``date`` and a column of those below) as external series of the market.

| column | feature |
|---|---|
| fng | fear_greed |
| funding_mean | funding_daily_mean |
| vix | vix |
| dxy | dxy |

A day's value is known when the day is over, and some time later: the value of day D is published at D+1,
00:00 UTC, plus a delay.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.external import write_external
from apex_nautilus.data.importers.registry import Importer, ImporterOption, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.importers.reports_kept import keep_report
from apex_nautilus.features.external import ExternalSeries, external_spec

__all__ = ["DAILY_COLUMNS", "import_daily_factors"]

DAILY_COLUMNS = {"fng": "fear_greed", "funding_mean": "funding_daily_mean", "vix": "vix", "dxy": "dxy"}
"""Columns that are read, and the feature that each is of."""

_DAY_NS = 86_400_000_000_000
_MARKET = "MARKET"


def import_daily_factors(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    *,
    delay_minutes: float = 60.0,
    max_bad_share: float = 0.001,
    replace: bool = False,
) -> list[ImportReport]:
    """Import files of daily factors, each whole or not at all; see the module for columns and times.

    Parameters
    ----------
    delay_minutes : how long after the end of its day a value can be known, at least 0
    replace : take the place of a stored series; otherwise it is continued

    Raises
    ------
    ImportRefused
        When a file cannot be read, has none of the columns, or too many bad rows.
    DataError
        When a stored series says otherwise of the same time.
    """
    if not (0.0 <= delay_minutes < math.inf):
        raise ImportRefused(f"delay_minutes must be finite and not negative, got {delay_minutes!r}")
    delay_ns = round(delay_minutes * 60e9)
    return [_import(Path(p), catalog_path, delay_ns, max_bad_share, replace) for p in paths]


def _import(
    path: Path, catalog_path: str | os.PathLike[str], delay_ns: int, bad: float, replace: bool
) -> ImportReport:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or [])
            table = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImportRefused(f"{path}: cannot be read as CSV: {error}") from error
    columns = [c for c in header if c in DAILY_COLUMNS]
    if "date" not in header or not columns:
        raise ImportRefused(
            f"{path}: needs the column date and one of {', '.join(DAILY_COLUMNS)}, has "
            f"{', '.join(header) or 'none'}"
        )
    rows = RowLedger(bad)
    rows.place, rows.rows = path.name, len(table)
    found: dict[str, dict[int, float]] = {c: {} for c in columns}
    newest = -1
    for line, row in enumerate(table, start=2):
        rows.line = line
        try:
            day = date.fromisoformat(row["date"] or "")
        except ValueError:
            rows.refuse("bad_date", f"{row['date']!r} is not a day")
            continue
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000
        if start <= newest:
            rows.refuse("duplicate" if start == newest else "time_backwards", f"day {day}")
            continue
        newest = start
        for column in columns:
            _take(column, row[column], found[column], start + _DAY_NS + delay_ns, rows)
    rows.check()
    files, times = [], []
    for column, values in found.items():
        if values:
            series = ExternalSeries(DAILY_COLUMNS[column], list(values), list(values.values()))
            files.append(write_external(catalog_path, series, replace=replace))
            times += [min(values), max(values)]
    if not files:
        raise ImportRefused(f"{path}: holds no value of {', '.join(columns)}")
    report = rows.report(
        source=f"daily-factors-{'-'.join(columns)}",
        instrument_id=_MARKET,
        paths=[path.name],
        first_ns=min(times),
        last_ns=max(times),
        written={DAILY_COLUMNS[c]: len(v) for c, v in found.items()},
        files=[str(f.relative_to(catalog_path)) for f in files],
    )
    keep_report(catalog_path, report)
    return report


def _take(column: str, text: str | None, values: dict[int, float], known_ns: int, rows: RowLedger) -> None:
    spec = external_spec(DAILY_COLUMNS[column])
    if not (text or "").strip():
        rows.note(f"no_value:{column}")
        return
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and spec.low <= value <= spec.high):
        rows.refuse("bad_value", f"{column} {text!r} is no number in [{spec.low:g}, {spec.high:g}]")
        return
    rows.keep(spec.name)
    values[known_ns] = value


register(
    Importer(
        kind="daily-factors",
        help="""Daily factors (CSV): fear and greed, mean funding, VIX, DXY.

    A date column and one named fng, funding_mean, vix or dxy. The value of a day counts from the
    next midnight (UTC) on, and the delay.
    """,
        function=import_daily_factors,
        instrument="never",
        options=(
            ImporterOption(
                "delay_minutes", "Minutes after a day's end until its value is known.", float, 60.0
            ),
        ),
    )
)
