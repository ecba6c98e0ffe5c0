"""Cut the recordings under tests/data out of the originals: lines and candles as they are, only fewer.

    python scripts/cut_excerpt.py capture SOURCE.gz TARGET.gz --seconds 90
    python scripts/cut_excerpt.py capture SOURCE.gz TARGET.gz --seconds 40 --ticker-every 0
    python scripts/cut_excerpt.py bybit SOURCE.zst TARGET.gz --keep ws.2:DOGEUSDT --keep ws.3:ETHUSDT
    python scripts/cut_excerpt.py candles SOURCE.feather TARGET.feather --from 2025-04-01 --days 10

The gzip stream carries no name and no time, so that cutting again gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa


def cut_capture(source: Path, target: Path, seconds: float, ticker_every: int = 1) -> int:
    """Copy the first `seconds` of a capture, by its receive times; return the lines copied.

    Of the bookTicker lines, which say again what the book says, only every `ticker_every`-th is kept; 0 keeps
    none.
    """
    lines = tickers = 0
    end = None
    with (
        gzip.open(source, "rb") as read,
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as write,
    ):
        for line in read:
            receive = int(line.partition(b" ")[0])
            end = receive + round(seconds * 1e9) if end is None else end
            if receive >= end:
                break
            if b"@bookTicker" in line[:80]:
                tickers += 1
                if not ticker_every or tickers % ticker_every:
                    continue
            write.write(line)
            lines += 1
    return lines


def cut_bybit(source: Path, target: Path, keep: set[tuple[str, str]]) -> int:
    """Copy the lines of some symbols of cryptofeed's recording of Bybit; return how many.

    `keep` holds (connection, symbol). Of the REST answers only those symbols are left; other lines (the
    header, connections, answers to subscriptions) stay.
    """
    symbols = {symbol for _, symbol in keep}
    out: list[bytes] = []
    with pa.CompressedInputStream(pa.OSFile(str(source)), "zstd") as stream:
        for raw in filter(None, stream.read().split(b"\n")):
            line = json.loads(raw)
            if line["t"] == "http":
                answer = json.loads(line["data"])
                listed = answer["result"]["list"]
                answer["result"]["list"] = [i for i in listed if i["symbol"] in symbols]
                line["data"] = json.dumps(answer, separators=(",", ":"))
                out.append(json.dumps(line, separators=(",", ":")).encode())
            elif line["t"] in ("header", "connect"):
                out.append(raw)
            elif line["t"] == "recv":
                topic = json.loads(line["data"]).get("topic")
                place = (line["conn"].partition(".")[2], topic.rpartition(".")[2] if topic else "")
                if topic is None or place in keep:
                    out.append(raw)
    target.write_bytes(gzip.compress(b"\n".join(out) + b"\n", 9, mtime=0))
    return len(out)


def cut_candles(source: Path, target: Path, first: date, days: int) -> int:
    """Copy the candles that open on `days` days from `first` on (UTC); return how many."""
    frame = pl.read_ipc(source.open("rb"))
    day = pl.col("date").dt.date()
    frame = frame.filter((day >= first) & (day < first + timedelta(days=days)))
    frame.write_ipc(target, compression="zstd")
    return frame.height


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("capture", "bybit", "candles"):
        sub = kinds.add_parser(kind)
        sub.add_argument("source", type=Path)
        sub.add_argument("target", type=Path)
    kinds.choices["capture"].add_argument("--seconds", type=float, required=True)
    kinds.choices["capture"].add_argument("--ticker-every", type=int, default=1)
    kinds.choices["bybit"].add_argument("--keep", action="append", required=True, metavar="CONNECTION:SYMBOL")
    kinds.choices["candles"].add_argument("--from", dest="first", type=date.fromisoformat, required=True)
    kinds.choices["candles"].add_argument("--days", type=int, required=True)
    args = parser.parse_args()
    if args.kind == "capture":
        print(f"{cut_capture(args.source, args.target, args.seconds, args.ticker_every)} lines")
    elif args.kind == "bybit":
        keep = {tuple(k.split(":", 1)) for k in args.keep}
        print(f"{cut_bybit(args.source, args.target, keep)} lines")
    else:
        print(f"{cut_candles(args.source, args.target, args.first, args.days)} candles")


if __name__ == "__main__":
    main()
