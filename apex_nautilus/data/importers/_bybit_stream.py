"""Bybit v5's public messages of one instrument as market events, after the venue's rules.

Books: a message of type snapshot, or one with u = 1 (the venue's service was restarted), replaces the book;
a delta's u must be one more than the u before it on its topic. `cts`, the matching engine's time, is the time
of the event. Trades: `S` is the taker's side.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from apex_nautilus.data.importers._book import BookBuilder, Refused, Touch, TouchMatcher, to_units
from apex_nautilus.data.importers.report import RowLedger
from apex_nautilus.features import scale
from apex_nautilus.risk import InstrumentSpec

__all__ = ["BookMessage", "BybitStream", "DecimalsSeen", "Message", "decimals_of", "decode", "topic_of"]

_LARGEST = 2**63 - 1
_MS = 1_000_000
_IDS = 10**18  # what a trade id of the catalog can hold

_Id = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST // _MS)]
_Level = tuple[str, str]


class Message(msgspec.Struct):
    """The envelope of every message; `topic` is empty in answers to requests."""

    topic: str = ""
    type: str = ""
    ts: _Ms = 0
    cts: _Ms = 0
    cs: _Id = 0
    data: msgspec.Raw = msgspec.Raw(b"null")


class BookMessage(msgspec.Struct):
    """Data of an orderbook topic."""

    s: str
    b: list[_Level]
    a: list[_Level]
    u: _Id
    seq: _Id = 0


class _Trade(msgspec.Struct):
    T: _Ms
    s: str
    S: str
    v: str
    p: str
    i: str
    BT: bool = False


class _Ticker(msgspec.Struct):
    symbol: str
    bid1Price: str = ""
    bid1Size: str = ""
    ask1Price: str = ""
    ask1Size: str = ""


_envelope = msgspec.json.Decoder(Message)
_data: dict[str, Any] = {
    "orderbook": msgspec.json.Decoder(BookMessage),
    "publicTrade": msgspec.json.Decoder(list[_Trade]),
    "tickers": msgspec.json.Decoder(_Ticker),
}


def topic_of(topic: str) -> tuple[str, int, str]:
    """Return (channel, depth or 0, symbol) of ``orderbook.200.BTCUSDT``."""
    parts = topic.split(".")
    depth = int(parts[1]) if len(parts) == 3 and parts[1].isdigit() and len(parts[1]) < 6 else 0
    return parts[0], depth, parts[-1]


def decode(text: str | bytes) -> tuple[Message, Any]:
    """Return (envelope, data); data is None for topics that hold no market event.

    Raises
    ------
    Refused
        When the text is no such message.
    """
    try:
        message = _envelope.decode(text)
        decoder = _data.get(message.topic.partition(".")[0])
        return message, decoder.decode(message.data) if decoder is not None else None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        raise Refused("bad_json", str(e)) from None


def decimals_of(text: str) -> int:
    """Return the decimals a number in a message uses, without trailing zeros."""
    return len(text.partition(".")[2].rstrip("0"))


class DecimalsSeen:
    """Counts the decimals of prices and sizes; a few odd numbers do not make an instrument's grid finer."""

    _MOST = 16
    _ODD = 0.01  # share of numbers that may use more decimals

    def __init__(self) -> None:
        self._counts = ([0] * (self._MOST + 1), [0] * (self._MOST + 1))

    def see(self, price: str, size: str) -> None:
        """Count one pair."""
        for counts, text in zip(self._counts, (price, size), strict=True):
            counts[min(decimals_of(text), self._MOST)] += 1

    @property
    def price(self) -> int:
        """Decimals that all but a hundredth of the prices get by with."""
        return self._cover(self._counts[0])

    @property
    def size(self) -> int:
        """Decimals that all but a hundredth of the sizes get by with."""
        return self._cover(self._counts[1])

    def _cover(self, counts: list[int]) -> int:
        finer = sum(counts)
        allowed = self._ODD * finer
        for places, count in enumerate(counts):
            finer -= count
            if finer <= allowed:
                return places
        return self._MOST


def _trade_number(text: str) -> int:
    """A trade's id as the number a catalog keeps: its digits, or those of a uuid, to 18 places."""
    try:
        return int(text) % _IDS if text.isdecimal() else int(text.replace("-", ""), 16) % _IDS
    except ValueError:
        raise Refused("bad_json", f"trade id {text[:40]!r} is neither a number nor a uuid") from None


def _numbers(levels: list[_Level]) -> list[tuple[float, float]]:
    try:
        return [(float(p), float(s)) for p, s in levels]
    except ValueError as e:
        raise Refused("bad_json", f"a level: {e}") from None


class BybitStream:
    """Takes one instrument's messages in the order of receipt; `builder` holds the events.

    Parameters
    ----------
    instrument : InstrumentSpec
    rows : RowLedger
        Counts the instrument's rows.
    depth : int
        Of the book topic that makes the book; a topic of depth 1 beside a deeper one serves as a check.
    """

    def __init__(self, instrument: InstrumentSpec, rows: RowLedger, depth: int):
        self.builder = BookBuilder(instrument, rows)
        self.matcher = TouchMatcher()
        self.rows = rows
        self._depth = depth
        self._last_u: int | None = None
        self._ticker: dict[str, str] = {}
        self._scales = (scale(instrument.price_precision), scale(instrument.size_precision))

    def take(self, message: Message, data: Any, receive: int) -> None:
        """Take one message, counting what becomes of it."""
        channel, depth, _ = topic_of(message.topic)
        try:
            if channel == "orderbook":
                if depth == self._depth:
                    self._on_book(message, data, receive)
                elif depth == 1:
                    self._on_best(data)
                else:
                    self.rows.note(f"other_stream:orderbook.{depth}")
            elif channel == "publicTrade":
                self._on_trades(data, receive)
            else:
                self._on_ticker(message, data)
        except Refused as e:
            self.rows.refuse(e.reason, e.detail)

    # ---- book

    def _on_book(self, m: Message, d: BookMessage, receive: int) -> None:
        builder = self.builder
        ts_event = (m.cts or m.ts) * _MS
        whole = m.type == "snapshot" or d.u == 1
        if not whole and not builder.in_step:
            if builder.lost:
                raise Refused("out_of_step", "a delta between a lost book and the next snapshot")
            self.rows.note("delta_before_snapshot")
            return
        last = self._last_u
        if not whole and last is not None and d.u <= last:
            raise Refused("duplicate", f"delta {d.u} after {last}")
        try:
            builder.receive(receive)
            levels = builder.levels(_numbers(d.b), _numbers(d.a))
            if not whole and last is not None and d.u != last + 1:
                raise Refused("sequence_break", f"delta {d.u} after {last}")
            self._last_u = d.u
            (builder.replace if whole else builder.change)(levels, ts_event, receive, d.u)
        except Refused:
            # What this message changed is not in the book, or the book is crossed.
            if builder.in_step:
                builder.lose(ts_event, max(receive, builder.last_ns), d.u)
            self._last_u = None
            self.matcher.book(d.seq, None)
            raise
        self.rows.keep("snapshot" if whole else "delta")
        self.matcher.book(d.seq, builder.touch)

    # ---- the venue's own touch

    def _on_best(self, d: BookMessage) -> None:
        if len(d.b) == 1 and len(d.a) == 1:
            (bid,), (ask,) = d.b, d.a
            self._quote(d.seq, [*bid, *ask])
        self.rows.keep("orderbook.1")

    def _on_ticker(self, m: Message, t: _Ticker) -> None:
        names = ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
        self._ticker |= {name: value for name in names if (value := getattr(t, name))}
        if m.cs and len(self._ticker) == len(names):
            self._quote(m.cs, [self._ticker[name] for name in names])
        self.rows.keep("ticker")

    def _quote(self, sequence: int, texts: list[str]) -> None:
        try:
            values = [float(x) for x in texts]
        except ValueError as e:
            raise Refused("bad_json", f"a quote: {e}") from None
        prices, off = to_units(values[::2], self._scales[0])  # pyright: ignore[reportArgumentType]
        sizes, off_size = to_units(values[1::2], self._scales[1])  # pyright: ignore[reportArgumentType]
        if off.any() or off_size.any():
            raise Refused("off_grid", f"a quote of {texts} does not lie on the instrument's grid")
        touch: Touch = (int(prices[0]), int(sizes[0]), int(prices[1]), int(sizes[1]))
        self.matcher.quote(sequence, touch)

    # ---- trades

    def _on_trades(self, trades: list[_Trade], receive: int) -> None:
        self.builder.receive(receive)
        for n, t in enumerate(trades):
            self.rows.rows += n > 0  # a message of trades is as many rows
            try:
                self._on_trade(t, receive)
            except Refused as e:
                self.rows.refuse(e.reason, e.detail)
        if not trades:
            self.rows.note("empty_message")

    def _on_trade(self, t: _Trade, receive: int) -> None:
        if t.BT:
            self.rows.note("trade_off_book:block")  # agreed outside the book
            return
        if t.S not in ("Buy", "Sell"):
            raise Refused("bad_json", f"trade side {t.S[:20]!r}")
        try:
            price, size = float(t.p), float(t.v)
        except ValueError as e:
            raise Refused("bad_json", f"a trade: {e}") from None
        side = 1 if t.S == "Buy" else -1
        self.builder.trade(price, size, side, _trade_number(t.i), t.T * _MS, receive)
        self.rows.keep("trade")
