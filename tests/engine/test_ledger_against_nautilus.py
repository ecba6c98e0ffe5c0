"""An agent's ledger against Nautilus's own: positions, their snapshots and the account, over any orders."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import OrderFilled
from support.engine_case import BTC, MS, START, wandering_market
from support.plain_case import BUY, SELL, Plain, run_plain, send

from apex_nautilus.data import write_events
from apex_nautilus.engine.funding_rates import FundingPlan, Settlement
from apex_nautilus.engine.records import FUNDING_TOPIC, FundingPayment
from apex_nautilus.risk import AgentAccount

LENGTH_MS = 4_000
FEES = {"paid": (0.0002, 0.0005), "free": (0.0, 0.0), "rebate": (-0.0001, 0.0003)}
CAPITAL = 10_000.0


class Booked(Plain):
    """A plain strategy beside which an agent's ledger is kept, from events alone."""

    def __init__(self, tag: str, script: list) -> None:
        super().__init__(tag, script)
        self.account = AgentAccount(CAPITAL, size_precision=BTC.size_precision)
        self.fills: list[OrderFilled] = []
        self.flips = 0

    def on_start(self) -> None:
        super().on_start()
        self.msgbus.subscribe(topic=f"{FUNDING_TOPIC}.{self.id}", handler=self.paid)

    def paid(self, payment: FundingPayment) -> None:
        assert payment.quantity == self.account.position
        self.account.fund(payment.amount)

    def on_order_filled(self, event: OrderFilled) -> None:
        self.fills.append(event)
        before = self.account.position
        self.account.fill(
            1 if event.order_side == OrderSide.BUY else -1,
            float(event.last_qty.as_decimal()),
            float(event.last_px.as_decimal()),
            float(event.commission.as_decimal()),
        )
        self.flips += before * self.account.position < 0.0


class Nautilus(NamedTuple):
    """What Nautilus has at the end: the change of the account, and by strategy the realised profit (fees in
    it), the open quantity and its average price; how many closed cycles it keeps as snapshots."""

    change: float
    realised: dict[str, float]
    quantity: dict[str, float]
    entry: dict[str, float]
    snapshots: int


def nautilus(engine) -> Nautilus:
    realised: dict[str, float] = defaultdict(float)
    quantity: dict[str, float] = defaultdict(float)
    entry: dict[str, float] = {}
    for position in [*engine.cache.positions(), *engine.cache.position_snapshots()]:
        if position.realized_pnl is not None:
            realised[position.strategy_id.value] += float(position.realized_pnl.as_decimal())
    for position in engine.cache.positions_open():
        quantity[position.strategy_id.value] += float(position.signed_decimal_qty())
        entry[position.strategy_id.value] = position.avg_px_open
    (account,) = engine.cache.accounts()
    change = account.balance_total(account.currencies()[0]).as_decimal() - Decimal(1_000_000)
    return Nautilus(float(change), realised, quantity, entry, len(engine.cache.position_snapshots()))


@pytest.fixture(scope="module")
def markets(tmp_path_factory):
    """One thin random walk, traded under three sets of fees."""
    events = wandering_market(3, 120, step=60, levels=4)
    folders = {}
    for name, (maker, taker) in FEES.items():
        folders[name] = tmp_path_factory.mktemp(name)
        spec = msgspec.structs.replace(BTC, maker_fee=maker, taker_fee=taker)
        write_events(folders[name] / "catalog", spec, events)
    return folders


def run(folder, scripts, rates) -> tuple[list[Booked], Nautilus]:
    settled = [Settlement(START + round(ms * MS), rate) for ms, rate in sorted(rates.items())]
    agents = [Booked(f"{n:03d}", script) for n, script in enumerate(scripts)]
    seen = run_plain(
        folder,
        wandering_market(3, 2),  # not used: the catalog is there
        agents,
        fills="nautilus",
        funding=FundingPlan({BTC.id: settled}, []),
        look=nautilus,
    )
    return agents, seen


def hold(agents: list[Booked], seen: Nautilus) -> None:
    """Every number to far below the cent."""
    for agent in agents:
        account, name = agent.account, agent.id.value
        assert account.realised - account.fees == pytest.approx(seen.realised[name], abs=1e-6)
        assert account.position == pytest.approx(seen.quantity[name], abs=1e-12)
        if name in seen.entry:
            assert account.average_price == pytest.approx(seen.entry[name], rel=1e-9)
        else:
            assert account.is_flat
            assert account.average_price == 0.0
        assert account.n_fills == len(agent.fills)
    total = sum(a.account.balance - CAPITAL for a in agents)
    assert seen.change == pytest.approx(total, abs=1e-6)


ORDER = st.tuples(
    st.integers(100, LENGTH_MS),
    st.sampled_from([BUY, SELL]),
    st.integers(1, 900),
    st.one_of(st.none(), st.integers(-400, 400)),
)
SCRIPT = st.lists(ORDER, min_size=1, max_size=12)
RATES = st.dictionaries(st.integers(200, LENGTH_MS), st.integers(-300, 300), max_size=5)


@settings(max_examples=40)
@given(fees=st.sampled_from(sorted(FEES)), scripts=st.lists(SCRIPT, min_size=1, max_size=3), rates=RATES)
def test_any_orders_leave_ledger_positions_and_account_in_agreement(markets, fees, scripts, rates):
    """Market orders and resting limits of any size, in any order, of up to three agents on one account."""
    made = [
        [
            (ms, send(f"{k}", side, units / 1000, None if away is None else 60_000.0 + away / 10))
            for k, (ms, side, units, away) in enumerate(script)
        ]
        for script in scripts
    ]
    hold(*run(markets[fees], made, {ms: rate / 1e5 for ms, rate in rates.items()}))


@pytest.mark.parametrize("fees", sorted(FEES))
def test_partial_fills_flips_snapshots_and_rebates_are_among_what_is_held(markets, fees):
    """The property above would prove nothing of what its orders never do."""
    flipping = [(300 * k, send(f"{k}", BUY if k % 2 else SELL, 0.4 if k == 1 else 0.8)) for k in range(1, 11)]
    closing = [(250 + 300 * k, send(f"{k}", BUY if k % 2 else SELL, 0.003)) for k in range(8)]
    resting = [
        (100 + 10 * k, send(f"{k}", BUY if k % 2 else SELL, 2.0, 60_000.0 + (-2.0 if k % 2 else 2.0)))
        for k in range(6)
    ]
    agents, seen = run(markets[fees], [flipping, closing, resting], {1000: 1e-3, 2000: -2e-3, 3000: 1e-3})
    hold(agents, seen)
    assert agents[0].flips >= 4
    parts = defaultdict(int)
    for agent in agents:
        for fill in agent.fills:
            parts[fill.client_order_id] += 1
    assert max(parts.values()) > 2
    assert seen.snapshots > 2
    paid = [float(f.commission.as_decimal()) for a in agents for f in a.fills]
    assert {"paid": min(paid) > 0.0, "free": set(paid) == {0.0}, "rebate": min(paid) < 0.0 < max(paid)}[fees]
    assert sum(a.account.funding != 0.0 for a in agents) >= 2
