"""`apex data download`: where the venues keep what, what the command prints and how it ends."""

from __future__ import annotations

import gzip
import io
import json
import uuid
import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from apex_nautilus.cli.data_commands.download import command
from apex_nautilus.data import DataError, read_bars, read_events
from apex_nautilus.data.download import DownloadError, Request, get, plan
from apex_nautilus.data.importers import registry
from tests.support.archive_server import archive_server

TODAY = date(2024, 6, 15)
UM = "/data/futures/um"


def paths(
    venue: str,
    kind: str,
    market: str,
    first: str,
    last: str,
    interval: str | None = None,
    symbol: str = "BTCUSDT",
) -> list[str]:
    _, described = get(venue, kind)
    request = Request(
        symbol, kind, market, interval, date.fromisoformat(first), date.fromisoformat(last), TODAY
    )
    return [p.url_path for p in plan(described, request)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("binance", "trades", "linear", "2024-06-01", "2024-06-01"),
            [f"{UM}/daily/trades/BTCUSDT/BTCUSDT-trades-2024-06-01.zip"],
        ),
        (
            ("binance", "agg-trades", "spot", "2024-01-01", "2024-02-02"),
            [
                "/data/spot/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-01.zip",
                "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-02-01.zip",
                "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-02-02.zip",
            ],
        ),
        (
            ("binance", "klines", "inverse", "2023-12-31", "2024-01-31", "5m", "BTCUSD_PERP"),
            [
                "/data/futures/cm/daily/klines/BTCUSD_PERP/5m/BTCUSD_PERP-5m-2023-12-31.zip",
                "/data/futures/cm/monthly/klines/BTCUSD_PERP/5m/BTCUSD_PERP-5m-2024-01.zip",
            ],
        ),
        (
            ("binance", "premium-klines", "linear", "2024-06-03", "2024-06-03", "1m"),
            [f"{UM}/daily/premiumIndexKlines/BTCUSDT/1m/BTCUSDT-1m-2024-06-03.zip"],
        ),
        (
            ("binance", "metrics", "linear", "2024-05-31", "2024-06-01"),
            [f"{UM}/daily/metrics/BTCUSDT/BTCUSDT-metrics-2024-{d}.zip" for d in ("05-31", "06-01")],
        ),
        (
            ("binance", "funding", "linear", "2024-03-15", "2024-04-02"),
            [f"{UM}/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-{m}.zip" for m in ("03", "04")],
        ),
        (
            ("bybit", "trades", "linear", "2024-01-01", "2024-01-02"),
            [f"/trading/BTCUSDT/BTCUSDT2024-01-0{d}.csv.gz" for d in (1, 2)],
        ),
        (
            ("bybit", "trades", "inverse", "2024-01-01", "2024-01-01", None, "BTCUSD"),
            ["/trading/BTCUSD/BTCUSD2024-01-01.csv.gz"],
        ),
        (
            ("bybit", "trades", "spot", "2024-01-31", "2024-02-29"),
            ["/spot/BTCUSDT/BTCUSDT_2024-01-31.csv.gz", "/spot/BTCUSDT/BTCUSDT-2024-02.csv.gz"],
        ),
        (
            ("bybit", "ob500", "linear", "2024-01-01", "2024-01-01"),
            ["/orderbook/linear/BTCUSDT/2024-01-01_BTCUSDT_ob500.data.zip"],
        ),
    ],
)
def test_files_are_looked_for_where_the_venue_keeps_them(arguments, expected):
    assert paths(*arguments) == expected


def test_a_month_that_is_not_over_comes_by_its_days():
    assert len(paths("binance", "trades", "spot", "2024-05-01", "2024-06-14")) == 1 + 14


def test_a_book_that_is_not_there_with_500_levels_is_looked_for_with_200():
    _, kind = get("bybit", "ob500")
    day = date(2024, 6, 1)
    (piece,) = plan(kind, Request("BTCUSDT", "ob500", "spot", None, day, day, TODAY))
    assert [p.url_path for p in piece.otherwise] == [
        "/orderbook/spot/BTCUSDT/2024-06-01_BTCUSDT_ob200.data.zip"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbol": "../../ETC"}, "is no symbol"),
        ({"symbol": "BTC/USDT"}, "is no symbol"),
        ({"symbol": "btcusdt"}, "is no symbol"),
        ({"interval": "7m"}, "needs an interval, one of 1s, 1m"),
        ({"interval": "../1m"}, "needs an interval"),
        ({"interval": None}, "needs an interval"),
        ({"first": date(2024, 2, 1)}, "lies before the first"),
        ({"last": TODAY}, "is not over yet"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_asked_for(change, message):
    _, kind = get("binance", "klines")
    day = date(2024, 1, 1)
    wanted = {
        "symbol": "BTCUSDT",
        "kind": "klines",
        "market": "spot",
        "interval": "1m",
        "first": day,
        "last": day,
        "today": TODAY,
    }
    with pytest.raises(DownloadError, match=message):
        plan(kind, Request(**(wanted | change)))


def test_unknown_venues_and_kinds_are_told_with_those_there_are():
    with pytest.raises(DownloadError, match="known are binance, bybit"):
        get("kraken", "trades")
    with pytest.raises(DownloadError, match="its kinds are ob200, ob500, trades"):
        get("bybit", "klines")
    _, kind = get("binance", "funding")
    day = date(2024, 1, 1)
    with pytest.raises(DownloadError, match="exists for linear, inverse, not for spot"):
        plan(kind, Request("BTCUSDT", "funding", "spot", None, day, day, TODAY))


# ---- the command


def zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, text)
    return buffer.getvalue()


def klines(day: str) -> bytes:
    """A day of five-minute candles as Binance packs them."""
    start = _midnight_ms(day)
    rows = []
    for i in range(288):
        opened = start + i * 300_000
        price = 60_000 + i
        rows.append(
            f"{opened},{price}.0,{price + 5}.0,{price - 5}.0,{price + 1}.0,1.5,{opened + 299_999},90000.0,10,"
            "0.5,30000.0,0"
        )
    return zipped(f"BTCUSDT-5m-{day}.csv", "\n".join(rows) + "\n")


def _midnight_ms(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * 86_400_000


def invoke(*arguments: str):
    return CliRunner().invoke(command, list(arguments))


def test_days_are_fetched_imported_and_told(tmp_path):
    with archive_server() as archive:
        for day in ("2024-06-01", "2024-06-02"):
            archive.put(f"{UM}/daily/klines/BTCUSDT/5m/BTCUSDT-5m-{day}.zip", klines(day))
        span = ["--kind", "klines", "--interval", "5m", "--from", "2024-06-01", "--base-url", archive.url]
        where = ["--out", str(tmp_path / "out"), "--catalog", str(tmp_path / "catalog")]
        result = invoke("binance", "btcusdt", *span, "--to", "2024-06-02", *where, "--import", "--json")
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert [f["outcome"] for f in told["download"]["files"]] == ["fetched", "fetched"]
        assert told["imported"][0]["written"]["bars"] == 576
        bars = read_bars(tmp_path / "catalog", "BTCUSDT-PERP.BINANCE-5-MINUTE-LAST-EXTERNAL")
        assert bars.size == 576
        asked = len(archive.asked)
        # A day the venue lacks is told, and nothing else is asked for again.
        again = invoke("binance", "BTCUSDT", *span, "--to", "2024-06-03", *where)
        assert again.exit_code == 3
        assert "missing: BTCUSDT-5m-2024-06-03.zip (2024-06-03)" in again.stdout
        assert "2 files" in again.stdout
        assert "verified by the venue's SHA-256" in again.stdout
        assert {a.path.rpartition("-")[2][:2] for a in archive.asked[asked:]} == {"03"}
    folder = tmp_path / "out" / "binance" / "linear" / "klines" / "BTCUSDT" / "5m"
    assert {p.name for p in folder.glob("*.zip")} == {f"BTCUSDT-5m-2024-06-0{d}.zip" for d in (1, 2)}


def test_bybit_trades_are_proved_by_their_packing_and_imported(tmp_path):
    start = _midnight_ms("2024-06-01") / 1000
    header = (
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"
    )
    rows = "".join(
        f"{start + i:.4f},BTCUSDT,{'Buy' if i % 2 else 'Sell'},0.010,{60_000 + i}.50,PlusTick,"
        f"{uuid.uuid5(uuid.NAMESPACE_OID, str(i))},1e9,0.01,600.0\n"
        for i in range(50)
    )
    with archive_server() as archive:
        archive.put(
            "/trading/BTCUSDT/BTCUSDT2024-06-01.csv.gz",
            gzip.compress((header + rows).encode()),
            checksum=False,
        )
        result = invoke(
            *("bybit", "BTCUSDT", "--kind", "trades", "--import", "--base-url", archive.url),
            *("--from", "2024-06-01", "--to", "2024-06-01"),
            *("--out", str(tmp_path / "o"), "--catalog", str(tmp_path / "catalog")),
        )
    assert result.exit_code == 0, result.output
    assert "verified by gzip CRCs" in result.stdout
    trades = np.concatenate(list(read_events(tmp_path / "catalog", "BTCUSDT-LINEAR.BYBIT")))
    assert trades.size == 50


def test_a_failed_file_ends_with_1_and_nothing_is_imported(tmp_path):
    with archive_server() as archive:
        path = f"{UM}/daily/klines/BTCUSDT/5m/BTCUSDT-5m-2024-06-01.zip"
        archive.put(path, klines("2024-06-01"), faults=[("status", 403, {})])
        result = invoke(
            *("binance", "BTCUSDT", "--kind", "klines", "--interval", "5m", "--import"),
            *("--from", "2024-06-01", "--to", "2024-06-01", "--base-url", archive.url),
            *("--out", str(tmp_path / "out"), "--catalog", str(tmp_path / "catalog")),
        )
    assert result.exit_code == 1
    assert "refused with status 403" in result.stderr
    assert not (tmp_path / "catalog").exists()


def test_an_importer_that_is_not_there_is_told_before_anything_is_fetched(tmp_path, monkeypatch):
    def get_none(kind: str):
        raise DataError(f"{kind!r} is not a kind of recording (did you mean freqtrade?)")

    monkeypatch.setattr(registry, "get", get_none)
    with archive_server() as archive:
        base = ["--from", "2024-06-01", "--to", "2024-06-01", "--base-url", archive.url, "--import"]
        result = invoke("binance", "BTCUSDT", "--kind", "trades", *base, "--out", str(tmp_path))
        other = invoke("binance", "BTCUSDT", "--kind", "funding", *base, "--out", str(tmp_path))
        assert archive.asked == []
    assert result.exit_code == 1
    assert "no importer 'binance-trades'" in result.stderr
    assert other.exit_code == 1
    assert "there is no importer of funding" in other.stderr


def test_help_lists_the_kinds_of_every_venue():
    text = invoke("--help").output
    for word in ("binance", "bybit", "ob500", "agg-trades", "funding", "Exit code"):
        assert word in text


def test_the_importers_that_kinds_name_are_there():
    from apex_nautilus.data.download import archives

    for archive in archives().values():
        for kind in archive.kinds.values():
            if kind.importer is not None:
                assert registry.get(kind.importer).kind == kind.importer


def test_no_path_of_any_plan_leaves_the_folder(tmp_path):
    from apex_nautilus.data.download import archives

    for archive in archives().values():
        for kind in archive.kinds.values():
            interval = kind.intervals[0] if kind.intervals else None
            day = date(2024, 6, 1)
            for market in kind.markets:
                for piece in plan(
                    kind, Request("BTC-USDT_PERP", kind.name, market, interval, day, day, TODAY)
                ):
                    assert Path(piece.name).name == piece.name
                    assert (tmp_path / piece.name).resolve().parent == tmp_path.resolve()
