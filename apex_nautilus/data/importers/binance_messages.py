"""The messages of Binance's websocket streams and the REST depth snapshot, as far as an import reads them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from apex_nautilus.data.importers._book import Refused

__all__ = [
    "LARGEST",
    "MS",
    "Depth",
    "Line",
    "Message",
    "Refused",
    "Snapshot",
    "Ticker",
    "Trade",
    "decode_line",
]

MS = 1_000_000
LARGEST = 2**63 - 1

_Id = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
_Before = Annotated[int, msgspec.Meta(ge=-1, le=LARGEST)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=LARGEST // MS)]


class Line(msgspec.Struct):
    """What a line holds besides the receive time: a stream's message, or a snapshot, which has no stream."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    lastUpdateId: _Id | None = None
    symbol: str = ""
    T: _Ms = 0
    E: _Ms = 0
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []


class Depth(msgspec.Struct):
    """A depth diff."""

    s: str
    U: _Id
    u: _Id
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    pu: _Before | None = None
    T: _Ms = 0
    E: _Ms = 0


class Trade(msgspec.Struct):
    """A trade; `m` says that the buyer was the maker, `X` where it came from."""

    s: str
    t: _Id
    p: float
    q: float
    T: _Ms
    m: bool
    X: str = "MARKET"


class Ticker(msgspec.Struct):
    """The venue's best bid and ask, with the update id they belong to."""

    s: str
    u: _Id
    b: float
    B: float
    a: float
    A: float


Snapshot = Line
Message = Depth | Trade | Ticker | Snapshot

_line = msgspec.json.Decoder(Line, strict=False)
_decoders = {
    "depth": msgspec.json.Decoder(Depth, strict=False),
    "trade": msgspec.json.Decoder(Trade, strict=False),
    "bookTicker": msgspec.json.Decoder(Ticker, strict=False),
}
_BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_line(raw: bytes) -> tuple[int, Message | Refused | str]:
    """Return (receive time, message) of a line ``<receive_ns> <json>``.

    In place of the message stands the name of a stream that is not read, or what is wrong with the line.
    """
    stamp, _, text = raw.partition(b" ")
    receive = int(stamp) if stamp.isdigit() and len(stamp) < 20 else -1
    if not 0 <= receive <= LARGEST or not text:
        return -1, Refused("bad_line", f"expected `<receive_ns> <json>`, got {raw[:60]!r}")
    try:
        line = _line.decode(text)
        kind = line.stream.partition("@")[2]
        decoder = _decoders.get("depth" if kind.startswith("depth") else kind)
        if decoder is not None:
            return receive, decoder.decode(line.data)
    except _BAD_JSON as e:
        return -1, Refused("bad_json", str(e))
    return receive, line if line.lastUpdateId is not None else kind
