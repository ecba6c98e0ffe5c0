"""A live node records a session that a venue on loopback replays; the catalog then holds what was sent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from apex_nautilus.cli.data_commands.record import command
from apex_nautilus.data import load_instrument, read_bars, read_events
from apex_nautilus.engine import ConfigError
from apex_nautilus.engine.recording import load_record_config
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_TRADE
from tests.support.venue_streams import (
    Session,
    Stream,
    VenueStreams,
    binance_session,
    bybit_rest,
    bybit_streams,
    read_session,
)

CAPTURE = Path(__file__).parents[1] / "data" / "bybit_v5_20260809.jsonl.gz"
BINANCE = CAPTURE.with_name("btcusdt_usdm_20240808.gz")
LINEAR, SPOT = "/v5/public/linear", "/v5/public/spot"
SYMBOLS = {LINEAR: "DOGEUSDT", SPOT: "ETHUSDT"}
IDS = {LINEAR: "DOGEUSDT-LINEAR.BYBIT", SPOT: "ETHUSDT-SPOT.BYBIT"}
TOPICS = {
    path: frozenset({f"orderbook.200.{symbol}", f"publicTrade.{symbol}", f"kline.1.{symbol}"})
    for path, symbol in SYMBOLS.items()
}
TIMEOUT = 90.0


@pytest.fixture(scope="module")
def session() -> Session:
    return read_session(CAPTURE)


def write_config(folder: Path, venue: dict, **fields: object) -> Path:
    content = {
        "schema": "apex.record/1",
        "name": "loopback",
        "venues": [venue],
        "record": ["deltas", "trades", "bars"],
        "bars": ["1m"],
        "catalog": "catalog",
        "streams": "streams",
        "connect_timeout_s": 20.0,
    } | fields
    path = folder / "record.json"
    path.write_text(json.dumps(content))
    return path


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "apex_nautilus.cli.apex", "data", "record", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_all(*configs: Path) -> list[dict]:
    """Record what each configuration says, one after the other, in one process; return the outcomes."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.recorder_process", *map(str, configs)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def record_all(config: Path, venue: VenueStreams) -> list[dict]:
    """Run the recorder until the venue has sent everything; return its reports."""
    process = start(str(config), "--json")
    try:
        done = venue.wait_done(TIMEOUT)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        if process.poll() is None:
            process.kill()
    assert done, f"not everything was taken: {venue.streams}\n{err}"
    assert process.returncode == 0, err
    return json.loads(out)


# ---- the oracle: books and trades from the messages, with nothing but dictionaries


def units(text: str, precision: int) -> int:
    value = Decimal(text).scaleb(precision)
    assert value == int(value)
    return int(value)


def sent_books(
    messages: list[tuple[str, str]], price: int, size: int
) -> Iterator[tuple[int, int, dict, dict]]:
    """(venue time, sequence, bids, asks) after each message of a Bybit book."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    for topic, text in messages:
        if not topic.startswith("orderbook"):
            continue
        message = json.loads(text)
        if message["type"] == "snapshot":
            bids, asks = {}, {}
        for book, name in ((bids, "b"), (asks, "a")):
            for level, amount in message["data"][name]:
                book.pop(units(level, price), None)
                if units(amount, size):
                    book[units(level, price)] = units(amount, size)
        yield message["ts"] * 1_000_000, message["data"]["seq"], dict(bids), dict(asks)


def sent_trades(messages: list[tuple[str, str]], price: int, size: int) -> list[tuple[int, int, int, int]]:
    return [
        (t["T"] * 1_000_000, units(t["p"], price), units(t["v"], size), 1 if t["S"] == "Buy" else -1)
        for topic, text in messages
        if topic.startswith("publicTrade")
        for t in json.loads(text)["data"]
    ]


def stored_books(events: np.ndarray) -> Iterator[tuple[int, int, dict, dict]]:
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    for event in events[events["kind"] != KIND_TRADE]:
        if event["kind"] == KIND_CLEAR:
            sides = {1: {}, -1: {}}
        else:
            sides[int(event["side"])].pop(int(event["price"]), None)
            if event["size"]:
                sides[int(event["side"])][int(event["price"])] = int(event["size"])
        if event["flags"] & FLAG_LAST:
            yield int(event["ts_event_ns"]), int(event["sequence"]), dict(sides[1]), dict(sides[-1])


def assert_holds_what_was_sent(catalog: Path, session: Session) -> None:
    for path, instrument_id in IDS.items():
        spec = load_instrument(catalog, instrument_id)
        precision = (spec.price_precision, spec.size_precision)
        events = np.concatenate(list(read_events(catalog, instrument_id)))
        sent = list(sent_books(session.messages[path], *precision))
        stored = list(stored_books(events))
        assert len(stored) == len(sent) >= 250
        for mine, theirs in zip(stored, sent, strict=True):
            assert mine == theirs
        trades = events[events["kind"] == KIND_TRADE]
        assert [
            (int(t["ts_event_ns"]), int(t["price"]), int(t["size"]), int(t["side"])) for t in trades
        ] == sent_trades(session.messages[path], *precision)
        assert (np.diff(events["ts_init_ns"]) >= 0).all()


def bybit_venue(session: Session) -> VenueStreams:
    return VenueStreams(bybit_rest(session), bybit_streams(session, TOPICS))


def bybit_config(folder: Path, venue: VenueStreams, **fields: object) -> Path:
    described = {
        "venue": "bybit",
        "instruments": list(IDS.values()),
        "base_url_http": venue.http,
        "base_url_ws": venue.ws,
    }
    return write_config(folder, described, **fields)


def test_a_recorded_session_holds_every_level_and_every_trade_that_was_sent(tmp_path, session):
    with bybit_venue(session) as venue:
        reports = record_all(bybit_config(tmp_path, venue), venue)
    assert not venue.errors
    assert {r["instrument_id"] for r in reports} == set(IDS.values())
    assert all(not r["refused"] for r in reports)
    assert_holds_what_was_sent(tmp_path / "catalog", session)
    for path, instrument_id in IDS.items():
        bars = read_bars(tmp_path / "catalog", f"{instrument_id}-1-MINUTE-LAST-EXTERNAL")
        closed = [
            k
            for topic, text in session.messages[path]
            if topic.startswith("kline")
            for k in json.loads(text)["data"]
            if k["confirm"]
        ]
        spec = load_instrument(tmp_path / "catalog", instrument_id)
        assert [int(b["ts_ns"]) for b in bars] == [(k["end"] + 1) * 1_000_000 for k in closed]
        assert [int(b["close"]) for b in bars] == [units(k["close"], spec.price_precision) for k in closed]
    spec = load_instrument(tmp_path / "catalog", IDS[LINEAR])
    assert (spec.tick, spec.lot, spec.min_notional) == (0.00001, 1.0, 5.0)
    assert (spec.maker_fee, spec.taker_fee) == (0.0002, 0.00055)  # not the 0.1 % of a client without keys


def test_a_killed_recorder_leaves_streams_that_are_converted_later(tmp_path, session):
    with bybit_venue(session) as venue:
        config = bybit_config(tmp_path, venue, flush_s=0.001)
        process = start(str(config))
        try:
            assert venue.wait_done(TIMEOUT)
            wait_for(lambda: len(flushed(tmp_path / "streams", 50_000)) == 2)
        finally:
            process.kill()
            process.communicate()
    assert not (tmp_path / "catalog").exists()
    result = CliRunner().invoke(command, [str(config), "--convert-only", "--json"])
    assert result.exit_code == 0, result.output
    for report in json.loads(result.stdout):
        assert not report["refused"]
    # What was flushed is the beginning of what was sent, book by book.
    for path, instrument_id in IDS.items():
        spec = load_instrument(tmp_path / "catalog", instrument_id)
        events = np.concatenate(list(read_events(tmp_path / "catalog", instrument_id)))
        stored = list(stored_books(events))
        sent = list(sent_books(session.messages[path], spec.price_precision, spec.size_precision))
        assert 10 < len(stored) <= len(sent)
        assert stored == sent[: len(stored)]
    again = CliRunner().invoke(command, [str(config), "--convert-only"])
    assert again.exit_code == 0
    assert "no recording named 'loopback'" in again.stderr


def flushed(streams: Path, size: int) -> list[Path]:
    return [p for p in streams.glob("live/*/order_book_deltas/*/*.feather") if p.stat().st_size > size]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fails after `TIMEOUT`."""
    idle = threading.Event()
    for _ in range(int(TIMEOUT / 0.05)):
        if condition():
            return
        idle.wait(0.05)
    raise AssertionError("waited in vain")


def test_a_connection_that_drops_leaves_a_book_that_begins_again_at_the_new_snapshot(tmp_path, session):
    whole = session.messages[LINEAR]

    def resume(sent: int) -> list[str]:
        """What Bybit sends first on a new connection: the book as it stands, as a snapshot."""
        last = None
        for topic, text in whole[:sent]:
            if topic.startswith("orderbook"):
                last = json.loads(text)
        assert last is not None
        *_, (_, _, bids, asks) = sent_books(whole[:sent], 5, 0)
        last["type"] = "snapshot"
        last["data"]["b"] = [[f"{p / 100_000:.5f}", str(s)] for p, s in sorted(bids.items(), reverse=True)]
        last["data"]["a"] = [[f"{p / 100_000:.5f}", str(s)] for p, s in sorted(asks.items())]
        return [json.dumps(last)]

    stream = Stream(TOPICS[LINEAR], whole, drop_after=300, resume=resume)
    with VenueStreams(bybit_rest(session), {LINEAR: stream}) as venue:
        described = {
            "venue": "bybit",
            "instruments": [IDS[LINEAR]],
            "base_url_http": venue.http,
            "base_url_ws": venue.ws,
        }
        (report,) = record_all(write_config(tmp_path, described), venue)
    assert stream.connections == 2
    assert not report["refused"]
    assert report["kept"]["snapshot"] == 2
    events = np.concatenate(list(read_events(tmp_path / "catalog", IDS[LINEAR])))
    stored = list(stored_books(events))
    sent = list(sent_books(whole, 5, 0))
    assert len(stored) == len(sent) + 1
    assert [b for b in stored if b in sent] == stored  # the snapshot repeats the book before the cut
    assert stored[-1] == sent[-1]


def test_what_hinders_a_recording_is_told_in_time_and_never_waited_for(tmp_path, session):
    bybit = {"venue": "bybit", "instruments": [IDS[LINEAR]]}
    nowhere = {"base_url_http": "http://127.0.0.1:9", "base_url_ws": "ws://127.0.0.1:9"}
    silent = Stream(frozenset({"never asked for"}), [])
    with VenueStreams(bybit_rest(session), {LINEAR: silent}) as venue:
        here = {"base_url_http": venue.http, "base_url_ws": venue.ws}
        unlisted = {"instruments": ["NOSUCHUSDT-LINEAR.BYBIT"]}
        cases = [
            (
                bybit | nowhere,
                {"connect_timeout_s": 1.0},
                "not connected within 1 s: bybit (http://127.0.0.1:9)",
            ),
            (bybit | here, {"silence_timeout_s": 0.5}, "nothing was heard for 0.5 s"),
            (
                bybit | here | unlisted,
                {"connect_timeout_s": 1.0},
                "that the venue lists NOSUCHUSDT-LINEAR.BYBIT",
            ),
        ]
        configs = []
        for i, (described, fields, _) in enumerate(cases):
            (tmp_path / str(i)).mkdir()
            configs.append(write_config(tmp_path / str(i), described, **fields))
        outcomes = run_all(*configs)
    for outcome, (_, _, message) in zip(outcomes, cases, strict=True):
        assert message in outcome["error"]


def venue_json(**fields: object) -> dict:
    return {"venue": "bybit", "instruments": [IDS[LINEAR]]} | fields


@pytest.mark.parametrize(
    ("described", "fields", "message"),
    [
        (venue_json(api_key="x"), {}, "venues[0].api_key: is not a field here"),
        (venue_json(venue="kraken"), {}, "venues[0].venue: Invalid enum value 'kraken'"),
        (venue_json(depth=100), {}, "venues[0].depth: Bybit sends books of 1, 50, 200, 500, 1000 levels"),
        (venue_json(instruments=[]), {}, "venues[0].instruments: at least one"),
        (
            venue_json(instruments=["BTCUSDT-PERP.BINANCE"]),
            {},
            "venues[0].instruments[0]: 'BTCUSDT-PERP.BINANCE' is",
        ),
        (
            venue_json(instruments=[IDS[LINEAR]] * 2),
            {},
            "venues[0].instruments[1]: DOGEUSDT-LINEAR.BYBIT is named",
        ),
        (
            venue_json(base_url_http="http://x"),
            {},
            "venues[0].base_url_ws: give base_url_http and base_url_ws",
        ),
        (
            venue_json(base_url_http="x", base_url_ws="ws://x"),
            {},
            "venues[0].base_url_http: 'x' does not begin",
        ),
        (venue_json(), {"bars": []}, "bars: name their lengths"),
        (venue_json(), {"bars": ["1w"]}, "bars[0]: '1w' is no length of time"),
        (venue_json(), {"flush_s": 0.0}, "flush_s: must be finite and positive"),
        (venue_json(), {"name": "../x"}, "name: '../x' may hold letters"),
        (venue_json(), {"schema": "apex.record/2"}, "schema: Invalid enum value"),
        (
            venue_json(venue="binance-usdm", instruments=["X-PERP.BINANCE"], depth=20),
            {},
            "venues[0].depth: must be",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_told_by_file_and_field(tmp_path, described, fields, message):
    path = write_config(tmp_path, described, **fields)
    with pytest.raises(ConfigError) as caught:
        load_record_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["bybit", "binance"])
def test_the_configurations_that_come_along_can_be_read(name):
    folder = Path(__file__).parents[2] / "configs" / "record"
    config = load_record_config(folder / f"{name}.json")
    assert Path(config.catalog) == folder.parents[1] / "catalog" / "market"
    assert config.venues


def test_a_binance_session_is_recorded_with_its_snapshot_and_what_follows_it(tmp_path):
    rest, streams = binance_session(BINANCE, "BTCUSDT", 400)
    with VenueStreams(rest, streams) as venue:
        described = {
            "venue": "binance-usdm",
            "instruments": ["BTCUSDT-PERP.BINANCE"],
            "depth": 1000,
            "base_url_http": venue.http,
            "base_url_ws": venue.ws,
        }
        config = write_config(tmp_path, described)
        (report,) = record_all(config, venue)
    assert not report["refused"]
    spec = load_instrument(tmp_path / "catalog", "BTCUSDT-PERP.BINANCE")
    assert (spec.tick, spec.lot, spec.min_notional) == (0.1, 0.001, 100.0)
    assert (spec.maker_fee, spec.taker_fee) == (0.0002, 0.0005)
    precision = (spec.price_precision, spec.size_precision)
    first = json.loads(rest["/fapi/v1/depth"]({"symbol": "BTCUSDT"}))
    book = {1: {}, -1: {}}
    expected = []
    for message in [first, *(json.loads(text)["data"] for text in texts(streams, "depth"))]:
        last = message.get("lastUpdateId", message.get("u"))
        if last < first["lastUpdateId"]:
            continue  # older than the snapshot
        names = ("bids", "asks") if message is first else ("b", "a")
        for side, name in zip((1, -1), names, strict=True):
            for price, size in message[name]:
                book[side].pop(units(price, precision[0]), None)
                if units(size, precision[1]):
                    book[side][units(price, precision[0])] = units(size, precision[1])
        expected.append((last, dict(book[1]), dict(book[-1])))
    events = np.concatenate(list(read_events(tmp_path / "catalog", "BTCUSDT-PERP.BINANCE")))
    stored = [(sequence, bids, asks) for _, sequence, bids, asks in stored_books(events)]
    assert len(stored) == len(expected) > 380
    for mine, theirs in zip(stored, expected, strict=True):
        assert mine == theirs
    trades = [json.loads(text)["data"] for text in texts(streams, "aggTrade")]
    trades = [t for t in trades if t["e"] == "aggTrade"]
    (bar,) = read_bars(tmp_path / "catalog", "BTCUSDT-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL")
    assert [int(bar[name]) for name in bar.dtype.names] == [
        1723161300_000_000_000,  # the full minute: Binance's own close is a millisecond before it
        *(units(p, precision[0]) for p in ("61800.00", "61820.00", "61790.10", "61810.50")),
        units("12.345", precision[1]),
    ]
    assert [
        (int(t["sequence"]), int(t["price"]), int(t["size"]), int(t["side"]))
        for t in events[events["kind"] == KIND_TRADE]
    ] == [
        (t["a"], units(t["p"], precision[0]), units(t["q"], precision[1]), -1 if t["m"] else 1)
        for t in trades
    ]


def texts(streams: dict[str, Stream], topic: str) -> list[str]:
    return [text for path, s in streams.items() if topic in path for _, text in s.messages]
