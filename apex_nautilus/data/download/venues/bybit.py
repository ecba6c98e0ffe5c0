"""Bybit's public archives. No checksums are published.

- Trades: public.bybit.com, ``/trading/<SYMBOL>/<SYMBOL><day>.csv.gz`` for perpetuals and futures (linear and
  inverse in one folder), ``/spot/<SYMBOL>/<SYMBOL>_<day>.csv.gz`` for spot, where whole months are also
  packed as ``<SYMBOL>-<month>.csv.gz``.
- Order books: quote-saver.bycsi.com, ``/orderbook/<market>/<SYMBOL>/<day>_<SYMBOL>_ob<depth>.data.zip``: one
  JSON message a line, as the websocket sends them. The depth was 500 levels and became 200 in 2025; a day
  that lacks the one is looked for under the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

from apex_nautilus.data.download.archive import (
    Archive,
    Kind,
    Market,
    Piece,
    Request,
    days,
    month_end,
    months_then_days,
    register,
)

__all__: list[str] = []

_TRADES = "https://public.bybit.com"
_BOOKS = "https://quote-saver.bycsi.com"
_MARKETS: tuple[Market, ...] = ("linear", "inverse", "spot")


def _trades(request: Request) -> Iterator[Piece]:
    symbol = request.symbol
    if request.market != "spot":
        for day in days(request.first, request.last):
            yield Piece(f"/trading/{symbol}/{symbol}{day}.csv.gz", day, day, None, "gzip")
        return

    def daily(day: date) -> Piece:
        return Piece(f"/spot/{symbol}/{symbol}_{day}.csv.gz", day, day, None, "gzip")

    def monthly(day: date) -> Piece:
        rest = tuple(daily(d) for d in days(day, month_end(day)))
        return Piece(f"/spot/{symbol}/{symbol}-{day:%Y-%m}.csv.gz", day, month_end(day), None, "gzip", rest)

    yield from months_then_days(request, monthly, daily)


def _books(depth: int, other: int) -> Callable[[Request], Iterator[Piece]]:
    def pieces(request: Request) -> Iterator[Piece]:
        folder = f"/orderbook/{request.market}/{request.symbol}"
        for day in days(request.first, request.last):
            piece = Piece(f"{folder}/{day}_{request.symbol}_ob{depth}.data.zip", day, day, None, "zip")
            second = replace(piece, url_path=f"{folder}/{day}_{request.symbol}_ob{other}.data.zip")
            yield replace(piece, otherwise=(second,))

    return pieces


def _instrument_id(symbol: str, market: Market) -> str:
    return f"{symbol}-{market.upper()}.BYBIT"


register(
    Archive(
        "bybit",
        {
            "trades": Kind("trades", _MARKETS, _TRADES, _trades, importer="bybit-trades"),
            "ob500": Kind(
                "ob500",
                _MARKETS,
                _BOOKS,
                _books(500, 200),
                importer="bybit-ob500",
                remark="Days that exist with 200 levels only are fetched so.",
            ),
            "ob200": Kind("ob200", _MARKETS, _BOOKS, _books(200, 500), importer="bybit-ob500"),
        },
        _instrument_id,
    )
)
