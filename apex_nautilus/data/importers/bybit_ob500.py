"""Bybit's order book archives: a zip a day, one message of the orderbook topic a line (ob500, spot's ob200).

They hold no time of receipt: `ts`, when the venue put the message together, stands for it, and `cts`, the
matching engine's time, is the time of the event.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._book import Refused
from apex_nautilus.data.importers._bybit_stream import (
    BookMessage,
    BybitStream,
    DecimalsSeen,
    Message,
    decode,
    topic_of,
)
from apex_nautilus.data.importers._lines import lines
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.bybit import bybit_instrument, infer_bybit, parse_bybit_id
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_bybit_ob500"]

_CHUNK_EVENTS = 100_000
_MS = 1_000_000
_SAMPLED = 2_000  # messages that tell whether the table's steps are those of the archive's time


def _books(
    path: Path, symbol: str, rows: RowLedger, allow_truncated: bool
) -> Iterator[tuple[Message, BookMessage]]:
    for raw in lines(path, rows, allow_truncated=allow_truncated):
        rows.rows += 1
        try:
            message, data = decode(raw)
            if not isinstance(data, BookMessage):
                raise Refused("bad_json", f"topic {message.topic[:40]!r} is no order book")
            if data.s != symbol or topic_of(message.topic)[2] != symbol:
                raise Refused("wrong_symbol", f"{data.s[:40]}, not {symbol}")
        except Refused as e:
            rows.refuse(e.reason, e.detail)
            continue
        yield message, data


def _fits(known: InstrumentSpec | None, seen: DecimalsSeen) -> bool:
    return known is not None and known.price_precision >= seen.price and known.size_precision >= seen.size


def _specification(
    files: list[Path], instrument_id: str, symbol: str, allow_truncated: bool
) -> tuple[InstrumentSpec, int, bool]:
    """Return the instrument, the depth of the archive, and whether its steps were read off the data."""
    known = bybit_instrument(instrument_id)
    seen, depth = DecimalsSeen(), 0
    every = (m for path in files for m in _books(path, symbol, RowLedger(1.0), allow_truncated))
    for count, (message, data) in enumerate(every, 1):
        depth = depth or topic_of(message.topic)[1]
        for level in data.b + data.a:
            seen.see(*level)
        if count == _SAMPLED and _fits(known, seen):
            break
    if not depth:
        raise ImportRefused(f"{', '.join(p.name for p in files)}: holds no order book of {symbol}")
    if known is not None and _fits(known, seen):
        return known, depth, False
    return infer_bybit(instrument_id, seen.price, seen.size), depth, True


def import_bybit_ob500(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
) -> ImportReport:
    """Import Bybit order book archives of one symbol; all of them, or nothing.

    Parameters
    ----------
    paths : files that follow one another in time (zip, gzip, zstd or text).
    instrument_id : ``BTCUSDT-LINEAR.BYBIT`` or ``BTCUSDT-SPOT.BYBIT``; the files do not tell which.
    max_bad_share, allow_truncated, replace : as in `import_bybit_capture`.

    Raises
    ------
    ImportRefused
        When there is nothing to import, a file is damaged, or too many rows are bad.
    DataError
        When the catalog holds other data over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    symbol, _ = parse_bybit_id(instrument_id)
    files = [Path(p) for p in paths]
    wanted, depth, inferred = _specification(files, instrument_id, symbol, allow_truncated)
    spec, differs = settle_instrument(catalog_path, wanted)
    rows = RowLedger(max_bad_share)
    rows.note("instrument_inferred", inferred)
    rows.note("instrument_of_catalog", differs)
    stream = BybitStream(spec, rows, depth)
    names = [p.name for p in files]

    def chunks() -> Iterator[np.ndarray]:
        for path in files:
            for message, data in _books(path, symbol, rows, allow_truncated):
                stream.take(message, data, (message.ts or message.cts) * _MS)
                if stream.builder.size >= _CHUNK_EVENTS:
                    yield stream.builder.take()
        yield stream.builder.take()

    def report() -> ImportReport:
        rows.check()
        if not rows.kept.get("snapshot"):
            raise ImportRefused(
                f"{', '.join(names)}: no snapshot in {rows.rows} rows: no book can be built. "
                "Put the file that begins with one first"
            )
        return stream.builder.report("bybit-ob500", names)

    return publish(catalog_path, spec, chunks(), report, replace=replace)


register(
    Importer(
        kind="bybit-ob500",
        help="""Bybit's order book archives (ob500, ob200).

    PATHS follow one another in time, as the venue names them: 2025-01-01_BTCUSDT_ob500.data.zip. The
    files do not tell linear from spot: --instrument BTCUSDT-LINEAR.BYBIT or BTCUSDT-SPOT.BYBIT does.
    """,
        function=import_bybit_ob500,
        instrument="required",
        allow_truncated=True,
    )
)
