"""What is over is let go of, what works stays, and nothing else changes."""

from __future__ import annotations

import pytest
from nautilus_trader.model.identifiers import Venue
from support.engine_case import BTC, scripted, wandering_market

from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    NetworkConfig,
    batches,
    hub_config,
    nautilus_config,
    open_engine,
    purge_config,
    run_market,
)
from apex_nautilus.engine.purge import CachePurger, CachePurgerConfig

BUSY = [(i * 12, 1 if i % 3 else -1, 0.01, *((60_900.0, 59_900.0) if i % 3 else (59_100.0, 60_100.0)), 200)
        for i in range(1, 110)]  # fmt: skip
PATIENT = [(3, 1, 0.02, 90_000.0, 30_000.0, 10**9)]
"""Its bracket is never reached: position and legs stand from the beginning to the end."""


def run(folder, purge, network=None):
    """Fills and trades of a busy and a patient agent, and what the cache knows at the end."""
    config = nautilus_config(
        catalog=str(folder),
        instrument_ids=[BTC.id],
        quote="USDT",
        balance=100_000.0,
        actors=[hub_config(BTC.id, network=network), *([] if purge is None else [purge])],
        network=network,
    )
    agents = [scripted("001", BUSY), scripted("002", PATIENT)]
    with open_engine(config) as engine:
        for agent in agents:
            engine.add_strategy(agent)
        run_market(engine, batches(folder, [BTC.id]))
        cache = engine.cache
        account = cache.account_for_venue(Venue("BINANCE"))
        known = {
            "closed_ns": sorted(order.ts_closed for order in cache.orders_closed()),
            "open": sorted((o.client_order_id.value, str(o.quantity)) for o in cache.orders_open()),
            "positions": [(p.id.value, str(p.signed_decimal_qty())) for p in cache.positions_open()],
            "copies": len(cache.position_snapshots()),
            "states": account.event_count,
            "balance": str(account.balance_total(account.currencies()[0])),
            "end_ns": engine.kernel.clock.timestamp_ns(),
        }
    return [(agent.fills, agent.trades) for agent in agents], known


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("purge") / "catalog"
    write_events(folder, BTC, wandering_market(11, 1400))
    return folder


@pytest.mark.parametrize("network", [None, NetworkConfig(seed=4, loss=0.05, timeout_ms=200.0)])
def test_agents_notice_nothing_and_only_what_is_over_is_forgotten(market, network):
    before, everything = run(market, None, network)
    after, known = run(market, purge_config(every_s=1.0, keep_s=3), network)
    assert after == before
    assert len(before[0][1]) > 60
    for name in ("open", "positions", "balance", "end_ns"):
        assert known[name] == everything[name], name
    assert len(known["open"]) >= 2
    assert known["positions"]
    since_ns = known["end_ns"] - 3 * 10**9
    recent = [ts for ts in everything["closed_ns"] if ts > since_ns]
    assert known["closed_ns"][-len(recent) :] == recent
    assert all(ts > since_ns - 10**9 for ts in known["closed_ns"])
    assert len(known["closed_ns"]) < len(everything["closed_ns"]) / 5
    assert everything["copies"] > 50
    assert known["copies"] == 0
    assert known["states"] < everything["states"] / 5


@pytest.mark.parametrize(
    ("settings", "field"), [({"every_s": 0.0}, "every_s"), ({"every_s": float("nan")}, "every_s"),
                            ({"keep_s": -1}, "keep_s")]
)  # fmt: skip
def test_impossible_numbers_are_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=f"purge: {field}"):
        CachePurger(CachePurgerConfig(**settings))
