"""A tiny capture made by hand: a book, diffs, trades and tickers with consistent update ids."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

START_NS = 1_700_000_000_000_000_000
SYMBOL = "BTCUSDT"


def line(receive_ns: int, message: dict) -> bytes:
    return f"{receive_ns} {json.dumps(message, separators=(',', ':'))}\n".encode()


def at(i: int) -> int:
    """Receive time of the i-th message, nanoseconds."""
    return START_NS + i * 10_000_000


def depth(i: int, U: int, u: int, pu: int | None, bids=(), asks=(), symbol: str = SYMBOL) -> bytes:
    data = {
        "e": "depthUpdate",
        "E": at(i) // 10**6,
        "s": symbol,
        "U": U,
        "u": u,
        "b": list(bids),
        "a": list(asks),
    }
    if pu is not None:
        data |= {"T": at(i) // 10**6, "pu": pu}
    return line(at(i), {"stream": f"{symbol.lower()}@depth@0ms", "data": data})


def trade(
    i: int, number: int, price: str = "100.0", size: str = "0.5", maker: bool = False, **other
) -> bytes:
    data = {
        "e": "trade",
        "E": at(i) // 10**6,
        "T": at(i) // 10**6,
        "s": SYMBOL,
        "t": number,
        "p": price,
        "q": size,
    }
    return line(at(i), {"stream": "btcusdt@trade", "data": data | {"m": maker} | other})


def ticker(i: int, u: int, bid: tuple[str, str], ask: tuple[str, str]) -> bytes:
    data = {"e": "bookTicker", "u": u, "s": SYMBOL, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
    return line(at(i), {"stream": "btcusdt@bookTicker", "data": data})


def snapshot(i: int, last_id: int, bids=(("99.9", "1.000"),), asks=(("100.1", "1.000"),)) -> bytes:
    return line(
        at(i), {"lastUpdateId": last_id, "E": at(i) // 10**6, "T": at(i) // 10**6, "bids": bids, "asks": asks}
    )


def small_futures_capture() -> list[bytes]:
    """Ten good messages: a snapshot with id 100 and diffs 90..99, 100..105, 106..110, 111..120."""
    return [
        depth(0, 90, 99, 80, [("99.0", "7.000")]),
        snapshot(1, 100),
        trade(2, 1),
        depth(3, 100, 105, 99, [("99.9", "2.000")], [("100.2", "3.000")]),
        ticker(4, 104, ("99.9", "2.000"), ("100.1", "1.000")),
        depth(5, 106, 110, 105, [("100.0", "1.500")], [("100.1", "0.000")]),
        ticker(6, 109, ("100.0", "1.500"), ("100.2", "3.000")),
        trade(7, 2, "100.2", "0.100"),
        depth(8, 111, 120, 110, [("100.0", "0.000")]),
        ticker(9, 119, ("99.9", "2.000"), ("100.2", "3.000")),
    ]


def write(path: Path, lines: list[bytes]) -> Path:
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(b"".join(lines))
    return path
