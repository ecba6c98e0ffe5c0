"""Bybit's instruments: ids, the venue's own ``instruments-info``, and steps read off a recording.

Ids are those of Nautilus's Bybit adapter: ``BTCUSDT-LINEAR.BYBIT`` is the linear perpetual,
``BTCUSDT-SPOT.BYBIT`` spot. Steps and limits come from the answer of ``/v5/market/instruments-info`` where a
recording holds it, else from a short table (that answer as of August 2026), else from the decimals in use.
Fees are the standard tier without discounts; the venue's answer does not hold them.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.steps import NO_LARGEST_ORDER, step_decimals
from apex_nautilus.risk import InstrumentSpec

__all__ = ["bybit_id", "bybit_instrument", "infer_bybit", "instruments_info", "parse_bybit_id"]

_FEES = {"linear": (0.0002, 0.00055), "spot": (0.001, 0.001)}
_KINDS = {"linear": "linear_perp", "spot": "spot"}
_QUOTES = ("USDT", "USDC", "USDE", "USD1", "FDUSD", "EUR", "BRL", "BTC", "ETH", "DAI", "USD")

# symbol: (tick, lot, smallest order, largest market order, smallest notional)
_LINEAR = {
    "BTCUSDT": ("0.1", "0.001", "0.001", "150", "5"),
    "ETHUSDT": ("0.01", "0.01", "0.01", "1500", "5"),
    "SOLUSDT": ("0.01", "0.1", "0.1", "16000", "5"),
    "DOGEUSDT": ("0.00001", "1", "1", "2500000", "5"),
}
_SPOT = {
    "BTCUSDT": ("0.1", "0.000001", "0.000001", "120", "5"),
    "ETHUSDT": ("0.01", "0.00001", "0.00001", "2000", "5"),
}


class _PriceFilter(msgspec.Struct):
    tickSize: str


class _LotFilter(msgspec.Struct):
    minOrderQty: str
    maxOrderQty: str = ""
    maxMktOrderQty: str = ""
    maxMarketOrderQty: str = ""
    qtyStep: str = ""
    basePrecision: str = ""
    minNotionalValue: str = ""
    minOrderAmt: str = ""


class _Instrument(msgspec.Struct):
    symbol: str
    baseCoin: str
    quoteCoin: str
    priceFilter: _PriceFilter
    lotSizeFilter: _LotFilter
    contractType: str = ""
    settleCoin: str = ""


class _Result(msgspec.Struct):
    category: str
    instruments: list[_Instrument] = msgspec.field(name="list")


class _Answer(msgspec.Struct):
    result: _Result


def bybit_id(symbol: str, category: str) -> str:
    """Return Nautilus's id of a symbol of a category (linear, spot)."""
    return f"{symbol}-{category.upper()}.BYBIT"


def parse_bybit_id(instrument_id: str) -> tuple[str, str]:
    """Return (symbol, category) of ``BTCUSDT-LINEAR.BYBIT`` or ``BTCUSDT-SPOT.BYBIT``.

    Raises
    ------
    DataError
        For any other id; inverse and option ids are told that they cannot be imported.
    """
    match = re.fullmatch(r"([A-Z0-9]+)-(LINEAR|SPOT|INVERSE|OPTION)\.BYBIT", instrument_id)
    if match is None:
        raise DataError(
            f"instrument id {instrument_id!r}: expected SYMBOL-LINEAR.BYBIT for a perpetual or "
            "SYMBOL-SPOT.BYBIT for spot"
        )
    if match[2] in ("INVERSE", "OPTION"):
        raise DataError(
            f"instrument id {instrument_id!r}: {match[2].lower()} contracts of Bybit cannot be imported; "
            "linear perpetuals and spot can"
        )
    return match[1], match[2].lower()


def _make(
    symbol: str, category: str, base: str, quote: str, steps: tuple[str, str, str, str, str]
) -> InstrumentSpec:
    tick, lot, least, most, notional = (Decimal(s or "0") for s in steps)
    maker, taker = _FEES[category]
    kind: Any = _KINDS[category]
    return InstrumentSpec(
        id=bybit_id(symbol, category),
        base=base,
        quote=quote,
        kind=kind,
        price_precision=step_decimals(tick),
        size_precision=step_decimals(lot),
        tick=float(tick),
        lot=float(lot),
        min_qty=float(least),
        max_qty=float(most) if most > 0 else NO_LARGEST_ORDER,
        min_notional=float(notional),
        maker_fee=maker,
        taker_fee=taker,
    )


def _split(symbol: str) -> tuple[str, str]:
    if symbol.endswith("PERP") and len(symbol) > 4:
        return symbol[:-4], "USDC"
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    raise DataError(f"symbol {symbol!r} does not end in a known quote currency ({', '.join(_QUOTES)})")


def instruments_info(answer: bytes | str) -> dict[str, InstrumentSpec]:
    """Return the linear perpetuals and spot pairs of an ``instruments-info`` answer, by id.

    Contracts with an expiry and those not settled in their quote currency are left out.

    Raises
    ------
    DataError
        When the text is no such answer.
    """
    try:
        result = msgspec.json.decode(answer, type=_Answer).result
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise DataError(f"not Bybit's instruments-info: {e}") from e
    found = {}
    if result.category not in _KINDS:
        return found
    for i in result.instruments:
        if result.category == "linear" and (
            i.contractType != "LinearPerpetual" or i.settleCoin != i.quoteCoin
        ):
            continue
        lot = i.lotSizeFilter
        steps = (
            i.priceFilter.tickSize,
            lot.qtyStep or lot.basePrecision,
            lot.minOrderQty,
            lot.maxMktOrderQty or lot.maxMarketOrderQty or lot.maxOrderQty,
            lot.minNotionalValue or lot.minOrderAmt,
        )
        try:
            spec = _make(i.symbol, result.category, i.baseCoin, i.quoteCoin, steps)
        except (ValueError, InvalidOperation) as e:
            raise DataError(f"Bybit's instruments-info: {i.symbol}: {e}") from e
        found[spec.id] = spec
    return found


def bybit_instrument(instrument_id: str) -> InstrumentSpec | None:
    """Return the table's specification, or None when the symbol is not in it."""
    symbol, category = parse_bybit_id(instrument_id)
    steps = (_LINEAR if category == "linear" else _SPOT).get(symbol)
    return None if steps is None else _make(symbol, category, *_split(symbol), steps)


def infer_bybit(instrument_id: str, price_decimals: int, size_decimals: int) -> InstrumentSpec:
    """Return a specification with the decimals that a recording uses, as `InstrumentSpec` needs them.

    The tick and lot are the last decimal: never too coarse. Limits are unknown; the smallest notional is
    taken as 5 in quote units, the standard of the venue.
    """
    symbol, category = parse_bybit_id(instrument_id)
    lot = str(Decimal(1).scaleb(-size_decimals))
    return _make(
        symbol, category, *_split(symbol), (str(Decimal(1).scaleb(-price_decimals)), lot, lot, "0", "5")
    )
