"""Kelly shrunk by the uncertainty of the edge, in an arena."""

from __future__ import annotations

import pytest
from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate

from apex_nautilus.actors import read_result
from apex_nautilus.actors.agent_strategy import AgentStrategy
from apex_nautilus.genome import Evidence, Result, sealed
from apex_nautilus.risk import Certainty

WIDE = {"p": 0.35, "stop_bps": 60.0}  # far from the leverage cap


@pytest.fixture(autouse=True)
def remembered_trades(monkeypatch):
    monkeypatch.setattr(AgentStrategy, "keeps_records", True)


def fills(root, champion, **changes):
    layout = catalog(root, champions={"btc-1": champion})
    config = arena_config(layout, {"btc-1": BTC_ID}, limits={"decay_psr": 0.0}, **changes)
    engine = simulate(config, {BTC_ID: path(40, bps_per_s=1.0, noise_bps=1.0)})
    (strategy,) = engine.trader.strategies()
    reasons, trades = strategy.decision_counts(), list(strategy.trades)
    engine.dispose()
    return read_result(root).agents["btc-1.e1"].fills, reasons, trades


def with_evidence(trades, sharpe):
    from msgspec.structs import replace

    return sealed(
        replace(genome(**WIDE), evidence=Evidence(out_of_sample=Result(trades=trades, sharpe=sharpe)))
    )


def test_an_agent_bets_what_its_evidence_deserves_and_each_trade_counts(tmp_path):
    whole, _, _ = fills(tmp_path / "whole", genome(**WIDE))
    shrunk, _, trades = fills(tmp_path / "shrunk", with_evidence(100, 0.1), shrink=True)
    assert abs(shrunk[0].qty) == pytest.approx(0.5 * abs(whole[0].qty), abs=0.001)
    certainty = Certainty(0.1, 100)
    assert len(trades) > 5
    fractions = []
    for trade in trades:
        fractions.append((trade.fraction, certainty.value))
        certainty.add(trade.pnl / (trade.equity - trade.pnl))
    full = fractions[0][0] / fractions[0][1]
    for fraction, value in fractions:  # the spread in basis points moves a little, and the cost with it
        assert fraction / value == pytest.approx(full, rel=0.01)
    assert len({round(value, 6) for _, value in fractions}) == len(fractions)


def test_without_evidence_nothing_is_bet(tmp_path):
    found, reasons, _ = fills(tmp_path, genome(**WIDE), shrink=True)
    assert found == []
    assert reasons["no_edge"] > 10
