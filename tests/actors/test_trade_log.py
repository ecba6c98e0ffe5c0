"""The trade log of a real run of the arena holds every execution once and adds up to the ledgers."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from support.arena_case import (
    BTC_ID,
    account_cash,
    arena_config,
    catalog,
    doomed,
    funding,
    genome,
    path,
    simulate,
)

from apex_nautilus.actors import read_result
from apex_nautilus.engine import TradeLogger, TradeLoggerConfig, read_events, read_executions, read_settings
from apex_nautilus.engine.trade_files import ClosedTrade, read_closed, read_payments
from apex_nautilus.store import CatalogLayout, read_all


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    layout = catalog(
        root, champions={"btc-1": genome(), "btc-2": doomed()}, incoming=[genome(side=-1.0, p=0.55)]
    )
    logger = TradeLogger(
        TradeLoggerConfig(
            folder=str(root / "logs"), session="s1", desk="arena", settings={"slots": ["btc-1", "btc-2"]}
        )
    )
    engine = simulate(
        arena_config(layout, {"btc-1": BTC_ID, "btc-2": BTC_ID}, limits={"decay_psr": 0.0, "drawdown": 0.5}),
        {BTC_ID: path(60, bps_per_s=3.0, wave_bps=8.0)},
        actors=[logger],
        modules=[funding(*((float(s), 3e-4 * (-1) ** s) for s in range(2, 60, 5)))],
    )
    cash = account_cash(engine)
    engine.dispose()
    return root, list(read_executions(root / "logs" / "trades_s1.csv")), cash


def test_every_fill_of_the_ledger_is_one_line_and_no_other_is(run):
    root, executions, _ = run
    agents = {a.birth.strategy_id: a for a in read_result(root).agents.values()}
    assert len(agents) == 3
    assert len(executions) > 30
    logged = Counter(
        (e.strategy_id, e.client_order_id, float(e.quantity) * (1 if e.side == "BUY" else -1), float(e.price))
        for e in executions
    )
    fills = Counter((s, f.order, f.qty, f.price) for s, a in agents.items() for f in a.fills)
    assert logged == fills
    assert [e.ts_ns for e in executions] == sorted(e.ts_ns for e in executions)


def test_every_closed_trade_of_the_ledger_is_one_line_with_its_costs_and_no_other_is(run):
    root, _, _ = run
    closed = list(read_closed(root / "logs" / "closed_s1.csv"))
    agents = {a.birth.agent: a.birth.strategy_id for a in read_result(root).agents.values()}
    told = [line.fields for line in read_all(CatalogLayout(root).ledger, kinds=("trade",))]
    assert len(told) > 10
    parts = ("number", "side", "quantity", "exit_price", "exit_kind", "p", "fees", "spread", "slippage",
             "funding", "pnl")  # fmt: skip
    assert [(c.strategy_id, *(getattr(c, part) for part in parts)) for c in closed] == [
        (agents[fields["agent"]], *(fields[part] for part in parts)) for fields in told
    ]
    assert any(c.funding for c in closed)
    assert any(c.spread > 0.0 for c in closed)
    events = [e for e in read_events(root / "logs", "arena") if e["event"] == "TradeClosed"]
    assert [(e["strategy_id"], e["number"], e["pnl"]) for e in events] == [
        (c.strategy_id, c.number, c.pnl) for c in closed
    ]
    assert set(ClosedTrade.__struct_fields__) - {"ts_ns", "session", "desk"} <= events[0].keys()


def test_every_payment_of_the_ledger_is_one_line_and_no_other_is(run):
    root, _, _ = run
    paid = list(read_payments(root / "logs" / "funding_s1.csv"))
    agents = {a.birth.agent: a.birth.strategy_id for a in read_result(root).agents.values()}
    told = [
        (line.ts_ns, agents[line.fields["agent"]], line.fields["position"], line.fields["amount"])
        for line in read_all(CatalogLayout(root).ledger, kinds=("funding",))
    ]
    assert len(told) > 10
    assert sorted((p.ts_ns, p.strategy_id, float(p.quantity), float(p.funding)) for p in paid) == sorted(told)
    events = [e for e in read_events(root / "logs", "arena") if e["event"] == "FundingPaid"]
    assert [(e["ts_ns"], e["strategy_id"], e["amount"]) for e in events] == [
        (p.ts_ns, p.strategy_id, float(p.funding)) for p in paid
    ]


def test_cash_of_each_agent_and_of_the_account_follows_from_the_log_alone(run):
    root, executions, account = run
    cash: dict[str, Decimal] = defaultdict(Decimal)
    for p in read_payments(root / "logs" / "funding_s1.csv"):
        cash[p.strategy_id] += p.funding
    held: dict[str, Decimal] = defaultdict(Decimal)
    for e in executions:
        cash[e.strategy_id] += e.cash - e.commission
        held[e.strategy_id] += e.quantity if e.side == "BUY" else -e.quantity
    flat: dict[str, Decimal] = {}
    for agent in read_result(root).agents.values():
        name = agent.birth.strategy_id
        if held[name] == 0:
            end = agent.burial.cash if agent.burial else agent.fills[-1].cash
            assert float(cash[name]) == pytest.approx(end - agent.birth.capital, abs=1e-6)
            flat[name] = cash[name]
    assert flat, "nobody ended flat, so nothing was compared"
    if not any(held.values()):
        assert float(sum(flat.values())) == pytest.approx(account - 1_000_000.0, abs=1e-6)


def test_the_events_tell_the_life_of_each_order(run):
    root, executions, _ = run
    events = list(read_events(root / "logs", "arena", session="s1"))
    filled = [e for e in events if e["event"] == "OrderFilled"]
    assert [e["trade_id"] for e in filled] == [e.trade_id for e in executions]
    first = {}
    for event in (e for e in events if e["event"].startswith("Order")):
        first.setdefault(event["client_order_id"], event["event"])
    assert set(first.values()) == {"OrderInitialized"}
    kinds = {e["event"] for e in events}
    assert {"OrderSubmitted", "OrderAccepted", "OrderCanceled"} <= kinds
    assert not any("event_id" in e or "ts_init" in e for e in events)  # drawn at random, and of this process
    assert read_settings(root / "logs", "s1")["settings"] == {"slots": ["btc-1", "btc-2"]}
