"""Agents on a network that loses what a test names, under audit."""

from __future__ import annotations

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.model.identifiers import InstrumentId

from apex_nautilus.actors.reconciliation import Balance, reconcile
from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    Delay,
    NetworkConfig,
    batches,
    hub_config,
    nautilus_config,
    open_engine,
    run_market,
)
from apex_nautilus.engine.network import stable_key
from apex_nautilus.sim import LatencyModel
from apex_nautilus.sim.latency import ORDER
from support.engine_case import BTC, MS, START, book_events

CASH = 100_000.0
BTC_ID = InstrumentId.from_str(BTC.id)


class Auditor(Actor):
    """Holds the agents' ledgers against the venue's account, ten times a second."""

    def __init__(self, agents) -> None:
        super().__init__(ActorConfig(component_id="Auditor"))
        self.agents = agents
        self.marks = 0
        self.differences: list[str] = []

    def on_start(self) -> None:
        self.clock.set_timer_ns("audit", 100 * MS, START, 0, lambda _: self.audit())

    def audit(self) -> None:
        account = self.cache.account_for_venue(BTC_ID.venue)
        cash = float(account.balance_total(account.currencies()[0]).as_decimal())
        ledgers = [
            Balance(a.slot, a.account.balance - a.account.capital, BTC.id, a.account.position)
            for a in self.agents
        ]
        held = sum(float(p.signed_decimal_qty()) for p in self.cache.positions_open(instrument_id=BTC_ID))
        found = reconcile(cash, CASH, ledgers, {BTC.id: held}, lots={BTC.id: 0.001})
        self.differences.extend(found.differences)
        self.marks += 1


def run(folder, events, agents, network, *, fills="touch"):
    """Run agents under audit; return the auditor and the ids of orders that are open at the end."""
    catalog = folder / "catalog"
    if not catalog.exists():
        write_events(catalog, BTC, events)
    config = nautilus_config(
        catalog=str(catalog), instrument_ids=[BTC.id], quote="USDT", balance=CASH, fills=fills,
        actors=[hub_config(BTC.id, network=network)], network=network,
    )  # fmt: skip
    auditor = Auditor(agents)
    with open_engine(config) as engine:
        engine.add_actor(auditor)
        for agent in agents:
            engine.add_strategy(agent)
        run_market(engine, batches(catalog, [BTC.id]))
        auditor.audit()
        working = [o for o in engine.cache.orders() if not o.is_closed]
        positions = [float(p.signed_decimal_qty()) for p in engine.cache.positions_open()]
    return auditor, working, positions


def story(agent):
    return [(f.role, round((f.ts_ns - START) / MS, 3), f.price, f.position) for f in agent.fills]


def network(
    lost: dict[int, bool], directions: dict[int, int], *, slot="001", kind="Scripted", **changes
) -> NetworkConfig:
    """A network on which exactly the named commands of the agent in `slot` are lost, among those named."""
    key = stable_key(f"{kind}-{slot}")
    for seed in range(100_000):
        model = LatencyModel(seed, loss=0.5)
        if all(model.is_lost(key, n, directions.get(n, ORDER)) == is_lost for n, is_lost in lost.items()):
            still = Delay(mu=6.9, sigma=0.0)  # 1 ms
            settings = {"insert": still, "amend": still, "cancel": still, "feed": None, **changes}
            return NetworkConfig(seed=seed, loss=0.5, timeout_ms=100.0, **settings)
    raise AssertionError("no such seed")


def books(*touches, until=2_000):
    """Books every 10 ms that follow `touches` (ms, bid, ask)."""
    rows, (bid, ask) = [], (0.0, 0.0)
    moves = {ms: (b, a) for ms, b, a in touches}
    for ms in range(0, until, 10):
        bid, ask = moves.get(ms, (bid, ask))
        rows.append((ms, bid, ask))
    return book_events([(ms, [(b, 10.0 + k % 2)], [(a, 10.0)]) for k, (ms, b, a) in enumerate(rows)])
