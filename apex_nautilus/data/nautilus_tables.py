"""Market events as Nautilus's own Arrow tables, and instruments as Nautilus instruments.

Making a Python object a row costs microseconds; a table made from columns costs nanoseconds and holds the
same bytes (a test writes both ways and compares). The column layout is read from the installed Nautilus and
checked here, so that an engine that stores something else is refused instead of misread.
"""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from nautilus_trader.model.currencies import Currency
from nautilus_trader.model.data import Bar, OrderBookDelta, QuoteTick, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookAction, CurrencyType, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId, Symbol
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair, Instrument
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.serialization.arrow.schema import NAUTILUS_ARROW_SCHEMA

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.fixed_point import column_to_units, units_to_column
from apex_nautilus.data.steps import NO_LARGEST_ORDER
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec

__all__ = [
    "BARS",
    "QUOTES",
    "bars_to_table",
    "deltas_to_table",
    "from_nautilus_instrument",
    "quotes_table",
    "table_to_bars",
    "table_to_deltas",
    "table_to_quotes",
    "table_to_trades",
    "to_nautilus_instrument",
    "trades_to_table",
]

BARS = np.dtype(
    [("ts_ns", "<i8"), ("open", "<i8"), ("high", "<i8"), ("low", "<i8"), ("close", "<i8"), ("volume", "<i8")]
)
"""One closed bar: `ts_ns` is the time of its close; prices and volume are integers in units of
``10**-precision``."""

QUOTES = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("ts_init_ns", "<i8"),
        ("bid", "<i8"),
        ("ask", "<i8"),
        ("bid_size", "<i8"),
        ("ask_size", "<i8"),
    ]
)
"""One quote; prices and sizes are integers in units of ``10**-precision``."""

_EXPECTED = {
    OrderBookDelta: [
        "action",
        "side",
        "price",
        "size",
        "order_id",
        "flags",
        "sequence",
        "ts_event",
        "ts_init",
    ],
    TradeTick: ["price", "size", "aggressor_side", "trade_id", "ts_event", "ts_init"],
    QuoteTick: ["bid_price", "ask_price", "bid_size", "ask_size", "ts_event", "ts_init"],
    Bar: ["open", "high", "low", "close", "volume", "ts_event", "ts_init"],
}


def _schema(cls: type) -> pa.Schema:
    schema = NAUTILUS_ARROW_SCHEMA[cls]
    if sorted(schema.names) != sorted(_EXPECTED[cls]):
        raise DataError(
            f"this Nautilus stores {cls.__name__} as {schema.names}, not {_EXPECTED[cls]}; "
            "install the version named in pyproject.toml"
        )
    return schema


def _table(cls: type, columns: dict[str, object], metadata: dict[str, str]) -> pa.Table:
    schema = _schema(cls)
    arrays = [c if isinstance(c := columns[f.name], pa.Array) else pa.array(c, type=f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema.with_metadata(metadata))


def _metadata(spec: InstrumentSpec) -> dict[str, str]:
    return {
        "instrument_id": spec.id,
        "price_precision": str(spec.price_precision),
        "size_precision": str(spec.size_precision),
    }


def deltas_to_table(events: np.ndarray, spec: InstrumentSpec) -> pa.Table:
    """Return book events (no trades) as a table of OrderBookDelta; a level of size 0 becomes a deletion."""
    clear = events["kind"] == KIND_CLEAR
    if (clear & (events["side"] != 0)).any():
        raise DataError(
            "the catalog has no record for clearing one side of a book; delete its levels instead"
        )
    size = np.where(clear, 0, events["size"])
    action = np.where(size > 0, np.uint8(BookAction.UPDATE), np.uint8(BookAction.DELETE))
    action[clear] = BookAction.CLEAR
    side = np.where(events["side"] > 0, np.uint8(OrderSide.BUY), np.uint8(OrderSide.SELL))
    side[clear] = OrderSide.NO_ORDER_SIDE
    last = (events["flags"] & FLAG_LAST) != 0
    columns = {
        "action": action,
        "side": side,
        "price": units_to_column(np.where(clear, 0, events["price"]), spec.price_precision),
        "size": units_to_column(size, spec.size_precision),
        "order_id": np.zeros(events.size, dtype=np.uint64),
        "flags": np.where(last, np.uint8(RecordFlag.F_LAST), np.uint8(0)),
        "sequence": events["sequence"].astype(np.uint64),
        "ts_event": events["ts_event_ns"].astype(np.uint64),
        "ts_init": events["ts_init_ns"].astype(np.uint64),
    }
    return _table(OrderBookDelta, columns, _metadata(spec))


def trades_to_table(events: np.ndarray, spec: InstrumentSpec) -> pa.Table:
    """Return trades as a table of TradeTick; the trade id is the event's sequence."""
    side = np.full(events.size, AggressorSide.NO_AGGRESSOR, dtype=np.uint8)
    side[events["side"] > 0] = AggressorSide.BUYER
    side[events["side"] < 0] = AggressorSide.SELLER
    columns = {
        "price": units_to_column(events["price"], spec.price_precision),
        "size": units_to_column(events["size"], spec.size_precision),
        "aggressor_side": side,
        "trade_id": pc.cast(pa.array(events["sequence"]), pa.string()),
        "ts_event": events["ts_event_ns"].astype(np.uint64),
        "ts_init": events["ts_init_ns"].astype(np.uint64),
    }
    return _table(TradeTick, columns, _metadata(spec))


def bars_to_table(bars: np.ndarray, bar_type: str, spec: InstrumentSpec) -> pa.Table:
    """Return `BARS` as a table of Bar of the given Nautilus bar type."""
    columns: dict[str, object] = {
        name: units_to_column(bars[name], spec.price_precision) for name in ("open", "high", "low", "close")
    }
    columns["volume"] = units_to_column(bars["volume"], spec.size_precision)
    columns["ts_event"] = columns["ts_init"] = bars["ts_ns"].astype(np.uint64)
    return _table(Bar, columns, {"bar_type": bar_type} | _metadata(spec))


def quotes_table(table: pa.Table, spec: InstrumentSpec) -> pa.Table:
    """Return a table of QuoteTick with the decimals of `spec`; what it holds stays as it is.

    Raises
    ------
    DataError
        When its columns are not those of this Nautilus.
    """
    schema = _schema(QuoteTick)
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise DataError(f"{spec.id}: quotes must have the columns {schema.names}, got {table.schema.names}")
    return table.replace_schema_metadata(_metadata(spec))


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()


def table_to_deltas(table: pa.Table, spec: InstrumentSpec) -> np.ndarray:
    """Return a table of OrderBookDelta as `EVENT` records."""
    events = np.zeros(table.num_rows, dtype=EVENT)
    action, side = _column(table, "action"), _column(table, "side")
    events["ts_event_ns"], events["ts_init_ns"] = _column(table, "ts_event"), _column(table, "ts_init")
    events["price"] = column_to_units(table.column("price"), spec.price_precision)
    events["size"] = column_to_units(table.column("size"), spec.size_precision)
    events["size"][action == BookAction.DELETE] = 0
    events["sequence"] = _column(table, "sequence")
    clear = action == BookAction.CLEAR
    events["kind"] = np.where(clear, KIND_CLEAR, KIND_LEVEL)
    events["side"] = np.where(clear, 0, np.where(side == OrderSide.BUY, 1, -1))
    events["flags"] = np.where((_column(table, "flags") & RecordFlag.F_LAST) != 0, FLAG_LAST, 0)
    return events


def table_to_trades(table: pa.Table, spec: InstrumentSpec) -> np.ndarray:
    """Return a table of TradeTick as `EVENT` records; a trade id that is no number becomes sequence 0."""
    events = np.zeros(table.num_rows, dtype=EVENT)
    events["ts_event_ns"], events["ts_init_ns"] = _column(table, "ts_event"), _column(table, "ts_init")
    events["price"] = column_to_units(table.column("price"), spec.price_precision)
    events["size"] = column_to_units(table.column("size"), spec.size_precision)
    ids = table.column("trade_id")
    numeric = pc.match_substring_regex(ids, r"^[0-9]{1,18}$")
    events["sequence"] = pc.cast(pc.if_else(numeric, ids, "0"), pa.int64()).to_numpy()
    side = _column(table, "aggressor_side")
    events["side"] = np.where(side == AggressorSide.BUYER, 1, np.where(side == AggressorSide.SELLER, -1, 0))
    events["kind"] = KIND_TRADE
    return events


def table_to_bars(table: pa.Table, spec: InstrumentSpec) -> np.ndarray:
    """Return a table of Bar as `BARS` records."""
    bars = np.zeros(table.num_rows, dtype=BARS)
    bars["ts_ns"] = _column(table, "ts_init")
    for name in ("open", "high", "low", "close"):
        bars[name] = column_to_units(table.column(name), spec.price_precision)
    bars["volume"] = column_to_units(table.column("volume"), spec.size_precision)
    return bars


def table_to_quotes(table: pa.Table, spec: InstrumentSpec) -> np.ndarray:
    """Return a table of QuoteTick as `QUOTES` records.

    Raises
    ------
    DataError
        When its columns are not those of this Nautilus.
    """
    table = quotes_table(table, spec)
    quotes = np.zeros(table.num_rows, dtype=QUOTES)
    quotes["ts_event_ns"], quotes["ts_init_ns"] = _column(table, "ts_event"), _column(table, "ts_init")
    for side in ("bid", "ask"):
        quotes[side] = column_to_units(table.column(f"{side}_price"), spec.price_precision)
        quotes[f"{side}_size"] = column_to_units(table.column(f"{side}_size"), spec.size_precision)
    return quotes


def _currency(code: str) -> Currency:
    known = Currency.from_internal_map(code)
    if known is not None:
        return known
    currency = Currency(code, precision=8, iso4217=0, name=code, currency_type=CurrencyType.CRYPTO)
    Currency.register(currency)  # so that the engine finds it when it reads the instrument back
    return currency


def to_nautilus_instrument(spec: InstrumentSpec) -> Instrument:
    """Return the Nautilus instrument of `spec`: CryptoPerpetual for a perpetual, CurrencyPair for spot.

    Margins are those of 20x leverage; time stamps are 0, so that writing it again gives the same file.
    """
    instrument_id = InstrumentId.from_str(spec.id)
    name = re.sub(r"-(PERP|LINEAR|INVERSE|SPOT)$", "", instrument_id.symbol.value)
    if spec.is_inverse and instrument_id.venue.value == "BINANCE":
        name += "_PERP"
    base, quote = _currency(spec.base), _currency(spec.quote)
    size = f"{{:.{spec.size_precision}f}}"
    common = {
        "instrument_id": instrument_id,
        "raw_symbol": Symbol(name),
        "base_currency": base,
        "quote_currency": quote,
        "price_precision": spec.price_precision,
        "size_precision": spec.size_precision,
        "price_increment": Price.from_str(f"{spec.tick:.{spec.price_precision}f}"),
        "size_increment": Quantity.from_str(size.format(spec.lot)),
        "min_quantity": Quantity.from_str(size.format(spec.min_qty)) if spec.min_qty > 0 else None,
        "max_quantity": Quantity.from_str(size.format(spec.max_qty)),
        "min_notional": Money(spec.min_notional, quote) if spec.min_notional > 0 else None,
        "maker_fee": Decimal(repr(spec.maker_fee)),
        "taker_fee": Decimal(repr(spec.taker_fee)),
        "ts_event": 0,
        "ts_init": 0,
    }
    if spec.kind == "spot":
        return CurrencyPair(**common)
    return CryptoPerpetual(
        **common,
        settlement_currency=_currency(spec.settlement),
        is_inverse=spec.is_inverse,
        multiplier=Quantity.from_str(f"{Decimal(repr(spec.multiplier)).normalize():f}"),
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
    )


def _exact(value: Price | Quantity | Money | None, missing: float) -> float:
    """The nearest double of a Nautilus number; its own conversion rounds twice in high precision."""
    return missing if value is None else float(value.as_decimal())


def from_nautilus_instrument(instrument: Instrument) -> InstrumentSpec:
    """Return the `InstrumentSpec` of a CryptoPerpetual or a CurrencyPair.

    Raises
    ------
    DataError
        For any other kind of instrument, a linear perpetual with a multiplier, or one settled in a third
        currency.
    """
    multiplier = _exact(instrument.multiplier, 1.0)
    if isinstance(instrument, CurrencyPair):
        kind = "spot"
    elif isinstance(instrument, CryptoPerpetual):
        kind = "inverse_perp" if instrument.is_inverse else "linear_perp"
        pays = instrument.base_currency if instrument.is_inverse else instrument.quote_currency
        if instrument.settlement_currency != pays or (multiplier != 1.0 and not instrument.is_inverse):
            raise DataError(
                f"{instrument.id}: settled in {instrument.settlement_currency} with a multiplier of "
                f"{instrument.multiplier}, which is not known here; known are linear perpetuals settled in "
                "their quote currency and inverse ones settled in their base currency"
            )
    else:
        raise DataError(
            f"{instrument.id}: a {type(instrument).__name__} is not known here; known are perpetuals and spot"
        )
    return InstrumentSpec(
        id=instrument.id.value,
        base=instrument.base_currency.code,
        quote=instrument.quote_currency.code,
        kind=kind,
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
        tick=_exact(instrument.price_increment, 0.0),
        lot=_exact(instrument.size_increment, 0.0),
        min_qty=_exact(instrument.min_quantity, 0.0),
        max_qty=_exact(instrument.max_quantity, NO_LARGEST_ORDER),
        min_notional=_exact(instrument.min_notional, 0.0),
        maker_fee=float(instrument.maker_fee),
        taker_fee=float(instrument.taker_fee),
        multiplier=multiplier,
    )
