"""cryptofeed's recordings, sent to the importer of the venue they are of.

Bybit's go to `bybit_capture` as they are. Binance's are taken apart into one stream of messages a symbol,
in the form of a raw capture, with the REST snapshots put among them by time of receipt, and
`binance_capture` does the rest; steps and limits come from the exchange information in the recording.
Aggregated trades stand for trades where those were not recorded.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._bybit_stream import decimals_of
from apex_nautilus.data.importers._capture_lines import entries
from apex_nautilus.data.importers.binance_capture import import_binance_capture
from apex_nautilus.data.importers.bybit_capture import import_bybit_capture
from apex_nautilus.data.importers.registry import Importer, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.binance import exchange_info_instrument, parse_symbol
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_cryptofeed"]

_SUFFIX = {"BINANCE": ".BINANCE", "BINANCE_FUTURES": "-PERP.BINANCE"}
_CANNOT = {
    "BINANCE_DELIVERY": "its coin-margined symbols and expiries are named otherwise than Nautilus "
    "names them; import a raw capture with binance-capture",
    "BINANCE_US": "it is another venue than Binance, with other steps and fees",
}
_MOST_SYMBOLS = 500
_BUILT = ("depth", "trade", "aggTrade", "bookTicker")


class _Stream(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Aggregate(msgspec.Struct):
    s: str
    a: int
    p: str
    q: str
    T: int
    m: bool


class _Levels(msgspec.Struct):
    """The levels of a diff (b, a) or a snapshot (bids, asks)."""

    b: list[tuple[str, str]] = []
    a: list[tuple[str, str]] = []
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


_levels = msgspec.json.Decoder(_Levels)
_stream = msgspec.json.Decoder(_Stream)
_aggregate = msgspec.json.Decoder(_Aggregate)


@dataclass(slots=True)
class _Session:
    """What a first reading saw of a Binance recording."""

    symbols: set[str] = field(default_factory=set)
    with_trades: set[str] = field(default_factory=set)
    snapshots: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    information: bytes = b""
    decimals: dict[str, tuple[int, int]] = field(default_factory=dict)

    def see_levels(self, symbol: str, text: bytes | msgspec.Raw) -> None:
        """Count the decimals in use: a book holds orders placed when the tick was finer."""
        try:
            found = _levels.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return  # whoever imports it will say so
        price, size = self.decimals.get(symbol, (0, 0))
        for p, q in (*found.b, *found.a, *found.bids, *found.asks):
            price, size = max(price, decimals_of(p)), max(size, decimals_of(q))
        self.decimals[symbol] = (min(price, 16), min(size, 16))


def _exchange(path: Path) -> str:
    """Return the exchange that a recording's header names; Bybit where an address tells it."""
    for entry in entries(path, RowLedger(1.0), allow_truncated=True):
        if entry.kind == "header":
            return entry.exchange
        if "bybit" in entry.address:
            return "BYBIT"
        if entry.kind != "recv":
            continue
        break
    raise ImportRefused(
        f"{path}: no recording of cryptofeed: it begins with no header that names the exchange. "
        "A file of `<receive_ns> <json>` lines is read by binance-capture or bybit-capture"
    )


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _split(text: str | bytes) -> tuple[str, str, msgspec.Raw] | None:
    """Return (symbol, kind of stream, data) of a message of a combined stream, or None."""
    try:
        message = _stream.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    symbol, _, kind = message.stream.partition("@")
    kind = kind.partition("@")[0]
    if not re.fullmatch(r"[a-z0-9]{2,30}", symbol):
        return None
    return symbol.upper(), kind, message.data


def _survey(path: Path, allow_truncated: bool) -> _Session:
    seen = _Session()
    for entry in entries(path, RowLedger(1.0), allow_truncated=allow_truncated):
        if entry.kind == "http" and "exchangeInfo" in entry.address:
            seen.information = _bytes(entry.text)
        elif entry.kind == "http" and "/depth?" in entry.address:
            match = re.search(r"[?&]symbol=([A-Z0-9]{2,30})(?:&|$)", entry.address)
            text = _bytes(entry.text)
            if match is not None and b"\n" not in text:
                seen.snapshots.setdefault(match[1], []).append((entry.receive_ns, text))
                seen.see_levels(match[1], text)
        elif entry.kind == "recv" and (parts := _split(entry.text)) is not None and parts[1] in _BUILT:
            seen.symbols.add(parts[0])
            if parts[1] == "depth":
                seen.see_levels(parts[0], parts[2])
            elif parts[1] == "trade":
                seen.with_trades.add(parts[0])
    if len(seen.symbols) > _MOST_SYMBOLS:
        raise ImportRefused(f"{path}: {len(seen.symbols)} symbols; name one with --instrument")
    return seen


def _as_trade(data: msgspec.Raw) -> bytes:
    """An aggregated trade in the form of a trade; as it is when it cannot be read, to be refused there."""
    try:
        a = _aggregate.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        return bytes(data)
    return msgspec.json.encode({"s": a.s, "t": a.a, "p": a.p, "q": a.q, "T": a.T, "m": a.m})


def _take_apart(
    path: Path, wanted: set[str], seen: _Session, folder: Path, rows: RowLedger, allow_truncated: bool
) -> dict[str, Path]:
    """Write one raw capture a symbol; return their paths."""
    paths = {s: folder / f"{s} of {path.name.partition('.jsonl')[0]}" for s in sorted(wanted)}
    waiting = {s: sorted(seen.snapshots.get(s, []), key=lambda x: x[0]) for s in wanted}
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {s: stack.enter_context(p.open("wb")) for s, p in paths.items()}
        for entry in entries(path, rows, allow_truncated=allow_truncated):
            if entry.kind != "recv":
                continue
            parts = _split(entry.text)
            if parts is None:
                rows.refuse("bad_json", "no message of a combined stream")
                continue
            symbol, kind, data = parts
            if symbol not in files:
                continue
            due = waiting[symbol]
            while due and due[0][0] <= entry.receive_ns:
                at, snapshot = due.pop(0)
                files[symbol].write(b"%d %s\n" % (at, snapshot))
            body = bytes(data)
            if kind == "aggTrade" and symbol not in seen.with_trades:
                kind, body = "trade", _as_trade(data)
            name = f"{symbol.lower()}@{kind}".encode()
            line = b'%d {"stream":"%s","data":%s}\n' % (entry.receive_ns, name, body.replace(b"\n", b" "))
            files[symbol].write(line)
        for symbol, due in waiting.items():
            for at, snapshot in due:
                files[symbol].write(b"%d %s\n" % (at, snapshot))
    return paths


def _specification(seen: _Session, folder: Path, instrument_id: str) -> InstrumentSpec | None:
    if not seen.information:
        return None
    file = folder / "exchangeInfo.json"
    file.write_bytes(seen.information)
    spec = exchange_info_instrument(file, instrument_id)
    price, size = seen.decimals.get(parse_symbol(instrument_id)[0], (0, 0))
    return msgspec.structs.replace(
        spec,
        price_precision=max(spec.price_precision, price),
        size_precision=max(spec.size_precision, size),
    )


def import_cryptofeed(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None = None,
    *,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> list[ImportReport]:
    """Import cryptofeed's recordings: every instrument in them, or one.

    Parameters
    ----------
    paths : of one venue. Bybit's files may follow one another; each of Binance's is a session by itself.
    instrument_id : as Nautilus calls it; None for all.
    max_bad_share : largest share of refused rows.
    allow_truncated : keep what is whole of a file whose end is missing.
    replace : take the place of stored data over the same span.

    Raises
    ------
    ImportRefused
        When the exchange is none that can be built, a file is damaged, nothing of the instrument is in it, or
        too many rows are bad. Of a Binance session, instruments before the one that failed stay imported.
    DataError
        When the catalog holds other data over the span of an instrument.
    """
    if not paths:
        raise ImportRefused("no files were named")
    files = [Path(p) for p in paths]
    exchanges = {_exchange(p) for p in files}
    if len(exchanges) > 1:
        raise ImportRefused(f"recordings of several exchanges ({', '.join(sorted(exchanges))}); name one's")
    (exchange,) = exchanges
    if exchange == "BYBIT":
        return import_bybit_capture(
            files,
            catalog_path,
            instrument_id,
            max_bad_share=max_bad_share,
            allow_truncated=allow_truncated,
            replace=replace,
            progress=progress,
        )
    if exchange not in _SUFFIX:
        why = _CANNOT.get(exchange, "no rules of its messages are known here")
        raise ImportRefused(
            f"{files[0]}: recordings of {exchange[:40]} cannot be imported: {why}. BYBIT, BINANCE and "
            "BINANCE_FUTURES can"
        )
    reports = []
    for path in files:
        progress(f"reading {path.name}")
        reports += _import_binance(
            path, catalog_path, instrument_id, exchange, max_bad_share, allow_truncated, replace
        )
    return reports


def _import_binance(
    path: Path,
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None,
    exchange: str,
    max_bad_share: float,
    allow_truncated: bool,
    replace: bool,
) -> list[ImportReport]:
    seen = _survey(path, allow_truncated)
    wanted = seen.symbols
    if instrument_id is not None:
        symbol, _ = parse_symbol(instrument_id)
        if instrument_id != symbol + _SUFFIX[exchange] or symbol not in wanted:
            held = ", ".join(s + _SUFFIX[exchange] for s in sorted(wanted)[:10])
            raise ImportRefused(f"{path}: nothing of {instrument_id} in it; it holds {held or 'no market'}")
        wanted = {symbol}
    # Without a snapshot there is no book, and the capture of a book is what the venue's importer reads.
    missing = sorted(s for s in wanted if s not in seen.snapshots)
    if missing:
        raise ImportRefused(
            f"{path}: no REST depth snapshot of {', '.join(missing[:10])}: the diffs of their books cannot "
            "be joined to anything; name the others with --instrument"
        )
    reports = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = RowLedger(max_bad_share)
        parts = _take_apart(path, wanted, seen, folder, rows, allow_truncated)
        rows.check()
        for symbol, part in parts.items():
            full = symbol + _SUFFIX[exchange]
            try:
                spec = _specification(seen, folder, full)
            except DataError as e:
                raise ImportRefused(f"{path}: {e}") from e
            reports.append(
                import_binance_capture(
                    [part],
                    catalog_path,
                    full,
                    max_bad_share=max_bad_share,
                    replace=replace,
                    instrument=spec,
                )
            )
    return reports


register(
    Importer(
        kind="cryptofeed",
        help="""cryptofeed's recordings of Bybit v5, Binance spot and Binance futures.

    PATHS are of one exchange: JSON lines (plain, gzip or zstd), or the older text. Everything in them is
    imported, or what --instrument names.
    """,
        function=import_cryptofeed,
        instrument="optional",
        allow_truncated=True,
    )
)
