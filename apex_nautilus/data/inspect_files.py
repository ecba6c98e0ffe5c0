"""Reading a catalog that may be damaged: what can be read is, what cannot is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apex_nautilus.data.catalog import file_span, folder_name, readable
from apex_nautilus.data.catalog_reader import merge_streams
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.inspect_report import Problem
from apex_nautilus.data.nautilus_tables import (
    table_to_bars,
    table_to_deltas,
    table_to_quotes,
    table_to_trades,
)
from apex_nautilus.risk import InstrumentSpec

__all__ = ["CHUNK_ROWS", "StoredFile", "read_damaged", "read_damaged_events", "stored_files"]

CHUNK_ROWS = 100_000

#: (path, first, last, rows)
StoredFile = tuple[Path, int, int, int]

_CONVERT: dict[str, Callable[[pa.Table, InstrumentSpec], np.ndarray]] = {
    "order_book_deltas": table_to_deltas,
    "trade_tick": table_to_trades,
    "quote_tick": table_to_quotes,
    "bar": table_to_bars,
}


def stored_files(
    catalog_path: str | os.PathLike[str], folder: str, identifier: str, problems: list[Problem]
) -> list[StoredFile]:
    """Return the files that can be opened and do not overlap, in order of time; the others are added to
    `problems`. Of two that overlap the earlier one is kept."""
    directory = Path(catalog_path) / "data" / folder / folder_name(identifier)
    found = []
    for path in sorted(directory.glob("*.parquet")):
        try:
            first, last = file_span(path)
            with readable(path):
                found.append((path, first, last, pq.read_metadata(path).num_rows))
        except DataError as e:
            problems.append(Problem(str(path), _without(path, e)))
    kept: list[StoredFile] = []
    for file in sorted(found, key=lambda f: (f[1], f[2])):
        if kept and file[1] <= kept[-1][2]:
            problems.append(
                Problem(
                    str(file[0]), f"overlaps {kept[-1][0].name} in time and is left out; remove one of them"
                )
            )
        else:
            kept.append(file)
    return kept


def read_damaged(
    files: list[StoredFile], spec: InstrumentSpec, folder: str, problems: list[Problem]
) -> Iterator[np.ndarray]:
    """Yield the records of files chunk by chunk; what follows a damage within a file is given up and the
    file added to `problems`."""
    time_field = "ts_ns" if folder == "bar" else "ts_init_ns"
    newest = np.iinfo(np.int64).min
    for path, *_ in files:
        try:
            with readable(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                    records = _CONVERT[folder](pa.Table.from_batches([batch]), spec)
                    if records.size == 0:
                        continue
                    times = records[time_field]
                    if folder != "bar" and (times[0] < newest or (np.diff(times) < 0).any()):
                        raise DataError("the receive times go back; import it again")
                    newest = int(times[-1])
                    yield records
        except DataError as e:
            problems.append(Problem(str(path), _without(path, e)))


def read_damaged_events(
    files: dict[str, list[StoredFile]], spec: InstrumentSpec, problems: list[Problem]
) -> Iterator[np.ndarray]:
    """Yield market events of several folders, merged in order of time."""
    yield from merge_streams([read_damaged(found, spec, folder, problems) for folder, found in files.items()])


def _without(path: Path, error: DataError) -> str:
    """What an error says, without the file that it begins with."""
    return str(error).removeprefix(f"{path}: ")
