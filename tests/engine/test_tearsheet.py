"""Nautilus's tearsheet, made of what is kept while the engine runs."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.engine_case import BTC, scripted, touch_books, wandering_market

from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    TearsheetKeeper,
    batches,
    hub_config,
    nautilus_config,
    open_engine,
    run_market,
)

DAY_MS = 86_400_000


def entries(rows, hold_ms):
    sides = [(row, (-1) ** k) for k, row in enumerate(rows)]
    return [(row, side, 0.5, 60000.0 + side * 500.0, 60000.0 - side * 500.0, hold_ms) for row, side in sides]


def kept(folder, events, script, look):
    """Run a scripted agent; return what `look` says of engine and keeper after the run."""
    write_events(folder / "catalog", BTC, events)
    config = nautilus_config(
        catalog=str(folder / "catalog"),
        instrument_ids=[BTC.id],
        quote="USDT",
        balance=100_000.0,
        fills="touch",
        actors=[hub_config(BTC.id)],
    )
    with open_engine(config) as engine:
        engine.add_strategy(scripted("A", script))
        keeper = TearsheetKeeper(engine, "USDT")
        run_market(engine, batches(folder / "catalog", [BTC.id]))
        seen = look(engine, keeper)
    return keeper, seen


def same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, nan_ok=True), name


@pytest.mark.parametrize("days", [0, 5])
def test_the_statistics_are_those_that_nautilus_makes_of_its_cache(days, tmp_path):
    if days:
        prices = 60_000.0 + np.cumsum(np.random.default_rng(4).normal(0.0, 40.0, days * 12)).round(1)
        events = touch_books([(k * DAY_MS // 12, p, p + 0.1) for k, p in enumerate(prices)])
        script = entries(range(1, days * 12 - 4, 3), DAY_MS // 8)
    else:
        events, script = wandering_market(11, 300), entries(range(0, 290, 10), 100)

    def look(engine, keeper):
        (account,) = engine.cache.accounts()
        positions = [*engine.cache.positions(), *engine.cache.position_snapshots()]
        oracle = engine.portfolio.analyzer
        oracle.calculate_statistics(account, [p for p in positions if p.is_closed])
        ours = keeper.analyzer()
        assert len(ours.position_returns()) > 10
        assert len(ours.portfolio_returns()) == days  # begun at 22:13, they end on one day more
        currency = account.currencies()[0]
        same(ours.get_performance_stats_pnls(currency), oracle.get_performance_stats_pnls(currency))
        same(ours.get_performance_stats_returns(), oracle.get_performance_stats_returns())
        same(ours.get_performance_stats_general(), oracle.get_performance_stats_general())

    keeper, _ = kept(tmp_path, events, script, look)
    keeper.write(tmp_path / "t.html", "After the engine is gone")
    page = (tmp_path / "t.html").read_text()
    assert ("Monthly Returns" in page) == bool(days)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)  # nothing is fetched


def test_two_runs_write_the_same_bytes_and_nobody_needs_to_have_traded(tmp_path):
    for name in ("a", "b"):
        keeper, _ = kept(tmp_path / name, wandering_market(2, 60), entries([0, 20], 100), lambda *_: None)
        keeper.write(tmp_path / f"{name}.html", "Twice")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    keeper, _ = kept(tmp_path / "c", wandering_market(2, 20), [], lambda *_: None)
    keeper.write(tmp_path / "c.html", "Nobody")
    assert "Nobody" in (tmp_path / "c.html").read_text()
