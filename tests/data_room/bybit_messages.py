"""Bybit messages made by hand, and an order book of dictionaries to hold the importers against."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
DOGE, ETH = "DOGEUSDT-LINEAR.BYBIT", "ETHUSDT-SPOT.BYBIT"
SYMBOL = "BTCUSDT"
LINEAR = "wss://stream.bybit.com/v5/public/linear"


def at(i: int) -> int:
    """Receive time of the i-th message, nanoseconds."""
    return START_NS + i * 100 * MS


def book(i, u, bids=(), asks=(), kind="delta", *, symbol=SYMBOL, depth=200, seq=None, cts=None) -> dict:
    return {
        "topic": f"orderbook.{depth}.{symbol}",
        "type": kind,
        "ts": at(i) // MS - 1,
        "data": {
            "s": symbol,
            "b": list(bids),
            "a": list(asks),
            "u": u,
            "seq": u * 10 if seq is None else seq,
        },
        "cts": at(i) // MS - 3 if cts is None else cts,
    }


def trade(i, number, price="100.0", size="0.5", side="Buy", symbol=SYMBOL, **other) -> dict:
    data = {
        "T": at(i) // MS - 2,
        "s": symbol,
        "S": side,
        "v": size,
        "p": price,
        "i": str(number),
        "BT": False,
    }
    return {"topic": f"publicTrade.{symbol}", "type": "snapshot", "ts": at(i) // MS, "data": [data | other]}


def ticker(i, cs, bid=("99.9", "1"), ask=("100.1", "1"), symbol=SYMBOL) -> dict:
    data = {
        "symbol": symbol,
        "bid1Price": bid[0],
        "bid1Size": bid[1],
        "ask1Price": ask[0],
        "ask1Size": ask[1],
    }
    return {"topic": f"tickers.{symbol}", "type": "snapshot", "data": data, "cs": cs, "ts": at(i) // MS}


def snapshot(
    i, u, bids=(("99.9", "1"), ("99.8", "2")), asks=(("100.1", "1"), ("100.2", "2")), **other
) -> dict:
    return book(i, u, bids, asks, "snapshot", **other)


def line(receive_ns: int, message: dict) -> bytes:
    return f"{receive_ns} {json.dumps(message, separators=(',', ':'))}\n".encode()


def feed_line(receive_ns: int, message: dict, conn: str = "BYBIT.ws.2") -> bytes:
    """A line as cryptofeed writes it."""
    data = json.dumps(message, separators=(",", ":"))
    record = {"t": "recv", "conn": conn, "ts": receive_ns / 1e9, "data": data}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def connect(conn: str = "BYBIT.ws.2", address: str = LINEAR) -> bytes:
    return json.dumps({"t": "connect", "conn": conn, "ts": START_NS / 1e9, "addr": address}).encode() + b"\n"


def small_capture() -> list[dict]:
    """A snapshot, deltas, trades and a ticker, in order."""
    return [
        snapshot(0, 100),
        trade(1, 1),
        book(2, 101, [("99.9", "3")], [("100.2", "0")]),
        ticker(3, 1010, ("99.9", "3"), ("100.1", "1")),
        book(4, 102, [("100.0", "1.5")], [("100.1", "0"), ("100.3", "4")]),
        trade(5, 2, "100.3", "0.2", "Sell"),
        book(6, 103, [("99.7", "9")]),
    ]


def write(path: Path, lines: list[bytes]) -> Path:
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(b"".join(lines))
    return path


def replay(messages: list[dict]) -> dict[str, dict[str, str]]:
    """Apply order book messages to dictionaries: {"b": {price: size}, "a": {price: size}}."""
    held: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    for m in messages:
        if m["type"] == "snapshot" or m["data"]["u"] == 1:
            held = {"b": {}, "a": {}}
        for side in ("b", "a"):
            for price, size in m["data"][side]:
                if float(size) == 0:
                    held[side].pop(price, None)
                else:
                    held[side][price] = size
    return held
