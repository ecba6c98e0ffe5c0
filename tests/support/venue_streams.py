"""A venue on loopback: REST and public websockets on one port, replaying a recorded session.

It speaks as much of Bybit v5 and of Binance's market data as a data client asks for: instrument information,
depth snapshots, subscriptions with their acknowledgements, pings. The messages are those of a capture, in
its order, sent as fast as they are taken once all the awaited topics of a connection have been asked for.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Query = Mapping[str, str]


@dataclass
class Stream:
    """What one websocket path sends: (topic, text) in order, begun when all of `topics` are subscribed.

    `drop_after` cuts the connection once after so many messages; `resume` then gives the messages that a
    fresh connection begins with, before the rest. `after` names a REST path that must be asked for first: a
    book's changes are sent to a client that has asked for its snapshot.
    """

    topics: frozenset[str]
    messages: list[tuple[str, str]]
    drop_after: int | None = None
    resume: Callable[[int], list[str]] | None = None
    after: str | None = None
    subscribed: set[str] = field(default_factory=set)
    sent: int = 0
    connections: int = 0


class VenueStreams:
    """Context manager: the venue listens on a free port of 127.0.0.1 from a thread of its own.

    Parameters
    ----------
    rest : answers by path; each takes the query and gives the body, or None for "not found".
    streams : websocket streams by path, with the query where there is one.

    `requests` holds the REST paths asked for, with their queries; `wait_done` returns once every stream has
    been sent and its last message has been taken (a ping behind it was answered).
    """

    def __init__(self, rest: Mapping[str, Callable[[Query], str | None]], streams: Mapping[str, Stream]):
        self._rest = dict(rest)
        self.streams = dict(streams)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.errors: list[BaseException] = []
        self._done = threading.Event()
        self._up = threading.Event()
        self._left = set(self.streams)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="venue", daemon=True)
        self.port = 0

    def __enter__(self) -> VenueStreams:
        self._thread.start()
        if not self._up.wait(10.0):
            raise RuntimeError(f"the venue did not come up: {self.errors}")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10.0)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def wait_done(self, timeout: float) -> bool:
        return self._done.wait(timeout)

    # ---- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as e:  # noqa: BLE001
            self.errors.append(e)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._asked = {s.after: asyncio.Event() for s in self.streams.values() if s.after is not None}
        async with serve(
            self._handle, "127.0.0.1", 0, process_request=self._answer, ping_interval=None, close_timeout=0.5
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._up.set()
            await self._stop.wait()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        split = urlsplit(request.path)
        if request.path in self.streams:
            return None
        query = {k: v[0] for k, v in parse_qs(split.query).items()}
        self.requests.append((split.path, query))
        if split.path in self._asked:
            self._asked[split.path].set()
        answer = self._rest.get(split.path)
        body = answer(query) if answer is not None else None
        status, reason = (200, "OK") if body is not None else (404, "Not Found")
        payload = (body if body is not None else '{"code":-1,"msg":"no such path"}').encode()
        headers = Headers()
        headers["Content-Type"] = "application/json"
        headers["Content-Length"] = str(len(payload))
        headers["Connection"] = "close"
        return Response(status, reason, headers, payload)

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        stream = self.streams[path]
        stream.connections += 1
        # Binance's first topics stand in the address.
        named = parse_qs(urlsplit(path).query).get("streams", [""])[0]
        stream.subscribed = set(filter(None, named.split("/")))
        replay: asyncio.Task | None = None
        if stream.subscribed and stream.topics <= stream.subscribed:
            replay = asyncio.ensure_future(self._replay(path, stream, connection))
        try:
            async for text in connection:
                message = json.loads(text)
                await connection.send(json.dumps(_reply(message)))
                stream.subscribed |= set(message.get("args") or message.get("params") or [])
                if replay is None and stream.topics <= stream.subscribed:
                    replay = asyncio.ensure_future(self._replay(path, stream, connection))
        except ConnectionClosed:
            pass
        finally:
            if replay is not None:
                replay.cancel()

    async def _replay(self, path: str, stream: Stream, connection: ServerConnection) -> None:
        try:
            if stream.after is not None:
                await self._asked[stream.after].wait()
            if stream.sent and stream.resume is not None:
                for text in stream.resume(stream.sent):
                    await connection.send(text)
            for topic, text in stream.messages[stream.sent :]:
                if stream.drop_after is not None and stream.sent >= stream.drop_after:
                    await (await connection.ping())  # what was sent has been taken
                    stream.drop_after = None
                    connection.transport.abort()
                    return
                if topic in stream.subscribed:
                    await connection.send(text)
                stream.sent += 1
            await (await connection.ping())
            self._left.discard(path)
            if not self._left:
                self._done.set()
        except ConnectionClosed:
            pass
        except Exception as e:
            self.errors.append(e)
            raise


def _reply(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("op") == "ping":  # Bybit
        return {"success": True, "ret_msg": "pong", "conn_id": "loopback", "req_id": "", "op": "ping"}
    if "op" in message:
        return {
            "success": True,
            "ret_msg": "",
            "conn_id": "loopback",
            "req_id": message.get("req_id", ""),
            "op": message["op"],
        }
    return {"result": None, "id": message.get("id", 1)}  # Binance


# ---- sessions


@dataclass
class Session:
    """A recorded session: REST bodies by URL path and category, messages by address and topic."""

    rest: dict[tuple[str, str], str]
    messages: dict[str, list[tuple[str, str]]]  # websocket path: (topic, text)


def read_session(path: Path) -> Session:
    """Read a cryptofeed capture (JSON lines, gzip) of Bybit v5."""
    rest: dict[tuple[str, str], str] = {}
    address: dict[str, str] = {}
    messages: dict[str, list[tuple[str, str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["t"] == "http":
                url = urlsplit(entry["url"])
                rest[url.path, parse_qs(url.query)["category"][0]] = entry["data"]
            elif entry["t"] == "connect":
                address[entry["conn"]] = urlsplit(entry["addr"]).path
                messages[address[entry["conn"]]] = []
            elif entry["t"] == "recv":
                topic = json.loads(entry["data"]).get("topic")
                if topic is None:
                    continue  # an acknowledgement; this venue gives its own
                messages[address[entry["conn"]]].append((topic, entry["data"]))
    return Session(rest, messages)


def bybit_rest(session: Session) -> dict[str, Callable[[Query], str | None]]:
    """The REST paths of Bybit that a data client without keys calls."""

    def instruments(query: Query) -> str | None:
        text = session.rest.get(("/v5/market/instruments-info", query.get("category", "")))
        if text is None:
            return None
        body = json.loads(text)
        if "symbol" in query:
            body["result"]["list"] = [i for i in body["result"]["list"] if i["symbol"] == query["symbol"]]
        return json.dumps(body)

    return {"/v5/market/instruments-info": instruments}


def bybit_streams(session: Session, wanted: Mapping[str, Iterable[str]]) -> dict[str, Stream]:
    """Streams of a Bybit session; `wanted` gives the topics awaited on each path."""
    return {path: Stream(frozenset(topics), session.messages[path]) for path, topics in wanted.items()}


def binance_session(path: Path, symbol: str, messages: int) -> tuple[dict, dict[str, Stream]]:
    """REST answers and streams of Binance's USDT-margined futures, from a capture of hftbacktest's recorder.

    The venue sends trades aggregated (`aggTrade`), the capture holds single ones: each is sent as an
    aggregate of one. Changes older than the snapshot are sent too, as the venue does. The capture has no
    candles; one that is not closed and one that is are sent behind the trades.
    """
    book, trades = f"{symbol.lower()}@depth@0ms", f"{symbol.lower()}@aggTrade"
    snapshot = ""
    sent: dict[str, list[tuple[str, str]]] = {book: [], trades: []}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = line.partition(" ")[2]
            message = json.loads(text)
            if "lastUpdateId" in message:
                snapshot = text
            elif message["stream"] == book:
                sent[book].append((book, text))
            elif message["stream"].endswith("@trade"):
                t = message["data"]
                data = {k: t[k] for k in ("E", "s", "p", "q", "T", "m")}
                data |= {"e": "aggTrade", "a": t["t"], "f": t["t"], "l": t["t"]}
                sent[trades].append((trades, json.dumps({"stream": trades, "data": data})))
            if len(sent[book]) == messages:
                break
    candles = f"{symbol.lower()}@kline_1m"
    opened = 1723161240000
    for closed in (False, True):
        candle = {
            "t": opened,
            "T": opened + 59_999,
            "s": symbol,
            "i": "1m",
            "f": 1,
            "L": 9,
            "n": 9,
            "x": closed,
            "o": "61800.00",
            "c": "61810.50",
            "h": "61820.00",
            "l": "61790.10",
            "v": "12.345",
            "q": "1.0",
            "V": "6.000",
            "Q": "1.0",
            "B": "0",
        }
        data = {"e": "kline", "E": opened + 60_005, "s": symbol, "k": candle}
        sent[trades].append((candles, json.dumps({"stream": candles, "data": data})))
    rest = {
        "/fapi/v1/exchangeInfo": lambda query: json.dumps(_BINANCE_EXCHANGE),
        "/fapi/v1/depth": lambda query: snapshot if query.get("symbol") == symbol else None,
    }
    streams = {
        f"/stream?streams={book}": Stream(frozenset({book}), sent[book], after="/fapi/v1/depth"),
        f"/stream?streams={trades}": Stream(frozenset({trades, candles}), sent[trades]),
    }
    return rest, streams


_BINANCE_EXCHANGE = {
    "timezone": "UTC",
    "serverTime": 1723161250000,
    "rateLimits": [],
    "exchangeFilters": [],
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "pair": "BTCUSDT",
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "onboardDate": 1569398400000,
            "status": "TRADING",
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "pricePrecision": 2,
            "quantityPrecision": 3,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "underlyingSubType": [],
            "triggerProtect": "0.0500",
            "liquidationFee": "0.012500",
            "marketTakeBound": "0.05",
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": "556.80",
                    "maxPrice": "4529764",
                    "tickSize": "0.10",
                },
                {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
                {"filterType": "MIN_NOTIONAL", "notional": "100"},
            ],
            "orderTypes": ["LIMIT", "MARKET"],
            "timeInForce": ["GTC", "IOC"],
        }
    ],
}
