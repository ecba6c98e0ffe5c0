"""What a Nautilus ParquetDataCatalog holds: its data files with their spans, and its instruments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from nautilus_trader.core.datetime import unix_nanos_to_iso8601
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.nautilus_tables import from_nautilus_instrument
from apex_nautilus.risk import InstrumentSpec

__all__ = [
    "BARS_FOLDER",
    "DELTAS",
    "QUOTES",
    "TRADES",
    "bar_types",
    "check_path",
    "data_files",
    "file_span",
    "file_time",
    "folder_name",
    "instrument_ids",
    "load_instrument",
    "readable",
    "settle_instrument",
]

DELTAS, TRADES, BARS_FOLDER, QUOTES = "order_book_deltas", "trade_tick", "bar", "quote_tick"
"""Folders of the kinds of data, as Nautilus names them."""


def data_files(
    catalog_path: str | os.PathLike[str], folder: str, identifier: str
) -> list[tuple[Path, int, int]]:
    """Return the files of one kind (`order_book_deltas`, `trade_tick`, `bar`) and identifier as (path,
    first, last), in order of time.

    Raises
    ------
    DataError
        When two of them overlap: a replacement was interrupted, or someone copied files together.
    """
    directory = Path(catalog_path) / "data" / folder / folder_name(identifier)
    files = sorted(((p, *file_span(p)) for p in directory.glob("*.parquet")), key=lambda f: f[1])
    for (earlier, _, end), (later, begin, _) in pairwise(files):
        if begin <= end:
            raise DataError(
                f"{directory}: {earlier.name} and {later.name} overlap in time; finish the import that was "
                "interrupted (run it again), or remove one of them"
            )
    return files


def instrument_ids(catalog_path: str | os.PathLike[str]) -> list[str]:
    """Return the ids of the instruments that the catalog defines, sorted."""
    return sorted(_definitions(catalog_path))


def bar_types(catalog_path: str | os.PathLike[str], instrument_id: str) -> list[str]:
    """Return the bar types stored for an instrument, sorted."""
    directory = Path(catalog_path) / "data" / BARS_FOLDER
    prefix = f"{folder_name(instrument_id)}-"
    if not directory.is_dir():
        return []
    lengths = (p.name[len(prefix) :] for p in directory.iterdir() if p.name.startswith(prefix))
    return sorted(f"{instrument_id}-{name}" for name in lengths if name.split("-")[0].isdigit())


def load_instrument(catalog_path: str | os.PathLike[str], instrument_id: str) -> InstrumentSpec:
    """Return the definition of one instrument, the newest where the catalog holds several.

    Raises
    ------
    DataError
        When the catalog does not define it; the message lists those it does.
    """
    known = _definitions(catalog_path)
    if instrument_id not in known:
        raise DataError(
            f"{catalog_path}: no instrument {instrument_id!r}; "
            f"the catalog defines {', '.join(sorted(known)) or 'none'}"
        )
    return from_nautilus_instrument(known[instrument_id])


def settle_instrument(
    catalog_path: str | os.PathLike[str], wanted: InstrumentSpec
) -> tuple[InstrumentSpec, bool]:
    """Return the definition to write new data with, and whether it is another than `wanted`.

    One definition serves all the data of an instrument, and what is stored must stay readable: the definition
    in the catalog stays when it has the decimals the new data need; otherwise `wanted` takes its place,
    with as many decimals as either has.
    """
    if not (Path(catalog_path) / "data").is_dir() or wanted.id not in instrument_ids(catalog_path):
        return wanted, False
    stored = load_instrument(catalog_path, wanted.id)
    price = max(stored.price_precision, wanted.price_precision)
    size = max(stored.size_precision, wanted.size_precision)
    if (price, size) == (stored.price_precision, stored.size_precision):
        return stored, stored != wanted
    settled = msgspec.structs.replace(wanted, price_precision=price, size_precision=size)
    return settled, settled != wanted


def folder_name(identifier: str) -> str:
    """The folder of an instrument or a bar type, as Nautilus names it."""
    return identifier.replace("/", "")


def file_time(ns: int) -> str:
    return unix_nanos_to_iso8601(ns).replace(":", "-").replace(".", "-")


def file_span(path: Path) -> tuple[int, int]:
    """Return (first, last) ts_init of a data file, from its name."""
    try:
        first, last = (_parse_file_time(part) for part in path.stem.split("_"))
    except ValueError as e:
        raise DataError(
            f"{path}: the name is not <first>_<last>.parquet as Nautilus writes it; remove the file"
        ) from e
    return first, last


def _parse_file_time(text: str) -> int:
    day, _, clock = text.removesuffix("Z").partition("T")
    hour, minute, second, nanos = clock.split("-")
    seconds = np.datetime64(f"{day}T{hour}:{minute}:{second}", "s").astype(np.int64)
    return int(seconds) * 1_000_000_000 + int(nanos)


def check_path(catalog_path: str | os.PathLike[str]) -> None:
    if set("*?[]") & set(str(Path(catalog_path).absolute())):
        raise DataError(
            f"{catalog_path}: Nautilus takes *, ?, [ and ] in a catalog's path for a pattern and would find "
            "nothing; choose a folder without them"
        )


@contextmanager
def readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell a damaged file by name, whatever reading it raised."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise DataError(f"{path}: cannot be read: {e.strerror}") from e
        raise DataError(f"{path}: damaged, or not as Nautilus writes it: {e}; import it again") from e
    except DataError as e:
        raise DataError(f"{path}: {e}") from e


def _definitions(catalog_path: str | os.PathLike[str]) -> dict[str, Instrument]:
    """Every instrument that the catalog defines; of several definitions of one the newest."""
    check_path(catalog_path)
    if not (Path(catalog_path) / "data").is_dir():
        raise DataError(
            f"{catalog_path}: not a market catalog (it has no `data` folder); import something first"
        )
    with readable(f"{catalog_path}: an instrument"):
        instruments = ParquetDataCatalog(str(catalog_path)).instruments()
    return {i.id.value: i for i in sorted(instruments, key=lambda i: i.ts_init)}
