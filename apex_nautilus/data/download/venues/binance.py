"""Binance's public archive (data.binance.vision): zip files, each with its SHA-256 beside it.

``/data/<market>/<daily|monthly>/<kind>/<SYMBOL>[/<interval>]/<SYMBOL>-<kind or interval>-<date>.zip``, where
the date is a day or a month and the market is ``spot``, ``futures/um`` (margined in USDT) or ``futures/cm``
(in the coin). The checksum has the same name with ``.CHECKSUM`` behind it. Documented at
github.com/binance/binance-public-data.
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

_HOST = "https://data.binance.vision"
_FOLDERS: dict[Market, str] = {"linear": "futures/um", "inverse": "futures/cm", "spot": "spot"}
_MARKETS: tuple[Market, ...] = ("linear", "inverse", "spot")
_FUTURES: tuple[Market, ...] = ("linear", "inverse")
_INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")


def _piece(request: Request, folder: str, span: str, stamp: str, first: date, last: date) -> Piece:
    inner = f"{request.symbol}/{request.interval}" if request.interval else request.symbol
    name = f"{request.symbol}-{request.interval or folder}-{stamp}.zip"
    path = f"/data/{_FOLDERS[request.market]}/{span}/{folder}/{inner}/{name}"
    return Piece(path, first, last, f"{path}.CHECKSUM", "zip")


def _day(request: Request, folder: str, day: date) -> Piece:
    return _piece(request, folder, "daily", day.isoformat(), day, day)


def _month(request: Request, folder: str, day: date) -> Piece:
    return _piece(request, folder, "monthly", f"{day:%Y-%m}", day.replace(day=1), month_end(day))


def _by_month(folder: str) -> Callable[[Request], Iterator[Piece]]:
    def pieces(request: Request) -> Iterator[Piece]:
        def month(day: date) -> Piece:
            rest = tuple(_day(request, folder, d) for d in days(day, month_end(day)))
            return replace(_month(request, folder, day), otherwise=rest)

        yield from months_then_days(request, month, lambda day: _day(request, folder, day))

    return pieces


def _by_day(folder: str) -> Callable[[Request], Iterator[Piece]]:
    def pieces(request: Request) -> Iterator[Piece]:
        for day in days(request.first, request.last):
            yield _day(request, folder, day)

    return pieces


def _months_only(folder: str) -> Callable[[Request], Iterator[Piece]]:
    def pieces(request: Request) -> Iterator[Piece]:
        starts = dict.fromkeys(day.replace(day=1) for day in days(request.first, request.last))
        for start in starts:
            yield _month(request, folder, start)

    return pieces


def _instrument_id(symbol: str, market: Market) -> str:
    """BTCUSDT-PERP.BINANCE, BTCUSD_PERP becomes BTCUSD_PERP.BINANCE, spot BTCUSDT.BINANCE."""
    return f"{symbol}-PERP.BINANCE" if market == "linear" else f"{symbol}.BINANCE"


register(
    Archive(
        "binance",
        {
            k.name: k
            for k in (
                Kind("trades", _MARKETS, _HOST, _by_month("trades"), importer="binance-trades"),
                Kind("agg-trades", _MARKETS, _HOST, _by_month("aggTrades"), importer="binance-trades"),
                Kind("klines", _MARKETS, _HOST, _by_month("klines"), _INTERVALS, importer="binance-klines"),
                Kind("mark-klines", _FUTURES, _HOST, _by_month("markPriceKlines"), _INTERVALS),
                Kind("index-klines", _FUTURES, _HOST, _by_month("indexPriceKlines"), _INTERVALS),
                Kind("premium-klines", _FUTURES, _HOST, _by_month("premiumIndexKlines"), _INTERVALS),
                Kind(
                    "book-ticker",
                    _FUTURES,
                    _HOST,
                    _by_month("bookTicker"),
                    remark="Published from May 2023 to March 2024 only.",
                ),
                Kind(
                    "book-depth",
                    _FUTURES,
                    _HOST,
                    _by_day("bookDepth"),
                    remark="Depth within whole percents of the price, every half minute: no order book.",
                ),
                Kind("metrics", _FUTURES, _HOST, _by_day("metrics"), remark="Open interest and ratios."),
                Kind(
                    "funding",
                    _FUTURES,
                    _HOST,
                    _months_only("fundingRate"),
                    remark="By month only; a month that is not over is missing.",
                ),
            )
        },
        _instrument_id,
    )
)
