"""Bybit v5 websocket captures: many instruments, linear and spot, in one recording.

Each file is read twice: once to see which instruments and depths it holds, what the venue said of them
(``instruments-info`` among its REST answers) and, where it said nothing, which decimals are in use; then for
the events, which wait on disk by instrument and are published one instrument after the other. Every
instrument is judged before the first is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apex_nautilus.data.catalog import settle_instrument
from apex_nautilus.data.errors import DataError, ImportRefused
from apex_nautilus.data.importers._book import Refused
from apex_nautilus.data.importers._bybit_stream import (
    BookMessage,
    BybitStream,
    DecimalsSeen,
    Message,
    decode,
    topic_of,
)
from apex_nautilus.data.importers._capture_lines import Entry, entries
from apex_nautilus.data.importers._spill import EventSpill
from apex_nautilus.data.importers._write import publish
from apex_nautilus.data.importers.registry import Importer, ImporterOption, register
from apex_nautilus.data.importers.report import ImportReport, RowLedger
from apex_nautilus.data.venues.bybit import (
    bybit_id,
    bybit_instrument,
    infer_bybit,
    instruments_info,
    parse_bybit_id,
)
from apex_nautilus.risk import InstrumentSpec

__all__ = ["import_bybit_capture"]

_CHUNK_EVENTS = 50_000
_NAMED = 50
_CATEGORIES = ("linear", "spot")


@dataclass(slots=True)
class _Found:
    """What a first reading saw of one instrument."""

    depth: int = 0
    decimals: DecimalsSeen = field(default_factory=DecimalsSeen)

    def see(self, message: Message, data: object) -> None:
        if isinstance(data, BookMessage):
            self.depth = max(self.depth, topic_of(message.topic)[1])
            pairs = data.b + data.a
        elif isinstance(data, list):
            pairs = [(t.p, t.v) for t in data]
        else:
            return
        for price, size in pairs:
            self.decimals.see(price, size)


def _category(entry: Entry, assumed: str | None) -> str | None:
    """Return linear, spot, or what else the address of a connection ends in; None when nothing tells."""
    place = entry.address.partition("?")[0].rstrip("/").rpartition("/")[2]
    return place if "/v5/public/" in entry.address else assumed


def _messages(
    path: Path,
    rows: RowLedger,
    assumed: str | None,
    allow_truncated: bool,
    on_answer: Callable[[Entry], None] | None = None,
) -> Iterator[tuple[str, int, Message, object]]:
    """Yield (instrument id, receive time, envelope, data) of what holds market events."""
    for entry in entries(path, rows, allow_truncated=allow_truncated):
        if entry.kind != "recv":
            rows.note(f"line:{entry.kind[:20]}")
            if entry.kind == "http" and on_answer is not None:
                on_answer(entry)
            continue
        try:
            message, data = decode(entry.text)
        except Refused as e:
            rows.refuse(e.reason, e.detail)
            continue
        if data is None:
            name = message.topic.partition(".")[0][:40] or "answer"
            reason = f"other_stream:{name}"
            known = reason in rows.noted or len(rows.noted) < _NAMED
            rows.note(reason if known else "other_stream:more")
            continue
        category = _category(entry, assumed)
        if category is None:
            raise ImportRefused(
                f"{path}:{rows.line}: nothing tells whether this is the linear or the spot market; "
                "say --market linear or --market spot"
            )
        symbol = topic_of(message.topic)[2]
        named = {d.s for d in data} if isinstance(data, list) else {getattr(data, "s", None) or data.symbol}
        if named - {symbol}:
            rows.refuse("wrong_symbol", f"topic {message.topic[:60]} holds {sorted(named)[0][:40]}")
            continue
        if category not in _CATEGORIES:
            rows.note(f"other_market:{category[:20]}")
            continue
        yield bybit_id(symbol, category), entry.receive_ns, message, data


def _survey(
    paths: Sequence[Path], assumed: str | None, allow_truncated: bool
) -> tuple[dict[str, _Found], dict[str, InstrumentSpec]]:
    found: dict[str, _Found] = {}
    known: dict[str, InstrumentSpec] = {}

    def learn(entry: Entry) -> None:
        if "/instruments-info" in entry.address and entry.text:
            known.update(instruments_info(entry.text))

    for path in paths:
        try:
            for name, _, message, data in _messages(path, RowLedger(1.0), assumed, allow_truncated, learn):
                found.setdefault(name, _Found()).see(message, data)
        except ImportRefused:
            raise
        except DataError as e:
            raise ImportRefused(f"{path}: {e}") from e
    return found, known


def _specification(name: str, found: _Found, known: dict[str, InstrumentSpec]) -> tuple[InstrumentSpec, bool]:
    """Return the instrument and whether its steps were read off the data."""
    if name in known:
        return known[name], False
    # The table may be of another time than the recording.
    spec, seen = bybit_instrument(name), found.decimals
    if spec is not None and spec.price_precision >= seen.price and spec.size_precision >= seen.size:
        return spec, False
    return infer_bybit(name, seen.price, seen.size), True


def import_bybit_capture(
    paths: Sequence[str | os.PathLike[str]],
    catalog_path: str | os.PathLike[str],
    instrument_id: str | None = None,
    *,
    market: str | None = None,
    max_bad_share: float = 0.001,
    allow_truncated: bool = False,
    replace: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> list[ImportReport]:
    """Import a Bybit capture: every instrument in it, or one.

    Parameters
    ----------
    paths : files that follow one another in time; text, gzip or zstd.
    instrument_id : ``BTCUSDT-LINEAR.BYBIT`` or ``BTCUSDT-SPOT.BYBIT``; None for all.
    market : {"linear", "spot"}, where the recording does not tell.
    max_bad_share : largest share of refused rows, of the capture's lines and of each instrument's rows.
    allow_truncated : keep what is whole of a file whose end is missing.
    replace : take the place of stored data over the same span.

    Returns
    -------
    list of ImportReport
        One an instrument, in the order of ids; also kept in the catalog.

    Raises
    ------
    ImportRefused
        When there is nothing to import, a file is damaged, or too many rows are bad. Nothing was imported
        then.
    DataError
        When the catalog holds other data over the span of an instrument; those before it stay imported.
    """
    if not paths:
        raise ImportRefused("no files were named")
    if instrument_id is not None:
        parse_bybit_id(instrument_id)
    files = [Path(p) for p in paths]
    found, known = _survey(files, market, allow_truncated)
    wanted = sorted(found) if instrument_id is None else [instrument_id]
    names = ", ".join(p.name for p in files)
    if not found or wanted[0] not in found:
        held = ", ".join(sorted(found)[:10]) or "no book and no trades"
        raise ImportRefused(f"{names}: nothing of {instrument_id or 'Bybit'} in it; it holds {held}")
    streams: dict[str, BybitStream] = {}
    for name in wanted:
        spec, inferred = _specification(name, found[name], known)
        spec, differs = settle_instrument(catalog_path, spec)
        ledger = RowLedger(1.0)
        ledger.note("instrument_inferred", inferred)
        ledger.note("instrument_of_catalog", differs)
        streams[name] = BybitStream(spec, ledger, found[name].depth)
    capture = RowLedger(max_bad_share)
    with EventSpill(catalog_path) as spill:
        for path in files:
            progress(f"reading {path.name}")
            for name, receive, message, data in _messages(path, capture, market, allow_truncated):
                stream = streams.get(name)
                if stream is None:
                    continue
                rows = stream.rows
                rows.place, rows.line = capture.place, capture.line
                rows.rows += 1
                stream.take(message, data, receive)
                if stream.builder.size >= _CHUNK_EVENTS:
                    spill.add(name, stream.builder.take())
        capture.check()
        for name, stream in streams.items():
            spill.add(name, stream.builder.take())
            stream.rows.max_bad_share = max_bad_share
            try:
                stream.rows.check()
            except ImportRefused as e:
                raise ImportRefused(f"{name}: {e}") from e
        reports = []
        for name, stream in streams.items():
            report = _report(stream, capture, [p.name for p in files])
            if not (report.kept.get("snapshot") or report.kept.get("trade")):
                reports.append(report)  # tickers only: nothing to write, and the report says so
                continue
            reports.append(
                publish(
                    catalog_path, stream.builder.spec, spill.chunks(name), lambda r=report: r, replace=replace
                )
            )
    if not any(r.written for r in reports):
        raise ImportRefused(f"{names}: no snapshot of a book and no trade: nothing to import")
    return reports


def _report(stream: BybitStream, capture: RowLedger, names: list[str]) -> ImportReport:
    stream.rows.note("quote_unsettled", stream.matcher.unsettled)
    for reason, count in capture.refused.items():
        stream.rows.note(f"capture:{reason}", count)  # of no known instrument: perhaps of this one
    stream.rows.note("truncated_file", capture.noted.get("truncated_file", 0))
    report = stream.builder.report("bybit-capture", names, stream.matcher.check)
    report.examples = (report.examples + capture.examples)[:10]
    return report


register(
    Importer(
        kind="bybit-capture",
        help="""Bybit v5 websocket captures, of one instrument or many.

    PATHS follow one another in time: cryptofeed's recordings (JSON lines or text) or `<receive_ns> <json>`
    lines, plain, gzip or zstd. Read are orderbook, publicTrade and tickers; the deepest orderbook topic makes
    the book. Steps and limits come from the instruments-info answer in the recording, where there is one.
    """,
        function=import_bybit_capture,
        instrument="optional",
        allow_truncated=True,
        options=(
            ImporterOption(
                "market",
                "The market, where the recording does not hold the address it came from.",
                choices=_CATEGORIES,
            ),
        ),
    )
)
