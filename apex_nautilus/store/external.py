"""Series that were published from outside, one Parquet file each, under ``external/`` of a market catalog.

A series belongs to the whole market (``external/fear_greed.parquet``) or to one instrument
(``external/funding_rate@BTCUSDT-PERP.BINANCE.parquet``). Columns: ``published_ns`` int64, strictly
increasing, and ``value`` float64; the file's metadata hold the name, the instrument and the age limit. What
the names mean is not known here.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from apex_nautilus.store.atomic import write_atomic
from apex_nautilus.store.errors import StoreError
from apex_nautilus.store.layout import CatalogLayout, check_name

__all__ = ["StoredSeries", "external_file", "list_external", "load_external", "store_external"]

_SCHEMA = "apex.external/1"
_COLUMNS = pa.schema(
    [pa.field("published_ns", pa.int64(), nullable=False), pa.field("value", pa.float64(), nullable=False)]
)


class StoredSeries(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    name : str
    instrument_id : str or None
        None where it speaks of the whole market.
    published_ns : (N,) int64
    value : (N,) float64
    stale_after_ns : int or None
    """

    name: str
    instrument_id: str | None
    published_ns: np.ndarray
    value: np.ndarray
    stale_after_ns: int | None


def external_file(catalog_path: str | os.PathLike[str], name: str, instrument_id: str | None = None) -> Path:
    """The file of a series.

    Raises
    ------
    StoreError
        When the name or the instrument id cannot be part of a file name.
    """
    stem = check_name(name, "external series")
    if instrument_id is not None:
        stem += f"@{CatalogLayout.folder_name(instrument_id)}"
    return Path(catalog_path) / "external" / f"{stem}.parquet"


def store_external(catalog_path: str | os.PathLike[str], series: StoredSeries) -> Path:
    """Write a series in place of the stored one, whole or not at all; return its file.

    Raises
    ------
    StoreError
        When its name cannot name a file.
    OSError
        When the folder cannot be written.
    """
    path = external_file(catalog_path, series.name, series.instrument_id)
    metadata = {"schema": _SCHEMA, "name": series.name}
    if series.instrument_id is not None:
        metadata["instrument_id"] = series.instrument_id
    if series.stale_after_ns is not None:
        metadata["stale_after_ns"] = str(series.stale_after_ns)
    table = pa.table(
        [
            np.ascontiguousarray(series.published_ns, dtype=np.int64),
            np.asarray(series.value, dtype=np.float64),
        ],
        schema=_COLUMNS.with_metadata(metadata),
    )
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, sink.getvalue())
    return path


def load_external(
    catalog_path: str | os.PathLike[str], name: str, instrument_id: str | None = None
) -> StoredSeries | None:
    """Return the series of an instrument, or the market's where the instrument has none of its own.

    Returns
    -------
    StoredSeries or None
        None when neither is stored.

    Raises
    ------
    StoreError
        When the file is damaged or not of this format.
    """
    if instrument_id is not None:
        path = external_file(catalog_path, name, instrument_id)
        if path.exists():
            return _read(path, name, instrument_id)
    path = external_file(catalog_path, name)
    return _read(path, name, None) if path.exists() else None


def list_external(catalog_path: str | os.PathLike[str]) -> list[tuple[str, str | None]]:
    """Return (name, instrument id or None) of every stored series, sorted."""
    found = []
    for path in (Path(catalog_path) / "external").glob("*.parquet"):
        if path.name.startswith("."):
            continue
        name, at, instrument = path.name.removesuffix(".parquet").partition("@")
        found.append((name, unquote(instrument) if at else None))
    return sorted(found, key=lambda pair: (pair[0], pair[1] or ""))


def _read(path: Path, name: str, instrument_id: str | None) -> StoredSeries:
    try:
        table = parquet.ParquetFile(io.BytesIO(path.read_bytes())).read()
        table.validate(full=True)
    except pa.ArrowException as error:
        raise StoreError(
            f"{path}: cannot be read as Parquet ({error}); remove it and import it again"
        ) from None
    metadata = {
        k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items() if k != b"ARROW:schema"
    }
    told = (metadata.get("schema"), metadata.get("name"), metadata.get("instrument_id"))
    if told != (_SCHEMA, name, instrument_id) or table.schema.remove_metadata() != _COLUMNS:
        raise StoreError(
            f"{path}: expected {_SCHEMA} of {name!r} for {instrument_id or 'the market'} with the columns "
            f"published_ns and value, found {told[0]!r} of {told[1]!r} for {told[2] or 'the market'} with "
            f"{', '.join(table.schema.names)}; remove it and import it again"
        )
    limit = metadata.get("stale_after_ns")
    if limit is not None and not limit.isdigit():
        raise StoreError(f"{path}: metadata stale_after_ns: {limit!r} is not a whole number; import it again")
    return StoredSeries(
        name,
        instrument_id,
        table["published_ns"].to_numpy(),
        table["value"].to_numpy(),
        int(limit) if limit is not None else None,
    )
