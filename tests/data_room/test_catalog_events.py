"""Events and bars go into a Nautilus catalog and come back the same, stored as Nautilus stores them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.data import Bar, BarType, BookOrder, OrderBookDelta, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookAction, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.serialization.arrow.serializer import ArrowSerializer

from apex_nautilus.data import (
    BARS,
    CatalogWriter,
    DataError,
    bar_type_name,
    bar_types,
    binance_instrument,
    from_nautilus_instrument,
    inspect_catalog,
    instrument_ids,
    load_instrument,
    read_bars,
    read_events,
    to_catalog,
    to_nautilus_instrument,
    write_bars,
    write_events,
)
from apex_nautilus.data.fixed_point import FIXED_BYTES, FIXED_DECIMALS, column_to_units, units_to_column
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.nautilus_tables import (
    bars_to_table,
    deltas_to_table,
    table_to_deltas,
    trades_to_table,
)
from apex_nautilus.features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.sim import Market, profile

BTC = binance_instrument("BTCUSDT-PERP.BINANCE")
MINUTE = 60_000_000_000


@pytest.fixture(scope="module")
def tape():
    return Market(profile("BTCUSDT-LINEAR.SIM"), 11).run(20_000_000_000)


def read_all(catalog: Path, instrument_id: str, *args, **options) -> np.ndarray:
    return np.concatenate(list(read_events(catalog, instrument_id, *args, **options)))


def book(events: np.ndarray) -> np.ndarray:
    return events[events["kind"] != KIND_TRADE]


def as_nautilus_writes(objects: list, cls: type) -> pa.Table:
    table = ArrowSerializer.serialize_batch(objects, cls)
    return pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table


def levels(events: np.ndarray) -> list[tuple]:
    ladder = Ladder()
    ladder.apply(book(events))
    return [tuple(e)[2:4] for e in ladder.snapshot(0, 0, 0)]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20), st.integers(0, FIXED_DECIMALS))
def test_fixed_point_columns_hold_the_exact_number(units, precision):
    units = [u for u in units if u * 10 ** (FIXED_DECIMALS - precision) < 2**126] or [0]
    column = units_to_column(np.array(units, dtype=np.int64), precision)
    if FIXED_DECIMALS == 16:
        raw = [int.from_bytes(value.as_py(), "little", signed=True) for value in column]
        assert raw == [u * 10 ** (16 - precision) for u in units]
    assert column_to_units(column, precision).tolist() == units
    assert column_to_units(pa.chunked_array([column.slice(1), column.slice(0, 1)]), precision).tolist() == (
        units[1:] + units[:1]
    )


def test_fixed_point_refuses_what_does_not_fit():
    column = units_to_column(np.array([12345]), 3)
    with pytest.raises(DataError, match="more than 2 decimals"):
        column_to_units(column, 2)
    with pytest.raises(DataError, match="negative"):
        units_to_column(np.array([-1]), 3)
    with pytest.raises(DataError, match="precision 99"):
        units_to_column(np.array([1]), 99)


def test_tables_are_those_that_nautilus_makes_of_its_objects():
    instrument_id = InstrumentId.from_str(BTC.id)
    order = BookOrder(OrderSide.SELL, Price.from_str("61800.3"), Quantity.from_str("0.014"), 0)
    gone = BookOrder(OrderSide.BUY, Price.from_str("0.1"), Quantity.from_str("0.000"), 0)
    deltas = [
        OrderBookDelta(instrument_id, BookAction.CLEAR, None, 0, 7, 10, 20),
        OrderBookDelta(instrument_id, BookAction.UPDATE, order, 0, 7, 10, 20),
        OrderBookDelta(instrument_id, BookAction.DELETE, gone, RecordFlag.F_LAST, 8, 11, 21),
    ]
    events = np.zeros(3, dtype=EVENT)
    events["kind"], events["side"] = [KIND_CLEAR, KIND_LEVEL, KIND_LEVEL], [0, -1, 1]
    events["price"], events["size"] = [0, 618003, 1], [0, 14, 0]
    events["sequence"], events["ts_event_ns"], events["ts_init_ns"] = [7, 7, 8], [10, 10, 11], [20, 20, 21]
    events["flags"][2] = FLAG_LAST
    theirs = as_nautilus_writes(deltas[1:], OrderBookDelta)
    mine = deltas_to_table(events, BTC)
    assert mine.slice(1).equals(theirs)
    assert mine.schema.metadata == theirs.schema.metadata
    # Nautilus takes a table's precision from its first object, and a clear has none: put it second.
    cleared = as_nautilus_writes([deltas[1], deltas[0]], OrderBookDelta)
    assert mine.to_pylist()[0] == cleared.to_pylist()[1]
    assert (table_to_deltas(mine, BTC) == events).all()

    ticks = [
        TradeTick(instrument_id, order.price, order.size, AggressorSide.BUYER, TradeId("5"), 3, 4),
        TradeTick(instrument_id, order.price, order.size, AggressorSide.SELLER, TradeId("6"), 4, 5),
    ]
    trades = np.zeros(2, dtype=EVENT)
    trades["kind"], trades["side"], trades["price"], trades["size"] = KIND_TRADE, [1, -1], 618003, 14
    trades["sequence"], trades["ts_event_ns"], trades["ts_init_ns"] = [5, 6], [3, 4], [4, 5]
    theirs = as_nautilus_writes(ticks, TradeTick)
    assert trades_to_table(trades, BTC).equals(theirs)

    name = bar_type_name(BTC.id, 5)
    prices = [Price.from_str(p) for p in ("100.0", "101.5", "99.9", "100.1")]
    bar = Bar(BarType.from_str(name), *prices, Quantity.from_str("2.500"), 9, 9)
    bars = np.array([(9, 1000, 1015, 999, 1001, 2500)], dtype=BARS)
    theirs = as_nautilus_writes([bar], Bar)
    mine = bars_to_table(bars, name, BTC)
    assert mine.equals(theirs)
    assert mine.schema.metadata == theirs.schema.metadata


def test_a_simulated_tape_comes_back_with_the_same_books_and_trades(tape, tmp_path):
    written = to_catalog(tape, tape.instrument, tmp_path)
    back = read_all(tmp_path, tape.instrument.id)
    trades, was = back[back["kind"] == KIND_TRADE], tape.events[tape.events["kind"] == KIND_TRADE]
    for field in ("price", "size", "side", "sequence", "ts_event_ns"):
        assert (trades[field] == was[field]).all()
    assert (np.abs(trades["ts_init_ns"] - was["ts_init_ns"]) <= written.moved).all()
    ends, were = (np.flatnonzero(book(e)["flags"] & FLAG_LAST) + 1 for e in (back, tape.events))
    assert ends.size == were.size == written.batches
    assert (Ladder().apply(book(back)) == Ladder().apply(book(tape.events))).all()
    assert levels(back) == levels(tape.events)
    assert load_instrument(tmp_path, tape.instrument.id) == tape.instrument


@pytest.mark.parametrize("rows", [1, 7, 1_000, 10**6])
def test_reading_in_chunks_is_reading_at_once_and_splits_no_instant(rows, tape, tmp_path):
    with CatalogWriter(tmp_path, tape.instrument, rows_per_file=300) as writer:
        for part in np.array_split(tape.events, 13):  # wherever that cuts the batches
            writer.append(part)
        written = writer.commit()
    assert len(written.files) > 3
    chunks = list(read_events(tmp_path, tape.instrument.id, chunk_rows=rows))
    assert (np.concatenate(chunks) == read_all(tmp_path, tape.instrument.id)).all()
    for left, right in pairwise(chunks):
        assert left["ts_init_ns"][-1] < right["ts_init_ns"][0]
    assert (
        len(ParquetDataCatalog(str(tmp_path)).query(OrderBookDelta, [tape.instrument.id])) == written.deltas
    )


def test_a_reading_that_starts_in_the_middle_opens_with_the_book_as_it_stood(tape, tmp_path):
    write_events(tmp_path, tape.instrument, tape.events)
    whole = read_all(tmp_path, tape.instrument.id)
    start, end = (int(whole["ts_init_ns"][int(whole.size * share)]) for share in (0.4, 0.8))
    part = read_all(tmp_path, tape.instrument.id, start, end)
    assert part["ts_init_ns"][0] == start
    assert part["kind"][0] == KIND_CLEAR
    assert (part["ts_init_ns"] < end).all()
    before, until = whole[whole["ts_init_ns"] < start], whole[whole["ts_init_ns"] < end]
    opening = part[: int(np.flatnonzero(part["flags"] & FLAG_LAST)[0]) + 1]
    assert levels(opening) == levels(before)
    assert levels(part) == levels(until)
    assert (part[opening.size :] == until[before.size :]).all()


def test_a_trade_and_a_book_batch_of_one_instant_are_put_in_order_of_time(tmp_path):
    events = np.zeros(6, dtype=EVENT)
    events["ts_init_ns"] = [5, 5, 5, 5, 6, 9]
    events["kind"] = [KIND_LEVEL, KIND_LEVEL, KIND_TRADE, KIND_LEVEL, KIND_TRADE, KIND_TRADE]
    events["side"], events["price"], events["size"] = [1, -1, 1, 1, -1, 1], [10, 20, 20, 11, 11, 11], 1
    events["flags"] = [0, 1, 0, 1, 0, 0]
    written = write_events(tmp_path, BTC, events)
    back = read_all(tmp_path, BTC.id)
    assert back["ts_init_ns"].tolist() == [5, 5, 6, 7, 8, 9]
    assert back["kind"].tolist() == events["kind"].tolist()
    assert written.moved == 3


def test_events_that_cannot_be_stored_are_refused(tape, tmp_path):
    events = tape.events
    with pytest.raises(DataError, match="end inside a batch"):
        write_events(tmp_path, tape.instrument, events[:1])
    # Cut where batches end, wherever the simulated market puts them.
    is_level = events["kind"] != KIND_TRADE
    ends = np.flatnonzero(is_level & ((events["flags"] & FLAG_LAST) != 0)) + 1
    half, end = int(ends[len(ends) // 2]), int(ends[-1])
    assert events["ts_init_ns"][0] < events["ts_init_ns"][half] < events["ts_init_ns"][end - 1]
    with pytest.raises(DataError, match="back in time"):
        write_events(tmp_path, tape.instrument, [events[half:end], events[:half]])
    torn = events[:end].copy()
    inside = int(np.flatnonzero(is_level[:end] & (torn["flags"] == 0))[0])
    torn["ts_init_ns"][inside + 1 :] += 1
    with pytest.raises(DataError, match="more than one ts_init_ns"):
        write_events(tmp_path, tape.instrument, torn)
    mixed = np.zeros(3, dtype=EVENT)
    mixed["kind"], mixed["side"] = [KIND_LEVEL, KIND_TRADE, KIND_LEVEL], [1, 1, -1]
    mixed["price"], mixed["size"], mixed["flags"] = [10, 11, 12], 1, [0, 0, FLAG_LAST]
    with pytest.raises(DataError, match="inside a batch of level changes"):
        write_events(tmp_path, BTC, mixed)
    with pytest.raises(DataError, match="inside a batch of level changes"):
        write_events(tmp_path, BTC, mixed[:2])
    mixed["ts_init_ns"] = -5
    with pytest.raises(DataError, match="before 1970"):
        write_events(tmp_path, BTC, mixed[1:])
    with pytest.raises(DataError, match="array of EVENT"):
        write_events(tmp_path, BTC, np.zeros(3))
    assert not list(tmp_path.rglob("*.parquet"))
    assert not (tmp_path / ".staging").exists()


def test_time_that_runs_back_by_less_than_what_was_put_off_is_still_seen(tmp_path):
    events = np.zeros(9, dtype=EVENT)
    events["ts_init_ns"], events["price"], events["size"] = 50, 10, 1
    events["kind"] = [KIND_TRADE, KIND_LEVEL] * 4 + [KIND_TRADE]
    events["side"], events["flags"] = 1, FLAG_LAST
    late = events[-1:].copy()
    late["ts_init_ns"] = 49
    with pytest.raises(DataError, match="back in time"):
        write_events(tmp_path, BTC, [events, late])


def test_a_writer_that_could_not_begin_lets_go_of_the_catalog(tape, tmp_path):
    (tmp_path / ".staging").write_text("in the way")
    with pytest.raises(FileExistsError), CatalogWriter(tmp_path, tape.instrument):
        pass
    (tmp_path / ".staging").unlink()
    write_events(tmp_path, tape.instrument, tape.events)


def shifted(tape, ns: int) -> np.ndarray:
    events = tape.events.copy()
    events["ts_init_ns"] += ns
    return events


def test_what_is_replaced_goes_only_when_the_new_data_are_in_place(tape, tmp_path, monkeypatch):
    write_events(tmp_path, tape.instrument, tape.events)
    before = read_all(tmp_path, tape.instrument.id)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("apex_nautilus.data.catalog_writer.move", full)
        with pytest.raises(OSError, match="No space"):
            write_events(tmp_path, tape.instrument, shifted(tape, 10**9), replace=True)
    assert (read_all(tmp_path, tape.instrument.id) == before).all()
    written = write_events(tmp_path, tape.instrument, shifted(tape, 10**9), replace=True)
    assert len(written.replaced) == 2
    assert read_all(tmp_path, tape.instrument.id)["ts_init_ns"][0] == before["ts_init_ns"][0] + 10**9


def test_replacing_a_part_does_not_throw_the_rest_away(tmp_path):
    bars = np.zeros(600, dtype=BARS)
    bars["ts_ns"] = np.arange(1, 601) * MINUTE
    bars["open"], bars["high"], bars["low"], bars["close"], bars["volume"] = 1000, 1010, 990, 1001, 7
    name = bar_type_name(BTC.id, 1)
    write_bars(tmp_path, BTC, bars, name)
    with pytest.raises(DataError, match="what lies beyond would be lost"):
        write_bars(tmp_path, BTC, bars[100:200], name, replace=True)
    assert read_bars(tmp_path, name).size == 600
    other = bars.copy()
    other["close"] = 1002
    with pytest.raises(DataError, match="already holds"):  # the same span, other data
        write_bars(tmp_path, BTC, other, name)
    write_bars(tmp_path, BTC, other, name, replace=True)
    assert (read_bars(tmp_path, name) == other).all()


def test_files_that_overlap_are_not_read_as_if_they_followed_each_other(tape, tmp_path):
    written = write_events(tmp_path, tape.instrument, tape.events)
    file = tmp_path / written.files[0]
    end = file.stem.split("_")[1]
    (file.parent / f"{end}_{end}.parquet").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="overlap in time"):
        next(read_events(tmp_path, tape.instrument.id))


@pytest.mark.parametrize("damage", ["cut", "flip", "columns", "empty", "forbidden"])
def test_a_damaged_file_is_named(damage, tape, tmp_path, monkeypatch):
    written = write_events(tmp_path, tape.instrument, tape.events)
    file = tmp_path / written.files[0]
    content = bytearray(file.read_bytes())
    if damage == "columns":
        pq.write_table(pa.table({"x": [1]}), file)
    elif damage == "forbidden":  # the tests may run as root, who may read anything

        def denied(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(file))

        monkeypatch.setattr(pq, "ParquetFile", denied)
    else:
        content[20:60] = b"\xff" * 40
        cut = {"cut": content[: len(content) // 2], "flip": content, "empty": b""}
        file.write_bytes(cut[damage])
    says = "cannot be read: Permission denied" if damage == "forbidden" else f"{file.name}: .*"
    with pytest.raises(DataError, match=says):
        read_all(tmp_path, tape.instrument.id)
    if damage == "cut":
        definition = next((tmp_path / "data" / "crypto_perpetual").rglob("*.parquet"))
        definition.write_bytes(b"PAR1")
        with pytest.raises(DataError, match="an instrument: damaged"):
            load_instrument(tmp_path, tape.instrument.id)


def test_a_span_that_ends_before_it_starts_is_refused(tape, tmp_path):
    write_events(tmp_path, tape.instrument, tape.events)
    with pytest.raises(DataError, match="is not before"):
        next(read_events(tmp_path, tape.instrument.id, 10, 10))


def test_numbers_of_another_width_or_with_holes_are_refused():
    with pytest.raises(DataError, match="stored as fixed_size_binary"):
        column_to_units(pa.array([b"12345678"[: FIXED_BYTES // 2]], pa.binary(FIXED_BYTES // 2)), 2)
    with pytest.raises(DataError, match="missing"):
        column_to_units(pa.array([None, bytes(FIXED_BYTES)], pa.binary(FIXED_BYTES)), 2)


def test_bars_of_an_instrument_with_a_slash_are_found(tmp_path):
    spec = msgspec.structs.replace(BTC, id="BTC/USDT.BINANCE", kind="spot")
    bars = np.array([(MINUTE, 10, 12, 9, 11, 5)], dtype=BARS)
    name = bar_type_name(spec.id, 1)
    write_bars(tmp_path, spec, bars, name)
    assert bar_types(tmp_path, spec.id) == [name]
    assert (read_bars(tmp_path, name) == bars).all()
    assert [b.bar_type for b in inspect_catalog(tmp_path).bars] == [name]


def test_numbers_of_a_definition_are_the_nearest_doubles(tmp_path):
    spec = msgspec.structs.replace(BTC, max_qty=60035.0, min_notional=60035.7, min_qty=0.003)
    assert from_nautilus_instrument(to_nautilus_instrument(spec)) == spec


def test_of_several_definitions_of_an_instrument_the_newest_counts(tape, tmp_path):
    write_events(tmp_path, tape.instrument, tape.events)
    values = CryptoPerpetual.to_dict(to_nautilus_instrument(tape.instrument))
    dearer = CryptoPerpetual.from_dict(values | {"taker_fee": "0.0007", "ts_event": 5, "ts_init": 5})
    ParquetDataCatalog(str(tmp_path)).write_data([dearer])
    assert instrument_ids(tmp_path) == [tape.instrument.id]
    assert load_instrument(tmp_path, tape.instrument.id).taker_fee == 0.0007
    assert len(inspect_catalog(tmp_path).streams) == 1


def test_two_writers_do_not_meet(tape, tmp_path):
    with (
        CatalogWriter(tmp_path, tape.instrument),
        pytest.raises(DataError, match="another process is writing"),
        CatalogWriter(tmp_path, tape.instrument),
    ):
        pass
    with pytest.raises(DataError, match="outside its context"):
        CatalogWriter(tmp_path, tape.instrument).append(tape.events)


def test_a_definition_with_fewer_decimals_may_not_orphan_stored_data(tape, tmp_path):
    write_events(tmp_path, tape.instrument, tape.events)
    spec = tape.instrument
    coarse = InstrumentSpec(
        id=spec.id, base=spec.base, quote=spec.quote, price_precision=0, size_precision=0, tick=1.0, lot=1.0
    )
    bars = np.array([(MINUTE, 10, 12, 9, 11, 5)], dtype=BARS)
    with pytest.raises(DataError, match="could not read them"):
        write_bars(tmp_path, coarse, bars, bar_type_name(spec.id, 1))
    assert load_instrument(tmp_path, spec.id) == spec


def test_bars_come_back_and_time_ranges_are_half_open(tmp_path):
    bars = np.zeros(10, dtype=BARS)
    bars["ts_ns"] = np.arange(1, 11) * MINUTE
    bars["open"], bars["high"], bars["low"], bars["close"], bars["volume"] = 1000, 1010, 990, 1001, 7
    name = bar_type_name(BTC.id, 1)
    write_bars(tmp_path, BTC, bars, name)
    assert (read_bars(tmp_path, name) == bars).all()
    assert (read_bars(tmp_path, name, 3 * MINUTE, 5 * MINUTE)["ts_ns"] == [3 * MINUTE, 4 * MINUTE]).all()
    assert bar_types(tmp_path, BTC.id) == [name]
    assert instrument_ids(tmp_path) == [BTC.id]
    back = ParquetDataCatalog(str(tmp_path)).query(Bar, [name])
    assert [b.high.as_double() for b in back] == [101.0] * 10
    with pytest.raises(DataError, match=r"stored are BTCUSDT-PERP\.BINANCE-1-MINUTE"):
        read_bars(tmp_path, bar_type_name(BTC.id, 5))
    with pytest.raises(DataError, match="do not rise"):
        write_bars(tmp_path, BTC, bars[::-1], name)


@pytest.mark.parametrize(
    "instrument_id",
    ["BTCUSDT-PERP.BINANCE", "ETHUSDT-PERP.BINANCE", "SOLUSDT.BINANCE", "BTCUSD-PERP.BINANCE"],
)
def test_an_instrument_survives_nautilus(instrument_id):
    spec = binance_instrument(instrument_id)
    assert from_nautilus_instrument(to_nautilus_instrument(spec)) == spec


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="not a market catalog"):
        list(read_events(tmp_path, "X.Y"))
    write_bars(tmp_path, BTC, np.array([(MINUTE, 10, 12, 9, 11, 5)], dtype=BARS), bar_type_name(BTC.id, 1))
    with pytest.raises(DataError, match=r"defines BTCUSDT-PERP\.BINANCE"):
        list(read_events(tmp_path, "X.Y"))
    with pytest.raises(DataError, match="no book or trades"):
        list(read_events(tmp_path, BTC.id))


def test_a_reading_that_starts_late_begins_with_the_last_clear(tape, tmp_path, monkeypatch):
    """The same events as from the whole past, without reading it."""
    first = tape.events[tape.events["kind"] != KIND_TRADE]
    ends = np.flatnonzero(first["flags"] & FLAG_LAST) + 1
    cut = int(ends[ends.size // 2])
    ladder = Ladder()
    ladder.apply(first[:cut])
    at = int(first["ts_init_ns"][cut - 1])
    clear = np.zeros(1, dtype=EVENT)
    clear["kind"], clear["flags"], clear["ts_init_ns"] = KIND_CLEAR, FLAG_LAST, at
    # The book is lost in the middle and comes back whole, as after a break of the sequence.
    events = np.concatenate([first[:cut], clear, ladder.snapshot(at, at, 1), first[cut:]])
    monkeypatch.setattr("apex_nautilus.data.catalog_writer._ROW_GROUP", 100)
    with CatalogWriter(tmp_path, tape.instrument, rows_per_file=300) as writer:
        for part in np.array_split(events, 20):
            writer.append(part)
        writer.commit()
    read = 0

    def counted(table, spec):
        nonlocal read
        read += table.num_rows
        return table_to_deltas(table, spec)

    monkeypatch.setattr("apex_nautilus.data.catalog_reader.table_to_deltas", counted)
    times = np.unique(events["ts_init_ns"])
    for start in (times[3], times[times.size // 3], at - 1, at, at + 1, times[-5], times[-1] + 1):
        read = 0
        mine = list(read_events(tmp_path, tape.instrument.id, int(start)))
        needed = read
        with monkeypatch.context() as patch:
            whole_files = "apex_nautilus.data.catalog_reader._from_last_clear"
            patch.setattr(whole_files, lambda files, start: (files, 0))
            read = 0
            whole = list(read_events(tmp_path, tape.instrument.id, int(start)))
        assert len(mine) == 0 == len(whole) or (np.concatenate(mine) == np.concatenate(whole)).all()
        assert needed < read if start > at else needed <= read
