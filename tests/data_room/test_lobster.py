"""LOBSTER files of a simulated market: a reader who knows only the format rebuilds the book from them."""

import csv
from dataclasses import replace
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from apex_nautilus.data import DataError, to_lobster
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE
from apex_nautilus.sim import Market, profile

SECOND = 1_000_000_000
START = 1_735_689_600_000_000_000 + 9 * 3600 * SECOND + 123_456_789
BUSY = profile("BTCUSDT-LINEAR.SIM").replace(
    # All that can happen to an order: quotes that move, orders that expire, cancels, own orders met.
    noise_agents=3,
    limit_expiry=0.5,
    market_rate=12.0,
    maker_refresh_s=0.2,
)


@pytest.fixture(scope="module")
def tape():
    return Market(BUSY, 3, start_ns=START, record_orders=True).run(120 * SECOND)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def rebuild(messages, levels):
    """The orderbook file's rows from the message file's, one order at a time."""
    orders = {}
    volume = {1: {}, -1: {}}
    for time, kind, order_id, size, price, direction in messages:
        size, price, direction = int(size), int(price), int(direction)
        if kind == "1":
            assert order_id not in orders
            orders[order_id] = [size, price, direction]
            volume[direction][price] = volume[direction].get(price, 0) + size
        else:
            assert orders[order_id][1:] == [price, direction]
            assert orders[order_id][0] > size if kind == "2" else orders[order_id][0] >= size
            assert kind != "3" or orders[order_id][0] == size
            orders[order_id][0] -= size
            if not orders[order_id][0]:
                del orders[order_id]
            volume[direction][price] -= size
            if not volume[direction][price]:
                del volume[direction][price]
        asks = sorted(volume[-1].items())[:levels]
        bids = sorted(volume[1].items(), reverse=True)[:levels]
        asks += [(9999999999, 0)] * (levels - len(asks))
        bids += [(-9999999999, 0)] * (levels - len(bids))
        yield time, [str(x) for ask, bid in zip(asks, bids, strict=True) for x in (*ask, *bid)]


@pytest.mark.parametrize("levels", [1, 5])
def test_the_orderbook_file_can_be_rebuilt_from_the_message_file(tape, tmp_path, levels):
    files = to_lobster(tape, tmp_path, levels=levels)
    messages, books = rows_of(files.message), rows_of(files.orderbook)
    assert files.rows == len(messages) == len(books) == len(tape.orders)
    times = []
    for (time, expected), row in zip(rebuild(messages, levels), books, strict=True):
        assert row == expected
        times.append(Decimal(time))
    assert times == sorted(times)
    assert times[0] == Decimal("32400.123456789")
    assert {row[1] for row in messages} == {"1", "3", "4"}


def test_every_kind_of_line_is_written_as_the_format_says(tape, tmp_path):
    orders = np.zeros(6, tape.orders.dtype)
    orders["ts_ns"] = START + np.arange(6) * 1_000_000_001
    orders["order_id"] = [7, 8, 9, 8, 9, 7]
    orders["price"] = [600_001, 600_003, 600_000, 600_003, 600_000, 600_001]  # tenths
    orders["size"] = [5, 4, 6, 1, 6, 2]
    orders["kind"] = [1, 1, 1, 2, 3, 4]
    orders["side"] = [1, -1, 1, -1, 1, 1]
    files = to_lobster(replace(tape, orders=orders), tmp_path, levels=2)
    assert files.message.read_text() == (
        "32400.123456789,1,7,5,600001000,1\n"
        "32401.123456790,1,8,4,600003000,-1\n"
        "32402.123456791,1,9,6,600000000,1\n"
        "32403.123456792,2,8,1,600003000,-1\n"
        "32404.123456793,3,9,6,600000000,1\n"
        "32405.123456794,4,7,2,600001000,1\n"
    )
    assert files.orderbook.read_text() == (
        "9999999999,0,600001000,5,9999999999,0,-9999999999,0\n"
        "600003000,4,600001000,5,9999999999,0,-9999999999,0\n"
        "600003000,4,600001000,5,9999999999,0,600000000,6\n"
        "600003000,3,600001000,5,9999999999,0,600000000,6\n"
        "600003000,3,600001000,5,9999999999,0,-9999999999,0\n"
        "600003000,3,600001000,3,9999999999,0,-9999999999,0\n"
    )


def test_files_are_called_as_lobster_calls_them(tape, tmp_path):
    files = to_lobster(tape, tmp_path / "new", levels=3, ticker="AAPL")
    assert files.message.name == "AAPL_2025-01-01_32400123_32520123_message_3.csv"
    assert files.orderbook.name == "AAPL_2025-01-01_32400123_32520123_orderbook_3.csv"
    assert {p.name for p in (tmp_path / "new").iterdir()} == {files.message.name, files.orderbook.name}


def test_executions_are_the_trades_of_the_tape_and_stand_for_the_resting_side(tape, tmp_path):
    messages = rows_of(to_lobster(tape, tmp_path).message)
    executed = [(m[2], m[3], m[4], m[5]) for m in messages if m[1] == "4"]
    expected = [
        (str(t["maker_order"]), str(t["size"]), str(t["price"] * 1000), str(-t["side"])) for t in tape.trades
    ]
    assert executed == expected
    assert len(executed) > 100


def levels_after_each_batch(events):
    """The published book at the end of each batch, from the level changes alone."""
    sides = {1: {}, -1: {}}
    for kind, side, price, size, flags, ts in events[
        ["kind", "side", "price", "size", "flags", "ts_event_ns"]
    ].tolist():
        if kind == KIND_CLEAR:
            sides = {1: {}, -1: {}}
        elif kind == KIND_LEVEL:
            sides[side].pop(price, None)
            if size:
                sides[side][price] = size
        if kind != KIND_TRADE and flags & FLAG_LAST:
            yield ts, {side: dict(levels) for side, levels in sides.items()}


def test_orders_add_up_to_the_levels_that_the_venue_published(tape):
    published = dict(levels_after_each_batch(tape.events))  # the last batch of each instant
    sides = {1: {}, -1: {}}
    ends = np.append(np.diff(tape.orders["ts_ns"]) != 0, True)
    checked = 0
    for (ts, price, size, kind, side), end in zip(
        tape.orders[["ts_ns", "price", "size", "kind", "side"]].tolist(), ends, strict=True
    ):
        left = sides[side].pop(price, 0) + (size if kind == 1 else -size)
        assert left >= 0
        if left:
            sides[side][price] = left
        if end:
            assert sides == published[ts]
            checked += 1
    assert checked == len(published)


def test_recording_orders_changes_nothing_else(tape):
    plain = Market(BUSY, 3, start_ns=START).run(120 * SECOND)
    assert plain.digest() == tape.digest()
    assert len(plain.orders) == 0


def test_two_tapes_are_the_halves_of_one(tape):
    market = Market(BUSY, 3, start_ns=START, record_orders=True)
    halves = [market.run(60 * SECOND).orders for _ in range(2)]
    assert (np.concatenate(halves) == tape.orders).all()


def test_the_size_of_the_recording_buffer_does_not_show(tape):
    market = Market(BUSY, 3, start_ns=START, record_orders=True)
    market._world = market._world._replace(log=market._world.log[:1].copy())
    assert (market.run(120 * SECOND).orders == tape.orders).all()


def test_a_tape_without_orders_or_from_the_middle_is_refused(tape, tmp_path):
    market = Market(BUSY, 3, start_ns=START, record_orders=True)
    market.run(SECOND)
    with pytest.raises(DataError, match="first tape of its market"):
        to_lobster(market.run(SECOND), tmp_path)
    with pytest.raises(DataError, match="record_orders=True"):
        to_lobster(replace(tape, orders=tape.orders[:0]), tmp_path)
    headless = replace(tape, orders=tape.orders[tape.orders["kind"] != 1])
    with pytest.raises(DataError, match=r"orders\[0\]: more leaves the price"):
        to_lobster(headless, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"levels": 0}, "levels: 0"),
        ({"ticker": "A_B"}, "ticker: 'A_B'"),
        ({"ticker": "../x"}, "ticker: '../x'"),
        ({"ticker": ""}, "ticker: ''"),
    ],
)
def test_options_out_of_bounds_are_refused_by_name(tape, tmp_path, options, says):
    with pytest.raises(DataError, match=says):
        to_lobster(tape, tmp_path, **options)


def test_more_decimals_than_the_format_holds_are_refused(tape, tmp_path):
    fine = replace(tape, instrument=msgspec.structs.replace(tape.instrument, price_precision=5))
    with pytest.raises(DataError, match="5 decimals"):
        to_lobster(fine, tmp_path)


def test_files_that_are_there_are_kept_unless_told_otherwise(tape, tmp_path):
    first = to_lobster(tape, tmp_path)
    before = first.message.read_bytes()
    first.message.write_bytes(b"mine")
    with pytest.raises(DataError, match="is there already"):
        to_lobster(tape, tmp_path)
    assert first.message.read_bytes() == b"mine"
    to_lobster(tape, tmp_path, replace=True)
    assert first.message.read_bytes() == before


def test_a_disk_that_is_full_leaves_nothing_half_written(tape, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apex_nautilus.data.lobster._write", full)
    with pytest.raises(OSError, match="No space"):
        to_lobster(tape, tmp_path)
    assert list(tmp_path.iterdir()) == []
