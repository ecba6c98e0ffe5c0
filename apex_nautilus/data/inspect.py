"""What a catalog holds, and whether it can be trusted.

Everything is read once, a chunk at a time. A file that is damaged, or overlaps another, is named in the
summary and the rest is read all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apex_nautilus.data.catalog import bar_types, file_span, instrument_ids, load_instrument
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.external import read_external
from apex_nautilus.data.importers.reports_kept import kept_reports
from apex_nautilus.data.inspect_bars import inspect_bars
from apex_nautilus.data.inspect_files import (
    StoredFile,
    read_damaged,
    read_damaged_events,
    stored_files,
)
from apex_nautilus.data.inspect_quotes import inspect_quotes
from apex_nautilus.data.inspect_report import (
    BarsSummary,
    CatalogSummary,
    ExternalSummary,
    OtherSummary,
    Problem,
    QuotesSummary,
    StreamSummary,
)
from apex_nautilus.data.inspect_stream import LongestGaps, inspect_stream
from apex_nautilus.features import FeatureError, scale
from apex_nautilus.store.external import external_file, list_external

__all__ = ["BarsSummary", "CatalogSummary", "QuotesSummary", "StreamSummary", "inspect_catalog"]

Progress = Callable[[int, int], None]

_READ = ("order_book_deltas", "trade_tick", "quote_tick", "bar")
_DEFINITIONS = ("crypto_perpetual", "currency_pair", "instruments")


def inspect_catalog(
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None = None,
    *,
    gap_s: float = 5.0,
    timeline: bool = False,
    progress: Progress | None = None,
) -> CatalogSummary:
    """Read a catalog through and sum it up.

    Parameters
    ----------
    instrument_id : one instrument, all when left out.
    gap_s : silence that counts as a gap, seconds.
    timeline : whether the summaries hold what the pictures are drawn from.
    progress : called with the rows read so far and their total.

    Raises
    ------
    DataError
        When there is no catalog, or it does not define the instrument.
    """
    if not gap_s > 0:
        raise DataError(f"gap_s must be positive, got {gap_s!r}")
    if instrument_id is not None:
        load_instrument(catalog_path, instrument_id)
    ids = [instrument_id] if instrument_id is not None else instrument_ids(catalog_path)
    summary = CatalogSummary(streams=[], bars=[], quotes=[], external=[], other=[], problems=[])
    problems = summary.problems
    events = {
        name: {
            folder: stored_files(catalog_path, folder, name, problems)
            for folder in ("trade_tick", "order_book_deltas")
        }
        for name in ids
    }
    bars = {
        (name, bar_type): stored_files(catalog_path, "bar", bar_type, problems)
        for name in ids
        for bar_type in bar_types(catalog_path, name)
    }
    quotes = {name: stored_files(catalog_path, "quote_tick", name, problems) for name in ids}
    total = sum(f[3] for folders in events.values() for files in folders.values() for f in files)
    total += sum(f[3] for found in (bars, quotes) for files in found.values() for f in files)
    counter = _Counter(total, progress)
    for name, folders in events.items():
        files = [f for found in folders.values() for f in found]
        if not files:
            continue
        spec = load_instrument(catalog_path, name)
        stream = inspect_stream(
            spec,
            counter.passing(read_damaged_events(folders, spec, problems)),
            _span_of(files),
            gap_s=gap_s,
            refused=_refused(catalog_path, name, problems),
            timeline=timeline,
        )
        if stream is not None:
            summary.streams.append(stream)
    for (name, bar_type), files in bars.items():
        if files:
            spec = load_instrument(catalog_path, name)
            chunks = counter.passing(read_damaged(files, spec, "bar", problems))
            units = scale(spec.price_precision)
            summary.bars.append(
                inspect_bars(bar_type, chunks, _span_of(files), timeline=timeline, price_units=units)
            )
    for name, files in quotes.items():
        if files:
            spec = load_instrument(catalog_path, name)
            chunks = counter.passing(read_damaged(files, spec, "quote_tick", problems))
            found = inspect_quotes(spec, chunks, _span_of(files), gap_s=gap_s, timeline=timeline)
            if found is not None:
                summary.quotes.append(found)
    summary.external = list(_external(catalog_path, instrument_id, problems))
    summary.other = _other(catalog_path, instrument_id, problems)
    return summary


class _Counter:
    def __init__(self, total: int, progress: Progress | None):
        self._total, self._progress, self._done = total, progress, 0

    def passing(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The chunks, counted as they pass."""
        for chunk in chunks:
            yield chunk
            self._done += chunk.size
            if self._progress is not None:
                self._progress(self._done, self._total)


def _span_of(files: list[StoredFile]) -> tuple[int, int]:
    return min(f[1] for f in files), max(f[2] for f in files)


def _refused(
    catalog_path: str | os.PathLike[str], instrument_id: str, problems: list[Problem]
) -> dict[str, int]:
    refused: dict[str, int] = {}
    try:
        for report in kept_reports(catalog_path, instrument_id):
            for reason, n in report.refused.items():
                refused[reason] = refused.get(reason, 0) + n
    except DataError as e:
        problems.append(Problem(f"imports of {instrument_id}", str(e)))
    return refused


def _external(
    catalog_path: str | os.PathLike[str], wanted: str | None, problems: list[Problem]
) -> Iterator[ExternalSummary]:
    for name, instrument_id in list_external(catalog_path):
        if wanted is not None and instrument_id not in (None, wanted):
            continue
        try:
            series = read_external(catalog_path, name, instrument_id)
        except (DataError, FeatureError) as e:
            problems.append(Problem(str(external_file(catalog_path, name, instrument_id)), str(e)))
            continue
        times = series.published_ns
        gaps = LongestGaps(0.0)
        gaps.add(times)
        yield ExternalSummary(
            name=name,
            instrument_id=instrument_id,
            span_ns=(int(times[0]), int(times[-1])) if len(series) else (0, 0),
            values=len(series),
            longest_gaps=gaps.longest,
            stale=int((np.diff(times) > series.age_limit_ns).sum()),
            stale_after_s=series.age_limit_ns / 1e9,
        )


def _other(
    catalog_path: str | os.PathLike[str], wanted: str | None, problems: list[Problem]
) -> list[OtherSummary]:
    """What lies in the catalog's other folders, by the names and the footers of the files."""
    found = []
    for kind in sorted(p for p in (Path(catalog_path) / "data").iterdir() if p.is_dir()):
        if kind.name in _READ or kind.name in _DEFINITIONS:
            continue
        for folder in sorted({path.parent for path in kind.rglob("*.parquet")}):
            identifier = str(folder.relative_to(kind)) if folder != kind else ""
            if wanted is not None and wanted.replace("/", "") not in identifier:
                continue
            rows, spans = 0, []
            for path in sorted(folder.glob("*.parquet")):
                try:
                    rows += pq.read_metadata(path).num_rows
                    spans.append(file_span(path))
                except (DataError, pa.ArrowException, OSError) as e:
                    problems.append(Problem(str(path), str(e).removeprefix(f"{path}: ")))
            if spans:
                found.append(
                    OtherSummary(
                        kind=kind.name,
                        identifier=identifier,
                        files=len(spans),
                        rows=rows,
                        span_ns=(min(s[0] for s in spans), max(s[1] for s in spans)),
                    )
                )
    return found
