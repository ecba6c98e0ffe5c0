"""What an agent's fills cost, in Nautilus: parts by hand, and the identity over random markets."""

from __future__ import annotations

import json
import math

import pytest
from support.bars_case import on_bars
from support.engine_case import run_agents, scripted, touch_books, wandering_market

from apex_nautilus.data import import_freqtrade
from apex_nautilus.data.importers.external_funding import import_freqtrade_funding
from apex_nautilus.engine import load_config, run_backtest
from apex_nautilus.genome import encode

LONG = (0, 1, 0.5, 60030.0, 59990.0, 60_000)  # row 0, buy 0.5, take-profit, stop, holding time in ms


def trade_of(folder, books, entry=LONG, **settings):
    agent = scripted("A", [entry], **settings)
    run_agents(folder, touch_books(books), [agent])
    (trade,) = agent.trades
    return agent, trade


def test_half_a_spread_in_and_the_gap_through_the_stop(tmp_path):
    """Bought at the ask 0.2 above the mid; stopped at 59980 though 59990 was asked for."""
    agent, trade = trade_of(tmp_path, [(0, 60000.0, 60000.4), (10, 59995.0, 59995.4), (20, 59980.0, 59980.4)])
    entry, stop = agent.fills
    assert (entry.reference, entry.spread, entry.slippage) == pytest.approx((60000.2, 0.5 * 0.2, 0.0))
    assert (stop.reference, stop.spread, stop.slippage) == pytest.approx((59990.0, 0.0, 0.5 * 10.0))
    assert (trade.spread, trade.slippage) == pytest.approx((0.1, 5.0))


def test_an_exit_at_market_pays_half_a_spread_and_a_limit_pays_none(tmp_path):
    books = [(0, 60000.0, 60000.4), (10, 60001.0, 60001.4), (20, 60001.0, 60001.4)]
    agent, trade = trade_of(tmp_path / "a", books, (*LONG[:5], 5))
    assert trade.exit_kind == "max_hold"
    assert agent.fills[1].spread == pytest.approx(0.5 * 0.2)
    agent, trade = trade_of(tmp_path / "b", [(0, 60000.0, 60000.4), (10, 60035.0, 60035.4)])
    assert trade.exit_kind == "take_profit"
    assert (agent.fills[1].spread, agent.fills[1].slippage) == (0.0, 0.0)


@pytest.mark.parametrize("fills", ["touch", "nautilus"])
@pytest.mark.parametrize("legs", ["native", "emulated"])
def test_the_parts_and_the_fees_are_the_implementation_shortfall(fills, legs, tmp_path):
    """Profit = profit at the reference prices - fees - spread - slippage, trade by trade, where orders walk
    thin books and are filled in parts; the references are those of the market that was written."""
    events = wandering_market(7, 400)
    script = [
        (
            row,
            (-1) ** (row // 9),
            0.7,
            60000.0 + (-1) ** (row // 9) * 9.0,
            60000.0 - (-1) ** (row // 9) * 9.0,
            900,
        )
        for row in range(0, 390, 9)
    ]
    agent = scripted("A", script, legs=legs)
    run_agents(tmp_path, events, [agent], fills=fills)
    assert len(agent.trades) > 10
    touches = {ts: (bid, ask) for ts, bid, ask, _ in agent.seen}
    seen = iter(agent.fills)
    for trade in agent.trades:
        parts = []
        while not parts or parts[-1].position != 0.0:
            parts.append(next(seen))
        paper = -math.fsum(f.side * f.quantity * f.reference for f in parts)
        costs = trade.fees + trade.spread + trade.slippage
        assert trade.pnl == pytest.approx(paper - costs, abs=1e-6)
        first = parts[0]
        bid, ask = touches[first.ts_ns]
        assert first.reference == pytest.approx((bid + ask) / 2)
    assert any(t.slippage > 0.0 for t in agent.trades)
    assert any(t.spread > 0.0 for t in agent.trades)


def test_on_recorded_candles_the_parts_the_fees_and_the_funding_make_the_profit(tmp_path, root):
    data, instrument_id = root / "tests" / "data", "BTCUSDT-PERP.BINANCE"
    import_freqtrade([data / "BTC_USDT_USDT-5m-futures.feather"], tmp_path / "market")
    import_freqtrade_funding([data / "BTC_USDT_USDT-8h-funding_rate.feather"], tmp_path / "market")
    genome = on_bars(instrument_id, "5m", stop_bps=60.0, max_hold_s=16_200.0)
    (tmp_path / "btc.json").write_bytes(encode(genome))
    config = {
        "schema": "apex.backtest/1",
        "name": "candles",
        "catalog": "market",
        "bars": {"path": "5m"},
        "agents": [{"slot": "btc-1", "instrument_id": instrument_id, "genome": "btc.json"}],
        "start": "2025-04-02",
        "end": "2025-04-08",
        "mark_s": 300.0,
    }
    (tmp_path / "run.json").write_text(json.dumps(config))
    result = run_backtest(load_config(tmp_path / "run.json"), run_id="run", tearsheet=True)
    (agent,) = result.agents
    fills = iter(agent.fills)
    for trade in agent.trades:
        parts = []
        while not parts or parts[-1].position != 0.0:
            parts.append(next(fills))
        paper = -math.fsum(f.side * f.quantity * f.reference for f in parts)
        costs = trade.fees + trade.spread + trade.slippage
        assert trade.pnl == pytest.approx(paper - costs + trade.funding, abs=1e-6)
    assert len(agent.trades) > 5
    assert any(t.funding for t in agent.trades)
    assert all(t.spread > 0.0 for t in agent.trades)  # of the cost model: half a spread in, at least
    assert "Monthly Returns" in (result.folder / "tearsheet.html").read_text()
