"""Bybit's archives: order books (ob500) and trades, in the venue's formats, made from recorded messages."""

from __future__ import annotations

import gzip
import json
import zipfile
from decimal import Decimal

import bybit_messages as bm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.data import DataError, ImportRefused, load_instrument, read_events
from apex_nautilus.data.importers.bybit_ob500 import import_bybit_ob500
from apex_nautilus.data.importers.bybit_trades import import_bybit_trades
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import KIND_CLEAR

BTC = "BTCUSDT-LINEAR.BYBIT"


def stored(catalog, instrument_id=BTC):
    return np.concatenate(list(read_events(catalog, instrument_id)))


def levels(events) -> tuple[dict, dict]:
    ladder = Ladder()
    ladder.apply(events)
    n = len(ladder)
    return dict(ladder.bids(n).tolist()), dict(ladder.asks(n).tolist())


def archive(path, messages, packing="zip"):
    raw = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
    if packing == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(path.name.removesuffix(".zip"), raw)
    else:
        path.write_bytes(gzip.compress(raw) if packing == "gzip" else raw)
    return path


def recorded(samples, topic: str, conn: str = "BYBIT.ws.2") -> list[dict]:
    with gzip.open(samples / "bybit_v5_20260809.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    found = [json.loads(x["data"]) for x in lines if x["t"] == "recv" and x["conn"] == conn]
    return [m for m in found if m.get("topic") == topic]


def books(samples) -> list[dict]:
    """The recorded book of DOGEUSDT as an archive of 500 levels writes it."""
    return [m | {"topic": "orderbook.500.DOGEUSDT"} for m in recorded(samples, "orderbook.200.DOGEUSDT")]


@pytest.mark.parametrize("packing", ["zip", "gzip", "text"])
def test_an_archive_gives_the_recorded_book_level_by_level(samples, tmp_path, packing):
    messages = books(samples)
    path = archive(tmp_path / "2026-08-09_DOGEUSDT_ob500.data.zip", messages, packing)
    report = import_bybit_ob500([path], tmp_path / "catalog", bm.DOGE)
    assert report.refused == report.noted == {}
    assert report.kept == {"snapshot": 1, "delta": 379}
    held = bm.replay(messages)
    spec = load_instrument(tmp_path / "catalog", bm.DOGE)
    price, size = Decimal(10) ** spec.price_precision, Decimal(10) ** spec.size_precision
    events = stored(tmp_path / "catalog", bm.DOGE)
    assert levels(events) == tuple(
        {int(Decimal(p) * price): int(Decimal(s) * size) for p, s in held[side].items()}
        for side in ("b", "a")
    )
    # No time of receipt: the time the message was put together stands for it.
    assert set(events["ts_init_ns"] // bm.MS) <= {m["ts"] for m in messages}
    assert set(events["ts_event_ns"] // bm.MS) <= {m["cts"] for m in messages}


def test_archives_of_two_days_follow_on_each_other(samples, tmp_path):
    messages = books(samples)
    days = [archive(tmp_path / f"{i}.zip", m) for i, m in enumerate((messages[:200], messages[200:]))]
    import_bybit_ob500(days, tmp_path / "two", bm.DOGE)
    import_bybit_ob500([archive(tmp_path / "all.zip", messages)], tmp_path / "one", bm.DOGE)
    np.testing.assert_array_equal(stored(tmp_path / "two", bm.DOGE), stored(tmp_path / "one", bm.DOGE))


def test_the_gap_between_archives_is_a_break_that_the_next_snapshot_mends(samples, tmp_path):
    messages = books(samples)
    held = bm.replay(messages[:300])
    again = messages[299] | {"type": "snapshot"}
    again["data"] = again["data"] | {s: list(map(list, held[s].items())) for s in ("b", "a")}
    kept = [*messages[:100], *messages[150:299], again]
    report = import_bybit_ob500(
        [archive(tmp_path / "a.zip", kept)], tmp_path / "catalog", bm.DOGE, max_bad_share=1.0
    )
    assert report.refused == {"sequence_break": 1, "out_of_step": 148}
    whole = archive(tmp_path / "b.zip", messages[:300])
    import_bybit_ob500([whole], tmp_path / "whole", bm.DOGE)
    events = stored(tmp_path / "catalog", bm.DOGE)
    assert levels(events) == levels(stored(tmp_path / "whole", bm.DOGE))
    assert (events["kind"] == KIND_CLEAR).sum() == 3


def test_steps_of_an_unknown_symbol_are_read_off_the_archive(tmp_path):
    message = bm.snapshot(0, 5, [("0.00123", "10")], [("0.00124", "20.5")], symbol="PEPEUSDT", depth=500)
    path = archive(tmp_path / "p.zip", [message])
    report = import_bybit_ob500([path], tmp_path / "catalog", "PEPEUSDT-SPOT.BYBIT")
    assert report.noted == {"instrument_inferred": 1}
    spec = load_instrument(tmp_path / "catalog", "PEPEUSDT-SPOT.BYBIT")
    assert (spec.price_precision, spec.size_precision, spec.kind) == (5, 1, "spot")


def test_archives_that_cannot_be_built_are_refused_and_leave_nothing(tmp_path):
    start = bm.snapshot(0, 100, depth=500)
    whole = archive(tmp_path / "whole.zip", [start, *(bm.book(i, 100 + i, depth=500) for i in range(1, 50))])
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:200])
    text = gzip.compress(b"".join(json.dumps(bm.book(i, i)).encode() + b"\n" for i in range(200)))
    (tmp_path / "cut.gz").write_bytes(text[:-30])
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as file:
        file.writestr("a", "x")
        file.writestr("b", "x")
    backwards = archive(tmp_path / "back.zip", [bm.snapshot(9, 1), *(bm.book(i, 2 + i) for i in range(5))])
    for path, match in (
        (cut, "cannot be read"),
        (tmp_path / "cut.gz", "truncated"),
        (two, "a zip of 2 files"),
        (archive(tmp_path / "other.zip", [bm.snapshot(0, 1, symbol="ETHUSDT")]), "no order book of BTCUSDT"),
        (archive(tmp_path / "none.zip", [bm.book(0, 1000), bm.book(1, 1001)]), "no snapshot in 2 rows"),
        (archive(tmp_path / "json.zip", [start, b"{]\n"]), r"bad_json 1.*json.zip:2"),
        (backwards, r"time_backwards 1.*back.zip:2"),
    ):
        with pytest.raises(ImportRefused, match=match):
            import_bybit_ob500([path], tmp_path / "catalog", BTC)
        assert not list((tmp_path / "catalog").rglob("*.parquet"))


# ---- trades


def linear_csv(samples) -> tuple[str, list[dict]]:
    trades = [t for m in recorded(samples, "publicTrade.DOGEUSDT") for t in m["data"]]
    trades.sort(key=lambda t: t["T"])
    head = (
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"
    )
    rows = [
        f"{t['T'] // 1000}.{t['T'] % 1000:03}1,{t['s']},{t['S']},{t['v']},{t['p']},{t['L']},{t['i']},1e9,1,1"
        for t in trades
    ]
    return head + "\n".join(rows) + "\n", trades


def spot_csv(samples) -> tuple[str, list[dict]]:
    trades = [t for m in recorded(samples, "publicTrade.ETHUSDT", "BYBIT.ws.3") for t in m["data"]]
    rows = [f"{i},{t['T']},{t['p']},{t['v']},{t['S'].lower()},0" for i, t in enumerate(trades, 1)]
    return "id,timestamp,price,volume,side,rpi\n" + "\n".join(rows) + "\n", trades


def packed(path, text: str):
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.mark.parametrize("market", ["linear", "spot"])
def test_trade_archives_of_both_markets_import(samples, tmp_path, market):
    text, trades = (linear_csv if market == "linear" else spot_csv)(samples)
    name = "DOGEUSDT2026-08-09.csv.gz" if market == "linear" else "ETHUSDT_2026-08-09.csv.gz"
    instrument = bm.DOGE if market == "linear" else bm.ETH
    report = import_bybit_trades([packed(tmp_path / name, text)], tmp_path / "catalog")
    assert report.instrument_id == instrument
    assert report.refused == {}
    assert report.written == {"deltas": 0, "batches": 0, "trades": len(trades)}
    spec = load_instrument(tmp_path / "catalog", instrument)
    events = stored(tmp_path / "catalog", instrument)
    assert [spec.price(int(p)) for p in events["price"]] == [float(t["p"]) for t in trades]
    assert [spec.size(int(s)) for s in events["size"]] == [float(t["v"]) for t in trades]
    assert events["side"].tolist() == [1 if t["S"] == "Buy" else -1 for t in trades]
    assert (events["ts_event_ns"] // bm.MS).tolist() == [t["T"] for t in trades]
    assert len(set(events["sequence"].tolist())) == len(trades)
    if market == "linear":
        assert set(events["ts_event_ns"] % bm.MS) == {100_000}  # the tenth of a millisecond is kept


def test_overlapping_trade_archives_give_each_trade_once(samples, tmp_path):
    text, trades = linear_csv(samples)
    head, *rows = text.splitlines(keepends=True)
    late = packed(tmp_path / "late.csv.gz", head + "".join(rows[20:]))
    early = packed(tmp_path / "early.csv.gz", head + "".join(rows[:50]))
    report = import_bybit_trades([late, early], tmp_path / "catalog")
    assert report.kept == {"trade": len(trades)}
    assert report.noted == {"repeated_trade": 30}
    packed_whole = packed(tmp_path / "whole.csv.gz", text)
    import_bybit_trades([packed_whole], tmp_path / "whole")
    np.testing.assert_array_equal(
        stored(tmp_path / "catalog", bm.DOGE)["price"], stored(tmp_path / "whole", bm.DOGE)["price"]
    )


def test_bad_trades_are_counted_with_their_line(samples, tmp_path):
    text, trades = linear_csv(samples)
    head, *rows = text.splitlines(keepends=True)
    bad = {
        3: ("non_positive_price", lambda c: [*c[:4], "0", *c[5:]]),
        5: ("negative_size", lambda c: [*c[:3], "-1", *c[4:]]),
        7: ("bad_side", lambda c: [*c[:2], "Bought", *c[3:]]),
        9: ("not_a_number", lambda c: [*c[:4], "x", *c[5:]]),
        11: ("bad_time", lambda c: ["soon", *c[1:]]),
        13: ("off_grid", lambda c: [*c[:4], "0.0705555555", *c[5:]]),
        15: ("time_backwards", lambda c: ["1600000000.1", *c[1:]]),
        17: ("wrong_symbol", lambda c: [c[0], "BTCUSDT", *c[2:]]),
        19: ("not_a_number", lambda c: c[:3]),
    }
    for at, (_, spoil) in bad.items():
        rows[at] = ",".join(spoil(rows[at].rstrip("\n").split(","))) + "\n"
    rows.insert(40, rows[39])
    path = packed(tmp_path / "t.csv.gz", head + "".join(rows))
    report = import_bybit_trades([path], tmp_path / "catalog", max_bad_share=1.0)
    wanted = {"duplicate": 1}
    for reason, _ in bad.values():
        wanted[reason] = wanted.get(reason, 0) + 1
    assert report.refused == wanted
    assert report.kept["trade"] == len(trades) - len(bad)
    told = " ".join(report.examples)
    for at, (reason, _) in bad.items():
        if reason != "not_a_number":
            assert f"t.csv.gz:{at + 2}: {reason}" in told
    with pytest.raises(ImportRefused, match="rows are bad"):
        import_bybit_trades([path], tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.parquet"))


def test_trade_files_of_other_formats_or_markets_are_refused(samples, tmp_path):
    spot, _ = spot_csv(samples)
    for path, name, match in (
        (packed(tmp_path / "x.csv.gz", "a,b\n1,2\n"), None, "not a trade archive"),
        (packed(tmp_path / "trades.csv.gz", spot), None, "does not name its symbol"),
        (packed(tmp_path / "ETHUSDT_2026-08-09.csv.gz", spot), bm.DOGE, "is a spot archive"),
        (packed(tmp_path / "e.csv.gz", ""), None, "is empty"),
    ):
        with pytest.raises(ImportRefused, match=match):
            import_bybit_trades([path], tmp_path / "catalog", name)
    assert not (tmp_path / "catalog").exists()


@given(data=st.data())
def test_mutated_archives_end_in_an_import_or_a_refusal(samples, tmp_path_factory, data):
    text, _ = linear_csv(samples)
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "t.csv").write_bytes(bytes(raw))
    try:
        report = import_bybit_trades([folder / "t.csv"], folder / "catalog", bm.DOGE, max_bad_share=1.0)
    except DataError:
        assert not list(folder.glob("catalog/**/*.parquet"))
        return
    assert report.written["trades"] == stored(folder / "catalog", bm.DOGE).size
