"""Importing level-2 captures: JSON lines to a Nautilus catalog, ours and Nautilus's own ways.

Nautilus ships two: the Binance adapter's message schemas, which make `OrderBookDelta` objects of a websocket
message, and `BinanceOrderBookDeltaDataLoader` with `OrderBookDeltaDataWrangler`, which read Binance's own CSV
of depth updates. The first gets the very file that ours gets, the second the same updates as such a CSV,
written beforehand; both end in `ParquetDataCatalog.write_data`. Neither checks sequence, prices or crossings,
orders batches, or refuses anything; what is compared is what both do: the same level changes into a catalog.

The memory row is ours alone: the peak of a fresh process over an import of one file and of one four times as
long.
"""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.data import binance_instrument, import_binance_capture, read_events, to_nautilus_instrument
from apex_nautilus.features import KIND_LEVEL

from .harness import Row, compare, peer_version

__all__ = ["run"]

_ID = "BTCUSDT-PERP.BINANCE"
_SAMPLE = Path(__file__).resolve().parents[1] / "tests" / "data" / "btcusdt_usdm_20240808.gz"
_CSV = ("symbol", "timestamp", "first_update_id", "last_update_id", "side", "update_type", "price", "qty")
_CHANGES = ["side", "price", "size", "sequence"]


def _book_lines(source: Path, target: Path) -> list[dict]:
    """Write the lines of the book alone, the snapshot before the diffs it joins; return those diffs."""
    with gzip.open(source, "rb") as read:
        rows = [raw.partition(b" ") for raw in read]
    messages = [(stamp, text, msgspec.json.decode(text)) for stamp, _, text in rows]
    snapshot = next(text for _, text, m in messages if "lastUpdateId" in m)
    last = msgspec.json.decode(snapshot)["lastUpdateId"]
    joined = [
        (stamp, text, m["data"])
        for stamp, text, m in messages
        if "@depth" in m.get("stream", "") and m["data"]["u"] >= last
    ]
    with gzip.GzipFile(target, "wb", compresslevel=1, mtime=0) as write:
        write.write(joined[0][0] + b" " + snapshot)
        for stamp, text, _ in joined:
            write.write(stamp + b" " + text)
    return [data for _, _, data in joined]


def _write_csv(path: Path, diffs: list[dict]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            (
                "symbol",
                "timestamp",
                "first_update_id",
                "last_update_id",
                "side",
                "update_type",
                "price",
                "qty",
            )
        )
        for d in diffs:
            for side, levels in (("b", d["b"]), ("a", d["a"])):
                table.writerows((d["s"], d["T"], d["U"], d["u"], side, "set", p, q) for p, q in levels)


def _by_schemas(path: Path, folder: Path, numbers: Iterator[int]) -> Path:
    """Nautilus's adapter: messages to objects to a catalog."""
    from nautilus_trader.adapters.binance.common.schemas.market import BinanceDepth, BinanceOrderBookMsg
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    instrument = to_nautilus_instrument(binance_instrument(_ID))
    decoder, snapshot = msgspec.json.Decoder(BinanceOrderBookMsg), msgspec.json.Decoder(BinanceDepth)
    deltas = []
    with gzip.open(path, "rb") as file:
        for raw in file:
            stamp, _, text = raw.partition(b" ")
            if b'"stream"' in text[:12]:
                message = decoder.decode(text).data.parse_to_order_book_deltas(instrument.id, int(stamp))
            else:
                message = snapshot.decode(text).parse_to_order_book_snapshot(instrument.id, int(stamp))
            deltas.extend(message.deltas)
    into = folder / f"schemas_{next(numbers)}"
    catalog = ParquetDataCatalog(str(into))
    catalog.write_data([instrument])
    catalog.write_data(deltas)
    return into


def _by_wrangler(path: Path, folder: Path, numbers: Iterator[int]) -> Path:
    """Nautilus's loader and wrangler: CSV to a frame to objects to a catalog."""
    from nautilus_trader.adapters.binance.loaders import BinanceOrderBookDeltaDataLoader
    from nautilus_trader.persistence.catalog import ParquetDataCatalog
    from nautilus_trader.persistence.wranglers import OrderBookDeltaDataWrangler

    instrument = to_nautilus_instrument(binance_instrument(_ID))
    frame = BinanceOrderBookDeltaDataLoader.load(path)
    into = folder / f"wrangler_{next(numbers)}"
    catalog = ParquetDataCatalog(str(into))
    catalog.write_data([instrument])
    catalog.write_data(OrderBookDeltaDataWrangler(instrument).process(frame))
    return into


def _ours(path: Path, folder: Path, numbers: Iterator[int]) -> Path:
    into = folder / f"ours_{next(numbers)}"
    import_binance_capture([path], into, _ID)
    return into


def _changes(catalog: Path, after: int) -> np.ndarray:
    """Every level change of the diffs after the snapshot, sorted."""
    events = np.concatenate(list(read_events(catalog, _ID)))
    events = events[(events["kind"] == KIND_LEVEL) & (events["sequence"] > after)]
    return np.sort(events[_CHANGES].copy(), order=_CHANGES)


_MEASURED = """
import resource, sys
from apex_nautilus.data import import_binance_capture
import_binance_capture([sys.argv[1]], sys.argv[2], "BTCUSDT-PERP.BINANCE")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _long_capture(path: Path, diffs: int, rng: np.random.Generator) -> int:
    """Write a made-up capture of so many diffs of 50 levels; return its level changes."""
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as file:
        book = '[["59999.9","1.000"]],"asks":[["60000.1","1.000"]]'
        file.write(f'1700000000000000000 {{"lastUpdateId":1,"E":1,"T":1,"bids":{book}}}\n'.encode())
        for i in range(2, diffs + 2):
            offset = rng.integers(1, 2000, 50)
            size = np.maximum(rng.integers(-3000, 9000, 50), 0)
            price = 600_000 + np.where(np.arange(50) < 25, -offset, offset)
            levels = [f'["{p / 10:.1f}","{s / 1000:.3f}"]' for p, s in zip(price, size, strict=True)]
            bids, asks = ",".join(levels[:25]), ",".join(levels[25:])
            receive, ms = 1_700_000_000_000_000_000 + i * 10**7, 1_700_000_000_000 + i * 10
            head = f'"e":"depthUpdate","E":{ms},"T":{ms},"s":"BTCUSDT","U":{i},"u":{i},"pu":{i - 1}'
            data = f'{{{head},"b":[{bids}],"a":[{asks}]}}'
            file.write(f'{receive} {{"stream":"btcusdt@depth@0ms","data":{data}}}\n'.encode())
    return diffs * 50


def _memory_row(folder: Path, quick: bool) -> Row:
    few = 15_000 if quick else 40_000
    peaks = []
    for times in (1, 4):
        source = folder / f"long_{times}.gz"
        _long_capture(source, few * times, np.random.default_rng(1))
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(source), str(folder / f"long_{times}")],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout) / 1024)
        source.unlink()
    ratio = peaks[1] / peaks[0]
    return Row(
        name=f"importing: peak memory, {few * 200:,} level changes over {few * 50:,}",
        unit="MiB",
        ours=peaks[1],
        peer=f"the same import of a quarter of it, {peaks[0]:.0f} MiB",
        theirs=peaks[0],
        ratio=1.0 / ratio,
        goal="<= 1.2x",
        holds=ratio <= 1.2,
        same_work="each import in a process of its own",
        repeats=1,
        spread=None,
    )


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    repeats = 3 if quick else 5
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        capture, table = folder / "book.gz", folder / "book.csv"
        diffs = _book_lines(_SAMPLE, capture)
        _write_csv(table, diffs)
        numbers = count()
        after = int(next(read_events(_ours(capture, folder, numbers), _ID))["sequence"][0])
        mine = _changes(_ours(capture, folder, numbers), after)
        for name, way, source in (
            ("message schemas and write_data", _by_schemas, capture),
            (
                "BinanceOrderBookDeltaDataLoader, OrderBookDeltaDataWrangler and write_data",
                _by_wrangler,
                table,
            ),
        ):
            theirs = _changes(way(source, folder, numbers), after)
            if mine.size != theirs.size or not (mine == theirs).all():
                raise AssertionError(f"{name}: not the same level changes: {mine.size} and {theirs.size}")
            yield compare(
                f"importing: {mine.size:,} level changes into a catalog",
                partial(_ours, capture, folder, numbers),
                partial(way, source, folder, numbers),
                work=mine.size,
                unit="rows/s",
                peer=f"{peer_version('nautilus_trader')}: {name}",
                goal_ratio=None,
                same_work=f"{mine.size:,} level changes equal in side, price, size and update id",
                repeats=repeats,
            )
        yield _memory_row(folder, quick)
