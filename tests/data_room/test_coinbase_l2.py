"""Coinbase recordings: both shapes, against a book of dictionaries; and every kind of damage."""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.data import DataError, ImportRefused, load_instrument, read_events
from apex_nautilus.data.importers.coinbase_l2 import import_coinbase_l2
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.features import KIND_CLEAR, KIND_TRADE

BTC = "BTC-USD.COINBASE"


def stored(catalog):
    return np.concatenate(list(read_events(catalog, BTC)))


def levels(events) -> tuple[dict, dict]:
    ladder = Ladder()
    ladder.apply(events)
    n = len(ladder)
    return dict(ladder.bids(n).tolist()), dict(ladder.asks(n).tolist())


def tables(folder, snapshot, changes):
    """Write the two kinds of table."""
    (folder / "snapshot.csv").write_text("side,price,size\n" + "".join(f"{','.join(r)}\n" for r in snapshot))
    path = folder / "changes.csv.gz"
    path.write_bytes(
        gzip.compress(("side,price,size,time\n" + "".join(f"{','.join(r)}\n" for r in changes)).encode())
    )
    return [folder / "snapshot.csv", path]


BOOK = [("buy", "99.9", "1"), ("buy", "99.8", "2"), ("sell", "100.1", "1.5"), ("sell", "9999999999", "0.02")]


def second(i: float) -> str:
    return f"2018-04-24T03:52:{i:06.3f}Z"


def test_the_whole_hour_imports_and_ends_in_the_same_book_as_dictionaries_give(shared_data, tmp_path):
    folder = shared_data / "coinbase-l2-2018"
    snapshots = [folder / "snapshot_bids.csv.gz", folder / "snapshot_asks.csv.gz"]
    changes = sorted(folder.glob("l2update*.csv.gz"))
    report = import_coinbase_l2([*snapshots, *changes], tmp_path / "catalog")
    assert report.refused == {}
    assert report.kept == {"level": 27_819 + 193_848, "snapshot": 1}
    assert report.written["batches"] == 191_612
    held: dict[str, dict[int, int]] = {"buy": {}, "sell": {}}
    for path in [*snapshots, *changes]:
        with gzip.open(path, "rt", newline="") as file:
            for row in csv.DictReader(file):
                price = int(Decimal(row["price"]) * 100)
                size = round(Decimal(row["size"]) * 10**8)
                if size:
                    held[row["side"]][price] = size
                else:
                    held[row["side"]].pop(price, None)
    events = stored(tmp_path / "catalog")
    assert levels(events) == (held["buy"], held["sell"])
    touches = Ladder().apply(events)
    assert (touches[:, 2] < touches[:, 3]).all()
    assert (events["kind"] == KIND_CLEAR).sum() == 1


def test_raw_messages_import_with_their_matches(shared_data, tmp_path):
    path = shared_data / "coinbase-l2-2018" / "raw_mongo_input.csv.gz"
    report = import_coinbase_l2([path], tmp_path / "catalog")
    assert report.refused == {}
    assert report.kept == {"snapshot": 1, "l2update": 18_093, "match": 256}
    assert report.noted["receive_time_raised"] == 200
    events = stored(tmp_path / "catalog")
    trades = events[events["kind"] == KIND_TRADE]
    # A recorded match: the maker sold, so the taker bought; and its time to the microsecond.
    with gzip.open(path, "rt", newline="") as file:
        csv.field_size_limit(1 << 26)
        first = next(row for row in csv.DictReader(file) if row["type"] == "match")
    assert trades["side"][0] == (-1 if first["side"] == "buy" else 1)
    assert trades["sequence"][0] == int(float(first["trade_id"]))
    assert trades["price"][0] == int(Decimal(first["price"]) * 100)
    assert trades["ts_event_ns"][0] % 1_000_000_000 == int(first["time"][20:26]) * 1_000


def test_changes_of_one_instant_are_one_batch(tmp_path):
    changes = [
        ("buy", "100.05", "1", second(1)),
        ("sell", "100.1", "0", second(2)),  # alone this would be fine, with the next it crosses in passing
        ("buy", "100.3", "1", second(3)),
        ("sell", "100.3", "0", second(3)),
        ("sell", "100.4", "2", second(3)),
    ]
    report = import_coinbase_l2(tables(tmp_path, BOOK, changes), tmp_path / "catalog")
    assert report.refused == {}
    assert report.written["batches"] == 4
    spec = load_instrument(tmp_path / "catalog", BTC)
    assert (spec.kind, spec.base, spec.quote, spec.tick) == ("spot", "BTC", "USD", 0.01)
    assert levels(stored(tmp_path / "catalog"))[1] == {10040: 2 * 10**8, 999999999900: 2_000_000}


def test_bad_rows_are_counted_with_their_line(tmp_path):
    changes = [
        ("buy", "0", "1", second(1)),
        ("buy", "99.9", "-1", second(2)),
        ("bid", "99.9", "1", second(3)),
        ("buy", "99.905", "1", second(4)),
        ("buy", "x", "1", second(5)),
        ("buy", "99.9", "1", "noon"),
        ("buy", "99.9", "5", second(7)),
        ("buy", "99.7", "5", second(6)),
        ("buy", "99.9"),
    ]
    paths = tables(tmp_path, BOOK, changes)
    report = import_coinbase_l2(paths, tmp_path / "catalog", max_bad_share=1.0)
    assert report.refused == {
        "non_positive_price": 1,
        "negative_size": 1,
        "bad_side": 1,
        "off_grid": 1,
        "not_a_number": 1,
        "bad_time": 2,
        "time_backwards": 1,
    }
    assert any(e.startswith("changes.csv.gz:2: non_positive_price") for e in report.examples)
    assert any(e.startswith("changes.csv.gz:9: time_backwards") for e in report.examples)
    assert levels(stored(tmp_path / "catalog"))[0] == {9990: 5 * 10**8, 9980: 2 * 10**8}
    with pytest.raises(ImportRefused, match="rows are bad"):
        import_coinbase_l2(paths, tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.parquet"))


def test_a_crossed_book_is_emptied_and_what_follows_is_out_of_step(tmp_path):
    changes = [("buy", "99.85", "3", second(1)), ("buy", "101", "1", second(2))]
    changes += [("buy", "99.5", "1", second(3 + i)) for i in range(4)]
    report = import_coinbase_l2(tables(tmp_path, BOOK, changes), tmp_path / "catalog", max_bad_share=1.0)
    assert report.refused == {"crossed_book": 1, "out_of_step": 4}
    events = stored(tmp_path / "catalog")
    assert levels(events) == ({}, {})
    assert events["kind"][-1] == KIND_CLEAR


def messages() -> list[dict]:
    common = {"product_id": "BTC-USD"}
    return [
        common | {"type": "snapshot", "bids": [["99.9", "1"], ["99.8", "2"]], "asks": [["100.1", "1"]]},
        common | {"type": "l2update", "time": second(1), "changes": [["buy", "99.9", "3"]]},
        common
        | {
            "type": "match",
            "time": second(0.5),
            "side": "sell",
            "price": "100.1",
            "size": "0.5",
            "trade_id": 7,
        },
        common
        | {
            "type": "l2update",
            "time": second(2),
            "changes": [["sell", "100.1", "0"], ["sell", "100.2", "1"]],
        },
        {"type": "heartbeat"},
    ]


def jsonl(path, rows):
    path.write_bytes(b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in rows))
    return path


def test_json_lines_import(tmp_path):
    report = import_coinbase_l2([jsonl(tmp_path / "a.jsonl", messages())], tmp_path / "catalog")
    assert report.kept == {"snapshot": 1, "l2update": 2, "match": 1}
    assert report.noted["receive_time_raised"] == 1
    events = stored(tmp_path / "catalog")
    assert levels(events) == ({9990: 3 * 10**8, 9980: 2 * 10**8}, {10020: 10**8})
    trade = events[events["kind"] == KIND_TRADE][0]
    assert (trade["side"], trade["sequence"]) == (1, 7)
    # The match is from before the change it was received after.
    assert trade["ts_init_ns"] >= events["ts_init_ns"][0] > trade["ts_event_ns"]


def test_a_bad_message_empties_the_book_until_the_next_snapshot(tmp_path):
    rows = messages()
    bad = rows[1] | {"time": second(3), "changes": [["buy", "0", "1"]]}
    after = rows[1] | {"time": second(4)}
    again = rows[0] | {"time": second(5), "bids": [["99", "1"]]}
    other = rows[1] | {"time": second(6), "product_id": "ETH-USD"}
    late = rows[1] | {"time": second(1)}
    stream = [*rows, bad, after, again, b"{]\n", other, late]
    report = import_coinbase_l2([jsonl(tmp_path / "a", stream)], tmp_path / "catalog", max_bad_share=1.0)
    assert report.refused == {
        "non_positive_price": 1,
        "out_of_step": 1,
        "bad_json": 1,
        "wrong_symbol": 1,
        "time_backwards": 1,
    }
    events = stored(tmp_path / "catalog")
    assert (events["kind"] == KIND_CLEAR).sum() == 3
    assert levels(events) == ({9900: 10**8}, {10010: 10**8})


def test_files_that_make_no_book_are_refused_and_leave_nothing(tmp_path):
    snapshot, changes = tables(tmp_path, BOOK, [("buy", "99.9", "3", second(1))])
    raw = jsonl(tmp_path / "raw.jsonl", messages())
    (tmp_path / "cut.gz").write_bytes(changes.read_bytes()[:-9])
    (tmp_path / "none").write_bytes(b"")
    for paths, match in (
        ([snapshot], "name both"),
        ([changes], "name both"),
        ([snapshot, raw], "cannot be imported together"),
        ([snapshot, tmp_path / "cut.gz"], "truncated"),
        ([tmp_path / "none"], "is empty"),
        ([jsonl(tmp_path / "no.jsonl", messages()[1:])], "no snapshot"),
    ):
        with pytest.raises(ImportRefused, match=match):
            import_coinbase_l2(paths, tmp_path / "catalog")
        assert not list((tmp_path / "catalog").rglob("*.parquet"))
    with pytest.raises(DataError, match=r"BASE-QUOTE\.COINBASE"):
        import_coinbase_l2([raw], tmp_path / "catalog", "BTCUSD")


@given(data=st.data())
def test_mutated_recordings_end_in_an_import_or_a_refusal(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    paths = tables(folder, BOOK, [("buy", "99.9", str(i), second(i)) for i in range(1, 20)])
    raw = jsonl(folder / "raw.jsonl", messages())
    chosen = data.draw(st.sampled_from([[*paths], [raw]]))
    target = chosen[-1]
    text = target.read_bytes()
    body = bytearray(gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    target.write_bytes(bytes(body))
    try:
        import_coinbase_l2(chosen, folder / "catalog", max_bad_share=1.0)
    except DataError:
        assert not list(folder.glob("catalog/**/*.parquet"))
        return
    touches = Ladder().apply(stored(folder / "catalog"))
    assert (touches[:, 2] < touches[:, 3]).all()
