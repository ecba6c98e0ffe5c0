"""The arena on recorded candles: clocks of five and fifteen minutes, a challenger that takes a slot."""

from __future__ import annotations

import json
import math

import pytest
from support.arena_case import catalog
from support.bars_case import on_bars

from apex_nautilus.actors import load_arena_config, rebuild_books, run_arena
from apex_nautilus.data import import_freqtrade
from apex_nautilus.data.external import write_external
from apex_nautilus.data.importers.external_funding import import_freqtrade_funding
from apex_nautilus.engine import ConfigError
from apex_nautilus.features.external import ExternalSeries
from apex_nautilus.store import CatalogLayout, read_all, read_ledger

BTC, ETH = "BTCUSDT-PERP.BINANCE", "ETHUSDT-PERP.BINANCE"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    """Ten days of candles of two perpetuals, two champions, and a configuration."""
    place = tmp_path_factory.mktemp("arena-bars")
    data = root / "tests" / "data"
    names = ("BTC_USDT_USDT-5m-futures.feather", "ETH_USDT_USDT-5m-futures.feather")
    import_freqtrade([data / name for name in names], place / "market")
    catalog(
        place / "catalog",
        champions={"btc-1": on_bars(BTC, "5m"), "eth-1": on_bars(ETH, "15m")},
        incoming=[],
    )
    write(place, "arena.json")
    return place


def write(place, file, /, **changes):
    config = {
        "schema": "apex.arena/1",
        "name": "bars",
        "market": "market",
        "strategies": "catalog",
        "slots": [{"slot": "btc-1", "instrument_id": BTC}, {"slot": "eth-1", "instrument_id": ETH}],
        "bars": {"path": "5m"},
        "end": "2025-04-04T00:00:00Z",
        "mark_s": 300.0,
        "intake_s": 300.0,
        "ledger_mark_s": 3600.0,
        **changes,
    }
    (place / file).write_text(json.dumps(config))
    return place / file


def test_champions_of_both_clocks_trade_and_the_books_agree(folder):
    result = run_arena(load_arena_config(folder / "arena.json"), run_id="first")
    assert result.finish.mismatches == 0
    assert abs(result.finish.account_cash - result.finish.ledger_cash) < 0.005
    assert result.finish.marks > 800  # three days of five minutes
    for name in ("btc-1.e1", "eth-1.e1"):
        equity = result.agents[name].equity
        assert len(equity) >= 60  # an hour each; the one on 5m is ended for its results before the end
        assert len(set(equity)) > 20  # it traded


def test_the_same_run_twice_is_the_same(folder):
    one, two = (run_arena(load_arena_config(folder / "arena.json"), run_id=name) for name in ("a", "b"))
    assert {n: list(a.equity) for n, a in one.agents.items()} == {
        n: list(a.equity) for n, a in two.agents.items()
    }


def test_preload_is_refused_as_hubs_of_bars_keep_all(folder):
    with pytest.raises(ConfigError, match="preload: hubs of bars keep all history"):
        load_arena_config(write(folder, "preload.json", preload={"1s": ["spread_bps"]}))
    with pytest.raises(ConfigError, match=r"bars\.costs: nobody trades 'SOLUSDT"):
        load_arena_config(write(folder, "costs.json", bars={"costs": {"SOLUSDT-PERP.BINANCE": "x.json"}}))


def test_a_champion_that_follows_what_is_published_trades_with_it(folder):
    """Funding turns every eight hours from the third day on; until then it is neutral and nobody trades."""
    first, hours = 1_743_465_600 * 10**9, 3600 * 10**9
    turns = [first + 48 * hours + 8 * hours * i for i in range(3)]
    write_external(folder / "market", ExternalSeries("funding_rate", turns, [1e-4, -1e-4, 1e-4]), BTC)
    champions = {"btc-1": on_bars(BTC, "5m", features=("funding_rate", "true_range"))}
    catalog(folder / "outside", champions=champions, incoming=[])
    slots = [{"slot": "btc-1", "instrument_id": BTC}]
    file = write(folder, "outside.json", strategies="outside", slots=slots)
    result = run_arena(load_arena_config(file), run_id="outside")
    assert result.finish.mismatches == 0
    position, sides = 0.0, {}
    for line in read_all(CatalogLayout(result.root).ledger, kinds=("fill",)):
        if position == 0.0:
            # Decided at a close, entered at the open that has the same time.
            side = math.copysign(1, line.fields["qty"])
            sides.setdefault(sum(line.ts_ns >= t for t in turns), set()).add(side)
        position = round(position + line.fields["qty"], 3)
    assert sides == {1: {1}, 2: {-1}, 3: {1}}


@pytest.fixture(scope="module")
def paying(tmp_path_factory, root):
    """The same candles, with the rates that were paid."""
    place = tmp_path_factory.mktemp("arena-funding")
    data = root / "tests" / "data"
    for pair in ("BTC_USDT_USDT", "ETH_USDT_USDT"):
        import_freqtrade([data / f"{pair}-5m-futures.feather"], place / "market")
        import_freqtrade_funding([data / f"{pair}-8h-funding_rate.feather"], place / "market")
    champions = {
        "btc-1": on_bars(BTC, "5m", stop_bps=150.0, max_hold_s=16_200.0),
        "eth-1": on_bars(ETH, "15m", stop_bps=150.0, max_hold_s=16_200.0),
    }
    incoming = [on_bars(BTC, "5m", stop_bps=120.0, max_hold_s=20_000.0)]
    catalog(place / "catalog", champions=champions, incoming=incoming)
    return place


def test_recorded_rates_are_paid_by_everybody_and_the_books_agree(paying):
    config = write(paying, "arena.json", contest={"idle_expiry_s": 0.0, "min_trades": 1000})
    result = run_arena(load_arena_config(config), run_id="first")
    lines = list(read_ledger(CatalogLayout(result.root).ledger_file("arena")))
    assert [
        (f["instrument_id"], f["source"], f["settlements"], f["gaps"])
        for f in (line.fields for line in lines if line.kind == "funding_rates")
    ] == [(BTC, "series", 8, []), (ETH, "series", 8, [])]  # three days without the midnights at their ends
    paid = {line.fields["agent"] for line in lines if line.kind == "funding"}
    assert paid == {"btc-1.e1", "eth-1.e1", "shadow-1"}
    assert result.finish.mismatches == 0
    assert abs(result.finish.account_cash - result.finish.ledger_cash) < 0.005
    (books,) = rebuild_books(lines)
    assert books.cash == result.finish.ledger_cash


def test_funding_that_is_switched_off_leaves_no_line_but_the_one_that_says_so(paying):
    config = write(paying, "free.json", funding=False, end="2025-04-02T12:00:00Z")
    result = run_arena(load_arena_config(config), run_id="free")
    lines = list(read_ledger(CatalogLayout(result.root).ledger_file("arena")))
    assert {line.fields["source"] for line in lines if line.kind == "funding_rates"} == {"off"}
    assert not any(line.kind == "funding" for line in lines)
    with pytest.raises(ConfigError, match=r"wrong\.json: funding\[0\]: nobody trades 'SOLUSDT"):
        load_arena_config(write(paying, "wrong.json", funding=["SOLUSDT-PERP.BINANCE"]))
