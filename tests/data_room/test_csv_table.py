"""Tables with a column map: recorded trades and bars, level changes, and every way to be wrong."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.cli.data_commands.import_ import command
from apex_nautilus.data import DataError, ImportRefused, load_instrument, read_bars, read_events
from apex_nautilus.data.importers._table import times
from apex_nautilus.data.importers.csv_table import import_csv, parse_map
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import KIND_CLEAR

LTC, BTC, SPOT = "LTCUSDT-PERP.BINANCE", "BTCUSDT-PERP.BINANCE", "BTCUSDT.BINANCE"
LTC_MAP = {"time": "timestamp", "price": "price", "size": "quantity", "side": "side", "id": "tradeId"}
SECOND = 1_000_000_000
START = 1_750_525_200


def stored(catalog, name=LTC):
    return np.concatenate(list(read_events(catalog, name)))


def packed(path, text: str | bytes, packing: str = ""):
    raw = text.encode() if isinstance(text, str) else text
    if packing == "gz":
        raw = gzip.compress(raw)
    elif packing == "zst":
        raw = pa.compress(raw, codec="zstd", asbytes=True)
    path.write_bytes(raw)
    return path


def trades_text(n: int = 20, first: int = 0) -> str:
    rows = [
        f"{(START + i) * 1000},{80 + i % 7 / 100:.2f},{1 + i % 3}.5,{'buy' if i % 2 else 'sell'},{1000 + i}"
        for i in range(first, first + n)
    ]
    return "timestamp,price,quantity,side,tradeId\n" + "\n".join(rows) + "\n"


def test_recorded_trades_whose_files_overlap_are_taken_once(shared_data, tmp_path):
    paths = sorted((shared_data / "ltcusdt-trades-2025-06").glob("*.gz"))
    report = import_csv(paths, tmp_path / "catalog", LTC, what="trades", columns=LTC_MAP)
    whole = pl.concat([pl.read_csv(p) for p in paths])
    unique = whole.unique("tradeId").sort("tradeId")
    assert report.refused == {}
    assert report.rows == whole.height == 168_473
    assert report.noted == {"repeated_trade": whole.height - unique.height}
    events = stored(tmp_path / "catalog")
    np.testing.assert_array_equal(events["sequence"], unique["tradeId"].to_numpy())
    np.testing.assert_array_equal(events["price"], np.rint(unique["price"].to_numpy() * 100))
    np.testing.assert_array_equal(events["size"], np.rint(unique["quantity"].to_numpy() * 1000))
    np.testing.assert_array_equal(events["ts_event_ns"], unique["timestamp"].to_numpy() * 1_000_000)
    np.testing.assert_array_equal(events["side"], np.where(unique["side"].to_numpy() == "buy", 1, -1))


def test_recorded_bars_with_close_times_in_a_time_zone_agree_with_other_candles(shared_data, tmp_path):
    path = shared_data / "btc-15m-2024" / "BTCUSDT_15m.csv.gz"
    columns = parse_map("time=close_datetime", "bars")
    report = import_csv([path], tmp_path / "catalog", SPOT, what="bars", columns=columns, minutes=15)
    assert (report.rows, report.refused, report.noted) == (34_945, {}, {})
    bars = read_bars(tmp_path / "catalog", f"{SPOT}-15-MINUTE-LAST-EXTERNAL")
    assert (bars["ts_ns"] % (900 * SECOND) == 0).all()
    with (shared_data / "spot-candles-2024" / "BTC_USDT-5m.feather").open("rb") as file:
        fine = pl.read_ipc(file)
    closes = dict(zip((fine["date"].dt.epoch("s") + 300).to_list(), fine["close"].to_list(), strict=True))
    mine = {int(t) // SECOND: int(c) for t, c in zip(bars["ts_ns"], bars["close"], strict=True)}
    common = sorted(set(closes) & set(mine))
    assert len(common) > 14_000
    assert sum(round(closes[t] * 100) == mine[t] for t in common) > 0.999 * len(common)


@pytest.mark.parametrize("packing", ["", "gz", "zst"])
def test_packings_and_the_columns_order_do_not_matter(tmp_path, packing):
    path = packed(tmp_path / "t", trades_text(), packing)
    report = import_csv([path], tmp_path / "catalog", LTC, what="trades", columns=LTC_MAP)
    assert report.kept == {"trade": 20}
    events = stored(tmp_path / "catalog")
    assert events["ts_init_ns"][0] == START * SECOND
    assert events["side"].tolist() == [-1, 1] * 10


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_files_merge_by_time_whatever_their_order(tmp_path, order):
    spans = [(0, 40), (15, 10), (30, 40)]
    paths = [packed(tmp_path / f"{i}", trades_text(n, first)) for i, (first, n) in enumerate(spans)]
    report = import_csv([paths[i] for i in order], tmp_path / "c", LTC, what="trades", columns=LTC_MAP)
    assert stored(tmp_path / "c")["sequence"].tolist() == list(range(1000, 1070))
    assert report.noted == {"repeated_trade": 20}


def test_without_ids_nothing_is_taken_for_a_repetition(tmp_path):
    path = packed(tmp_path / "t", "time,price,size\n" + "1750525200,80.01,1\n" * 3)
    report = import_csv([path], tmp_path / "c", LTC, what="trades")
    assert report.kept == {"trade": 3}
    assert stored(tmp_path / "c")["side"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("unit", "cell", "ns"),
    [
        ("auto", "1750525200", 1_750_525_200 * SECOND),
        ("auto", "1750525200123", 1_750_525_200_123_000_000),
        ("auto", "1750525200123456", 1_750_525_200_123_456_000),
        ("auto", "1750525200123456789", 1_750_525_200_123_456_789),
        ("s", "1585526399.8512", 1_585_526_399_851_200_000),
        ("ms", "1585526399851.25", 1_585_526_399_851_250_000),
        ("auto", "2025-06-21T17:00:00.5Z", 1_750_525_200_500_000_000),
        ("iso", "2025-06-21 19:00:00+02:00", 1_750_525_200 * SECOND),
        ("iso", "2025-06-21 17:00:00", 1_750_525_200 * SECOND),
        ("s", "-5", -1),
        ("s", "99999999999999999999", -1),
        ("iso", "yesterday", -1),
        ("ms", "", -1),
    ],
)
def test_times_come_to_the_nanosecond(unit, cell, ns):
    assert times(pl.Series([cell, None]), unit).tolist() == [ns, -1]


def test_bad_trades_are_counted_with_their_line(tmp_path):
    head, *rows = trades_text(30).splitlines(keepends=True)
    for at, row in {
        2: "1750525202000,0,1,buy,1002\n",
        4: "1750525204000,80,-1,buy,1004\n",
        6: "1750525206000,80.001234567,1,buy,1006\n",
        8: "1750525208000,80,1,bought,1008\n",
        10: "then,80,1,buy,1010\n",
        12: "1750525200000,80,1,buy,1012\n",
        14: "1750525214000,inf,1,buy,1014\n",
        16: '1750525216000,"80\n',
        18: rows[17],
    }.items():
        rows[at] = row
    path = packed(tmp_path / "t.csv", head + "".join(rows))
    report = import_csv([path], tmp_path / "c", SPOT, what="trades", columns=LTC_MAP, max_bad_share=1.0)
    assert report.refused == {
        "non_positive_price": 1,
        "negative_size": 1,
        "off_grid": 1,
        "bad_side": 1,
        "bad_time": 1,
        "time_backwards": 1,
        "not_a_number": 2,
        "duplicate": 1,
    }
    assert "t.csv:4: non_positive_price" in " ".join(report.examples)
    assert "t.csv:14: time_backwards" in " ".join(report.examples)
    with pytest.raises(ImportRefused, match="rows are bad"):
        import_csv([path], tmp_path / "other", SPOT, what="trades", columns=LTC_MAP)
    assert not list((tmp_path / "other").rglob("*.parquet"))


@pytest.mark.parametrize("name", [LTC, "ABCUSDT-PERP.BINANCE"])
def test_a_few_odd_numbers_do_not_make_the_grid_finer(tmp_path, name):
    head, *rows = trades_text(300).splitlines(keepends=True)
    rows[7] = "1750525207000,80.00001,1.5,buy,1007\n"
    path = packed(tmp_path / "t.csv", head + "".join(rows))
    report = import_csv([path], tmp_path / "c", name, what="trades", columns=LTC_MAP, max_bad_share=0.1)
    assert report.refused == {"off_grid": 1}
    assert load_instrument(tmp_path / "c", name).price_precision == 2


LEVELS = """local,exchange,flag,book,px,qty
1750525200000,1750525199990,true,bid,99.9,1
1750525200000,1750525199990,true,bid,99.8,2
1750525200000,1750525199990,true,ask,100.1,3
1750525201000,1750525200990,false,ask,100.1,0
1750525201000,1750525200990,false,bid,100.2,4
1750525201000,1750525200990,false,ask,100.3,5
1750525202000,1750525201990,false,bid,99.9,0
"""
LEVEL_MAP = "time=exchange,receive=local,snapshot=flag,side=book,price=px,size=qty"


def book(catalog, name=BTC):
    events = stored(catalog, name)
    ladder = Ladder()
    touches = ladder.apply(events)
    assert (touches[:, 2] < touches[:, 3]).all()
    return events, dict(ladder.bids(9).tolist()), dict(ladder.asks(9).tolist())


def test_level_changes_become_batches_by_time_of_receipt(tmp_path):
    path = packed(tmp_path / "l2.csv", LEVELS)
    report = import_csv([path], tmp_path / "c", BTC, what="l2", columns=parse_map(LEVEL_MAP, "l2"))
    assert report.kept == {"level": 7, "snapshot": 1}
    assert report.written["batches"] == 3
    events, bids, asks = book(tmp_path / "c")
    assert bids == {1002: 4000, 998: 2000}
    assert asks == {1003: 5000}
    assert (events["ts_init_ns"] - events["ts_event_ns"] == 10_000_000).all()


def test_without_a_flag_the_first_instant_is_the_book(tmp_path):
    path = packed(tmp_path / "l2.csv", LEVELS)
    columns = parse_map("time=local,side=book,price=px,size=qty", "l2")
    import_csv([path], tmp_path / "c", BTC, what="l2", columns=columns)
    assert book(tmp_path / "c")[1:] == ({1002: 4000, 998: 2000}, {1003: 5000})


def test_a_crossed_book_waits_for_the_next_snapshot_rows(tmp_path):
    more = """1750525203000,1750525202990,false,bid,100.4,1
1750525204000,1750525203990,false,bid,90.0,1
1750525205000,1750525204990,true,bid,98.0,1
1750525205000,1750525204990,true,ask,98.5,1
1750525206000,1750525205990,false,ask,98.4,2
"""
    path = packed(tmp_path / "l2.csv", LEVELS + more)
    columns = parse_map(LEVEL_MAP, "l2")
    report = import_csv([path], tmp_path / "c", BTC, what="l2", columns=columns, max_bad_share=1.0)
    assert report.refused == {"crossed_book": 1, "out_of_step": 1}
    events = stored(tmp_path / "c", BTC)
    assert (events["kind"] == KIND_CLEAR).sum() == 3
    ladder = Ladder()
    ladder.apply(events)
    assert (dict(ladder.bids(9).tolist()), dict(ladder.asks(9).tolist())) == (
        {980: 1000},
        {985: 1000, 984: 2000},
    )


def bars_text(stamps) -> str:
    return "time,open,high,low,close,volume\n" + "".join(f"{t},100.1,100.3,100.0,100.2,5\n" for t in stamps)


@pytest.mark.parametrize(
    ("stamp", "times_"),
    [
        ("close", ["2025-01-01T00:15:00Z", "2025-01-01T00:30:00Z"]),
        ("close", ["2025-01-01T00:14:59.999Z", "2025-01-01T00:29:59.999Z"]),
        ("open", ["2025-01-01T00:00:00Z", "2025-01-01T00:15:00Z"]),
    ],
)
def test_a_bars_time_is_its_close_or_its_opening_as_told(tmp_path, stamp, times_):
    path = packed(tmp_path / "b.csv", bars_text(times_))
    import_csv([path], tmp_path / "c", BTC, what="bars", minutes=15, stamp=stamp)
    bars = read_bars(tmp_path / "c", f"{BTC}-15-MINUTE-LAST-EXTERNAL")
    assert bars["ts_ns"].tolist() == [1_735_690_500 * SECOND, 1_735_691_400 * SECOND]
    assert bars["close"].tolist() == [1002, 1002]


def test_bad_bars_are_counted(tmp_path):
    text = bars_text(["2025-01-01T00:15:00Z", "2025-01-01T00:31:00Z", "2025-01-01T00:15:00Z", "never"])
    text += "2025-01-01T01:00:00Z,100,99,98,97,1\n2025-01-01T01:15:00Z,0,0,0,0,1\n"
    path = packed(tmp_path / "b.csv", text)
    report = import_csv([path], tmp_path / "c", BTC, what="bars", minutes=15, max_bad_share=1.0)
    assert report.refused == {
        "off_grid_time": 1,
        "duplicate": 1,
        "not_a_number": 1,
        "outside_range": 1,
        "non_positive_price": 1,
    }


@pytest.mark.parametrize(
    ("text", "what", "match"),
    [
        ("price", "trades", "FIELD=COLUMN"),
        ("prize=px", "trades", "no field 'prize'"),
        ("price=a,price=b", "trades", "twice"),
        ("id=x", "bars", "no field 'id'"),
    ],
)
def test_a_wrong_map_is_told(text, what, match):
    with pytest.raises(ImportRefused, match=match):
        parse_map(text, what)


def test_what_cannot_be_read_is_refused_and_leaves_nothing(tmp_path):
    good = trades_text(200)
    cut = gzip.compress(good.encode())[:-40]
    zst = pa.compress(good.encode(), codec="zstd", asbytes=True)[:-40]
    for raw, name, match in (
        (cut, LTC, "truncated"),
        (zst, LTC, "truncated"),
        (b"", LTC, "is empty"),
        (b"\xff\xfe\n1\n", LTC, "header is not text"),
        (b"timestamp,price\n", LTC, "lacks the column quantity"),
        (good[:38].encode(), LTC, "no trade"),
        (good.encode(), "LTCUSDT.NOWHERE", "venue NOWHERE is not known"),
        (b"PK\x03\x04junk", LTC, "cannot be read"),
    ):
        path = packed(tmp_path / "t", raw)
        with pytest.raises(DataError, match=match):
            import_csv([path], tmp_path / "c", name, what="trades", columns=LTC_MAP)
        assert not list((tmp_path / "c").rglob("*.parquet"))
    report = import_csv(
        [packed(tmp_path / "t", cut)],
        tmp_path / "c",
        LTC,
        what="trades",
        columns=LTC_MAP,
        allow_truncated=True,
    )
    assert report.noted["truncated_file"] == 1
    assert 0 < report.kept["trade"] < 200


def test_the_command_line_imports_a_table(tmp_path):
    path = packed(tmp_path / "t.csv.gz", trades_text(), "gz")
    shared = ["csv", str(path), "--instrument", LTC, "--catalog", str(tmp_path / "c")]
    mapping = ["--map", "time=timestamp,size=quantity,side=side,id=tradeId"]
    result = CliRunner().invoke(command, [*shared, "--what", "trades", *mapping])
    assert result.exit_code == 0, result.output
    assert load_instrument(tmp_path / "c", LTC).tick == 0.01
    assert stored(tmp_path / "c").size == 20
    for arguments, message in (
        (shared, "--what trades"),
        ([*shared, "--what", "bars", "--map", "time=timestamp"], "lacks the columns open"),
        ([*shared, "--what", "trades", "--map", "x=y"], "no field 'x'"),
    ):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 1
        assert message in result.output


@given(data=st.data())
def test_mutated_tables_end_in_an_import_or_a_refusal(tmp_path_factory, data):
    what = data.draw(st.sampled_from(["trades", "l2", "bars"]))
    text = {
        "trades": trades_text(12),
        "l2": LEVELS,
        "bars": bars_text([f"2025-01-01T0{i}:15:00Z" for i in range(9)]),
    }[what]
    columns = {"trades": LTC_MAP, "l2": parse_map(LEVEL_MAP, "l2"), "bars": None}[what]
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    folder = tmp_path_factory.mktemp("fuzz")
    path = packed(folder / "t", bytes(raw))
    try:
        import_csv([path], folder / "c", BTC, what=what, columns=columns, minutes=15, max_bad_share=1.0)
    except DataError:
        assert not list(folder.glob("c/**/*.parquet"))
        return
    if what == "l2":
        events = stored(folder / "c", BTC)
        touches = Ladder().apply(events)
        assert (touches[:, 2] < touches[:, 3]).all()
