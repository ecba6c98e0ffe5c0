"""Binance's instruments: ids, a table of the usual ones, its exchange information, and steps read off data.

Ids are those of Nautilus's Binance adapter: ``BTCUSDT.BINANCE`` is spot, ``BTCUSDT-PERP.BINANCE`` the
USDT-margined perpetual, ``BTCUSD-PERP.BINANCE`` the coin-margined one, which the venue calls BTCUSD_PERP.

The table is Binance's exchange information and standard fee tier (no discounts) as of August 2024. Venues
change ticks and minima: where the answer of ``exchangeInfo`` of the recording's time is at hand,
`exchange_info_instrument` takes the steps and limits from it. Fees are never part of it.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.steps import NO_LARGEST_ORDER, decimals, step_decimals
from apex_nautilus.risk import InstrumentSpec

__all__ = [
    "BINANCE_COIN_PERPETUALS",
    "BINANCE_PERPETUALS",
    "BINANCE_SPOT",
    "binance_instrument",
    "exchange_info_instrument",
    "infer_instrument",
    "parse_symbol",
    "raw_symbol",
]

_Row = tuple[int, float, int, float, float, float, float]

# symbol: (price decimals, tick, size decimals, lot, smallest order, largest order, smallest notional)
BINANCE_PERPETUALS: dict[str, _Row] = {
    "BTCUSDT": (1, 0.1, 3, 0.001, 0.001, 120.0, 100.0),
    "ETHUSDT": (2, 0.01, 3, 0.001, 0.001, 2000.0, 20.0),
    "LTCUSDT": (2, 0.01, 3, 0.001, 0.001, 5000.0, 20.0),
    "SOLUSDT": (3, 0.001, 0, 1.0, 1.0, 5000.0, 5.0),
}
BINANCE_COIN_PERPETUALS: dict[str, _Row] = {  # sizes are contracts
    "BTCUSD": (1, 0.1, 0, 1.0, 1.0, 60000.0, 0.0),
    "ETHUSD": (2, 0.01, 0, 1.0, 1.0, 600000.0, 0.0),
}
BINANCE_SPOT: dict[str, _Row] = {
    # Sizes have eight decimals: books still hold orders older than today's lot.
    "BTCUSDT": (2, 0.01, 8, 0.00001, 0.00001, 9000.0, 5.0),
    "ETHUSDT": (2, 0.01, 8, 0.0001, 0.0001, 9000.0, 5.0),
    "LTCUSDT": (2, 0.01, 8, 0.001, 0.001, 90000.0, 5.0),
    "SOLUSDT": (2, 0.01, 8, 0.001, 0.001, 90000.0, 5.0),
}
_TABLES = {
    "linear_perp": BINANCE_PERPETUALS,
    "inverse_perp": BINANCE_COIN_PERPETUALS,
    "spot": BINANCE_SPOT,
}
_FEES = {"linear_perp": (0.0002, 0.0005), "inverse_perp": (0.0002, 0.0005), "spot": (0.001, 0.001)}
_DOLLAR_COINS = ("FDUSD", "BUSD", "TUSD")
_QUOTES = ("USDT", "USDC", *_DOLLAR_COINS, "BTC", "ETH", "BNB", "EUR", "USD")
_SPOT_SIZE_DECIMALS = 8


def _is_coin_margined(symbol: str) -> bool:
    """Whether a perpetual of this symbol is margined in its coin.

    BNBUSD and DOTUSD end in BUSD and TUSD by chance: a linear symbol has more than two letters in front, as
    Nautilus's adapter has it.
    """
    if not symbol.endswith("USD"):
        return False
    return not any(symbol.endswith(q) and len(symbol) > len(q) + 2 for q in _DOLLAR_COINS)


def parse_symbol(instrument_id: str) -> tuple[str, str]:
    """Return (symbol, kind) of a Binance instrument id: ``BTCUSDT-PERP.BINANCE`` is ("BTCUSDT",
    "linear_perp"), ``BTCUSD-PERP.BINANCE`` ("BTCUSD", "inverse_perp").

    Raises
    ------
    DataError
        When the id is not ``SYMBOL-PERP.BINANCE`` or ``SYMBOL.BINANCE``; contracts with an expiry are
        refused, and so is the venue's own name of a coin-margined perpetual (the message has Nautilus's).
    """
    match = re.fullmatch(r"([A-Z0-9]+)(?:_(PERP|\d{6}))?(-PERP)?\.BINANCE", instrument_id)
    if match is None:
        raise DataError(
            f"instrument id {instrument_id!r}: expected SYMBOL-PERP.BINANCE for a perpetual or "
            f"SYMBOL.BINANCE for spot"
        )
    symbol, contract, perpetual = match.groups()
    if contract == "PERP":
        raise DataError(f"instrument id {instrument_id!r}: Nautilus calls it {symbol}-PERP.BINANCE; use that")
    if contract:
        raise DataError(
            f"instrument id {instrument_id!r}: contracts with an expiry are not supported; import the "
            f"perpetual, {symbol}-PERP.BINANCE"
        )
    if not perpetual:
        return symbol, "spot"
    return symbol, "inverse_perp" if _is_coin_margined(symbol) else "linear_perp"


def raw_symbol(instrument_id: str) -> str:
    """Return what the venue's messages call the instrument: BTCUSDT, or BTCUSD_PERP when coin-margined."""
    symbol, kind = parse_symbol(instrument_id)
    return f"{symbol}_PERP" if kind == "inverse_perp" else symbol


def _split(symbol: str) -> tuple[str, str]:
    for quote in ("USD",) if _is_coin_margined(symbol) else _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    raise DataError(f"symbol {symbol!r} does not end in a known quote currency ({', '.join(_QUOTES)})")


def _multiplier(base: str, kind: str) -> float:
    """Dollars a coin-margined contract stands for: 100 of bitcoin, 10 of every other coin."""
    return 1.0 if kind != "inverse_perp" else 100.0 if base == "BTC" else 10.0


def binance_instrument(instrument_id: str) -> InstrumentSpec:
    """Return the specification of a known Binance instrument.

    Raises
    ------
    DataError
        When the id is malformed or the symbol is not in the table.
    """
    symbol, kind = parse_symbol(instrument_id)
    table = _TABLES[kind]
    if symbol not in table:
        raise DataError(
            f"{instrument_id}: no tick and lot are known for {symbol} ({kind}); known are "
            f"{', '.join(sorted(table))}. Give the venue's exchange information, or add a line to the table "
            "in apex_nautilus/data/venues/binance.py"
        )
    price_precision, tick, size_precision, lot, min_qty, max_qty, min_notional = table[symbol]
    base, quote = _split(symbol)
    maker, taker = _FEES[kind]
    return InstrumentSpec(
        id=instrument_id,
        base=base,
        quote=quote,
        kind=kind,
        price_precision=price_precision,
        size_precision=size_precision,
        tick=tick,
        lot=lot,
        min_qty=min_qty,
        max_qty=max_qty,
        min_notional=min_notional,
        maker_fee=maker,
        taker_fee=taker,
        multiplier=_multiplier(base, kind),
    )


def infer_instrument(instrument_id: str, prices: np.ndarray, sizes: np.ndarray) -> InstrumentSpec:
    """Return a specification whose steps are read off recorded prices and sizes; fees are Binance's
    standard tier.

    The tick and lot are the smallest decimal place in use: right when it is in use at all, never too fine
    by more than the data are. The smallest notional is taken as 5 in quote units (coin-margined: none).
    """
    symbol, kind = parse_symbol(instrument_id)
    base, quote = _split(symbol)
    price_precision, size_precision = decimals(prices), decimals(sizes)
    maker, taker = _FEES[kind]
    return InstrumentSpec(
        id=instrument_id,
        base=base,
        quote=quote,
        kind=kind,
        price_precision=price_precision,
        size_precision=size_precision,
        tick=10.0**-price_precision,
        lot=10.0**-size_precision,
        min_qty=10.0**-size_precision,
        max_qty=NO_LARGEST_ORDER,
        min_notional=0.0 if kind == "inverse_perp" else 5.0,
        maker_fee=maker,
        taker_fee=taker,
        multiplier=_multiplier(base, kind),
    )


# ---- exchange information


class _Filter(msgspec.Struct):
    filterType: str
    tickSize: str = ""
    stepSize: str = ""
    minQty: str = ""
    maxQty: str = ""
    minNotional: str = ""  # spot
    notional: str = ""  # futures


class _Symbol(msgspec.Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter]
    contractType: str = ""
    contractSize: float | None = None  # coin-margined only


class _Info(msgspec.Struct):
    symbols: list[_Symbol]


def exchange_info_instrument(path: str | os.PathLike[str], instrument_id: str) -> InstrumentSpec:
    """Return the specification that Binance's ``exchangeInfo`` gives for an instrument.

    Parameters
    ----------
    path : file with the answer of ``/api/v3/exchangeInfo``, ``/fapi/v1/exchangeInfo`` or
        ``/dapi/v1/exchangeInfo``, as JSON.
    instrument_id : as Nautilus calls it.

    Raises
    ------
    DataError
        When the file is no such answer, does not list the symbol, or lacks its price or lot filter; also when
        the answer is of another market than the id.
    """
    wanted, kind = raw_symbol(instrument_id), parse_symbol(instrument_id)[1]
    try:
        info = msgspec.json.decode(Path(path).read_bytes(), type=_Info)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as e:
        raise DataError(f"{path}: not Binance's exchange information: {e}") from e
    found = next((s for s in info.symbols if s.symbol == wanted), None)
    if found is None:
        raise DataError(f"{path}: {wanted} is not among its {len(info.symbols)} symbols")
    market = "inverse_perp" if found.contractSize else "linear_perp" if found.contractType else "spot"
    if market != kind:
        raise DataError(f"{path}: {wanted} is {market} there, but {instrument_id} is {kind}")
    filters = {f.filterType: f for f in found.filters}
    for name in ("PRICE_FILTER", "LOT_SIZE"):
        if name not in filters:
            raise DataError(f"{path}: {wanted} has no {name}")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    try:
        tick, lot = Decimal(filters["PRICE_FILTER"].tickSize), Decimal(filters["LOT_SIZE"].stepSize)
        least, most = Decimal(filters["LOT_SIZE"].minQty), Decimal(filters["LOT_SIZE"].maxQty)
        smallest = Decimal((notional.minNotional or notional.notional or "0") if notional else "0")
    except InvalidOperation as e:
        raise DataError(f"{path}: {wanted}: a filter holds a text that is no number") from e
    maker, taker = _FEES[kind]
    try:
        return InstrumentSpec(
            id=instrument_id,
            base=found.baseAsset,
            quote=found.quoteAsset,
            kind=kind,
            price_precision=step_decimals(tick),
            size_precision=_SPOT_SIZE_DECIMALS if kind == "spot" else step_decimals(lot),
            tick=float(tick),
            lot=float(lot),
            min_qty=float(least),
            max_qty=float(most) if most > 0 else NO_LARGEST_ORDER,
            min_notional=float(smallest),
            maker_fee=maker,
            taker_fee=taker,
            multiplier=float(found.contractSize or 1.0),
        )
    except ValueError as e:
        raise DataError(f"{path}: {wanted}: {e}") from e
