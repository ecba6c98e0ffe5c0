"""Bybit's public trade archives: a csv.gz a day or month, of a perpetual or a spot pair.

A perpetual's columns are timestamp (seconds with decimals), symbol, side, size, price, tickDirection,
trdMatchID and more; a spot pair's are id, timestamp (milliseconds), price, volume, side, and its id counts
from 1 in every file. `side` is the taker's. There is no time of receipt: the trade's own stands for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers._table import columns_of, read_table
from apex_nautilus.data.importers._trade_table import TradeColumns, import_trades, survey_decimals
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.bybit import bybit_id, bybit_instrument, infer_bybit, parse_bybit_id

__all__ = ["import_bybit_trades"]

_LINEAR = TradeColumns("timestamp", "price", "size", "side", "trdMatchID", symbol="symbol", unit="s")
_SPOT = TradeColumns("timestamp", "price", "volume", "side", "id", unit="ms")


def _columns(path: Path) -> TradeColumns:
    header = columns_of(path)
    for known in (_LINEAR, _SPOT):
        if set(known.names()) <= set(header):
            return known
    raise ImportRefused(
        f"{path}: not a trade archive of Bybit: its columns are {','.join(header)[:200]}; "
        f"expected {','.join(_LINEAR.names())} (perpetual) or {','.join(_SPOT.names())} (spot)"
    )


def _named(path: Path, columns: TradeColumns) -> str:
    """Return the instrument id that a file's content, or else its name, stands for."""
    if columns.symbol is not None:
        for frame in read_table(path, [columns.symbol], RowLedger(1.0), allow_truncated=True):
            cells = frame[columns.symbol].drop_nulls()
            if len(cells):
                return bybit_id(str(cells[0]), "linear")
        raise ImportRefused(f"{path}: holds no trade")
    match = re.match(r"([A-Z0-9]+)[-_]\d{4}-\d{2}", path.name)
    if match is None:
        raise ImportRefused(
            f"{path}: a spot archive does not name its symbol; call it SYMBOL_2025-01-01.csv.gz as the venue "
            "does, or say --instrument SYMBOL-SPOT.BYBIT"
        )
    return bybit_id(match[1], "spot")


def import_bybit_trades(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None = None,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
) -> ImportReport:
    """Import Bybit trade archives of one symbol; all of them, or nothing.

    Parameters
    ----------
    paths : files, in any order; those that overlap give each trade once.
    instrument_id : ``BTCUSDT-LINEAR.BYBIT`` or ``BTCUSDT-SPOT.BYBIT``; by default what the files say.
    max_bad_share, allow_truncated, replace : as in `import_bybit_capture`.

    Raises
    ------
    ImportRefused
        When the files are of several instruments or none, damaged, or too many rows are bad.
    DataError
        When the catalog holds other data over the span.
    """
    if not paths:
        raise ImportRefused("no files were named")
    files = [Path(p) for p in paths]
    columns = {p: _columns(p) for p in files}
    wanted = instrument_id or _named(files[0], columns[files[0]])
    symbol, category = parse_bybit_id(wanted)
    for path, found in columns.items():
        market = "linear" if found is _LINEAR else "spot"
        if market != category:
            raise ImportRefused(f"{path}: is a {market} archive, not one of {wanted}")
    spec = bybit_instrument(wanted)
    if inferred := spec is None:
        # Both decimals come from the whole of the files: a coarser step would refuse the first finer price.
        kind = columns[files[0]]
        spec = infer_bybit(wanted, *survey_decimals(files, [kind.price], kind.size, allow_truncated))
    return import_trades(
        files,
        catalog_path,
        spec,
        columns.__getitem__,
        symbol=symbol,
        source="bybit-trades",
        max_bad_share=max_bad_share,
        allow_truncated=allow_truncated,
        replace=replace,
        inferred=inferred,
    )


register(
    Importer(
        kind="bybit-trades",
        help="""Bybit's public trade archives (csv.gz) of one symbol.

    PATHS may come in any order: BTCUSDT2025-01-01.csv.gz of a perpetual, BTCUSDT_2025-01-01.csv.gz of a
    spot pair. Which market it is, the columns tell.
    """,
        function=import_bybit_trades,
        instrument="optional",
        allow_truncated=True,
    )
)
