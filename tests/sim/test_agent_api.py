"""Markets for people: agents written in Python, alone on a book and inside a simulated market."""

import logging
import math
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_book import SlowBook, SlowOrder

from apex_nautilus.sim import Market, profile
from apex_nautilus.sim._grid import Grid, OffGridError
from apex_nautilus.sim.api import AgentError, Cancel, Fill, MarketState, Order, Simulation, Trade

BTC = profile("BTCUSDT-LINEAR.SIM")


class Scripted:
    """Does what its script says of the tick: tick -> answer."""

    def __init__(self, agent_id, script):
        self.id = agent_id
        self.script = script
        self.seen = []
        self.fills = []

    def on_tick(self, market_state):
        self.seen.append(market_state)
        answer = self.script.get(market_state.sequence, [])
        return answer(market_state) if callable(answer) else answer

    def on_fills(self, fills):
        self.fills += fills


def simulation_of(*agents, **settings_):
    simulation = Simulation(**settings_)
    for agent in agents:
        simulation.add_agent(agent)
    return simulation


# ---------------------------------------------------------------------- a tick


def test_two_bidders_who_sell_into_their_own_bids():
    def script(i):
        return {1: [Order(i, 100.0, 5.0, True)], 3: [Order(i, 100.0, 2.0, False)]}

    simulation = simulation_of(Scripted(1, script(1)), Scripted(2, script(2)))
    assert simulation.tick() == []
    assert simulation.get_market_state().bids == {100.0: 10.0}
    assert simulation.tick() == []
    assert simulation.tick() == [Trade(1, 1, 100.0, 2.0), Trade(2, 1, 100.0, 2.0)]
    state = simulation.get_market_state()
    assert state.bids == {100.0: 6.0}
    assert state.asks == {}
    assert state.sequence == 3
    assert simulation.account(1).position == 2.0
    assert (simulation.account(2).position, simulation.account(2).cash) == (-2.0, 200.0)


def test_all_agents_see_one_state_before_anything_is_sent():
    eager = {n: [Order(3, 99.0 + n, 1.0, True)] for n in range(1, 6)}
    agents = Scripted(3, eager), Scripted(1, {2: [Order(1, 101.0, 1.0, False)]}), Scripted(2, {})
    simulation = simulation_of(*agents)
    trades = simulation.run(5)
    assert agents[0].seen == agents[1].seen == agents[2].seen
    assert [s.sequence for s in agents[2].seen] == [1, 2, 3, 4, 5]
    assert agents[2].seen[1].bids == {100.0: 1.0}
    # In tick 2 agent 3, added first, bids 101 before agent 1 offers at 101.
    assert trades == [Trade(1, 3, 101.0, 1.0)]


def test_what_one_agent_does_to_its_state_the_others_do_not_see():
    def vandal(state):
        state.bids.clear()
        state.bids[1.0] = 1e9
        return []

    quoter = Scripted(1, {1: [Order(1, 10.0, 1.0, True)]})
    witness = Scripted(3, {})
    simulation_of(quoter, Scripted(2, {2: vandal}), witness).run(2)
    assert witness.seen[1].bids == {10.0: 1.0}


def test_prices_come_best_first():
    orders = [Order(1, p, 1.0, p < 100.0) for p in (98.0, 99.0, 97.0, 102.0, 101.0, 103.0)]
    simulation = simulation_of(Scripted(1, {1: orders}))
    simulation.tick()
    state = simulation.get_market_state()
    assert list(state.bids) == [99.0, 98.0, 97.0]
    assert list(state.asks) == [101.0, 102.0, 103.0]
    assert (state.best_bid, state.best_ask, state.mid) == (99.0, 101.0, 100.0)
    empty = MarketState({}, {}, 0)
    assert (empty.best_bid, empty.best_ask, empty.mid) == (None, None, None)


def test_orders_and_cancels_of_one_answer_are_sent_in_their_order():
    first = [Order(1, 100.0, 1.0, True, id=7), Cancel(1, 7), Order(1, 99.0, 1.0, True, id=8)]
    agent = Scripted(1, {1: first, 2: [Cancel(1, 8), Order(1, 98.0, 2.0, True, id=9)], 3: [Cancel(1, 7)]})
    simulation = simulation_of(agent, strict=True)
    simulation.tick()
    assert simulation.get_market_state().bids == {99.0: 1.0}
    simulation.run(2)  # a cancel of what is gone is no mistake
    assert [(o.id, o.price, o.size, o.is_bid, o.is_resting) for o in simulation.open_orders(1)] == [
        (9, 98.0, 2.0, True, True)
    ]


def test_an_agent_hears_of_its_fills_before_its_next_tick():
    maker = Scripted(1, {1: [Order(1, 100.0, 3.0, True, id=4), Order(1, 100.0, 1.0, True)]})
    taker = Scripted(2, {2: [Order(2, 99.0, 3.5, False, id=1)]})
    simulation = simulation_of(maker, taker)
    simulation.run(2)
    assert maker.fills == taker.fills == []
    simulation.tick()
    assert maker.fills == [Fill(4, 100.0, 3.0, True, False), Fill(None, 100.0, 0.5, True, False)]
    assert taker.fills == [Fill(1, 100.0, 3.0, False, True), Fill(1, 100.0, 0.5, False, True)]
    assert simulation.open_orders(1) == simulation.open_orders(2) == []


@pytest.mark.parametrize(
    ("time_in_force", "traded", "left"),
    [("GTC", 1.0, 1.0), ("IOC", 1.0, 0), ("FOK", 0, 0), ("POST_ONLY", 0, 0)],
)
def test_times_in_force(time_in_force, traded, left):
    offer = Scripted(1, {1: [Order(1, 100.0, 1.0, False)]})
    bid = Scripted(2, {2: [Order(2, 100.0, 2.0, True, time_in_force=time_in_force)]})
    simulation = simulation_of(offer, bid)
    assert sum(t.size for t in simulation.run(2)) == traded
    assert simulation.get_market_state().bids.get(100.0, 0) == left


# ---------------------------------------------------------------------- agents that misbehave


def raising(_):
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raising, "RAISED"),
        (lambda _: None, "NOT_A_LIST"),
        (lambda _: (Order(1, 1.0, 1.0, True),), "NOT_A_LIST"),
    ],
)
def test_an_agent_without_a_proper_answer_is_logged_and_places_nothing(answer, reason, caplog):
    agents = Scripted(1, {2: answer}), Scripted(2, {2: [Order(2, 50.0, 1.0, True)]})
    simulation = simulation_of(*agents)
    with caplog.at_level(logging.WARNING, logger="apex_nautilus.sim.api"):
        simulation.run(2)
    assert [(r.agent_id, r.sequence, r.reason) for r in simulation.refusals] == [(1, 2, reason)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert simulation.get_market_state().bids == {50.0: 1.0}
    simulation.tick()
    assert simulation.refusals == []


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Order(1, math.nan, 1.0, True), "BAD_PRICE"),
        (Order(1, math.inf, 1.0, True), "BAD_PRICE"),
        (Order(1, -1.0, 1.0, True), "BAD_PRICE"),
        (Order(1, 0.0, 1.0, True), "BAD_PRICE"),
        (Order(1, "100", 1.0, True), "BAD_PRICE"),
        (Order(1, 10**400, 1.0, True), "BAD_PRICE"),
        (Order(1, 100.004, 1.0, True), "OFF_TICK"),
        (Order(1, 100.0, math.nan, True), "BAD_SIZE"),
        (Order(1, 100.0, -2.0, True), "BAD_SIZE"),
        (Order(1, 100.0, None, True), "BAD_SIZE"),
        (Order(1, 100.0, 1e-7, True), "OFF_LOT"),
        (Order(1, 1e9, 1.0, True), "TOO_FAR"),
        (Order(2, 100.0, 1.0, True), "WRONG_AGENT"),
        (Order(99, 100.0, 1.0, True), "WRONG_AGENT"),
        (Order([1], 100.0, 1.0, True), "WRONG_AGENT"),
        (Order(1, 100.0, 1.0, True, time_in_force="DAY"), "BAD_TIME_IN_FORCE"),
        (Order(1, 100.0, 1.0, True, id="a"), "BAD_ID"),
        (Order(1, 100.0, 1.0, True, id=5), "DUPLICATE_ID"),
        (Cancel(1, 6), "UNKNOWN_ORDER"),
        (Cancel(1, [5]), "UNKNOWN_ORDER"),
        (Cancel(2, 5), "WRONG_AGENT"),
        ("buy", "NOT_AN_ORDER"),
    ],
)
def test_an_entry_that_cannot_be_taken_is_refused_by_name_and_the_others_are_sent(entry, reason):
    good = Order(1, 90.0, 1.0, True, id=5)
    agents = Scripted(1, {1: [good], 2: [entry, Order(1, 91.0, 1.0, True)]}), Scripted(2, {})
    simulation = simulation_of(*agents)
    simulation.run(2)
    assert [(r.agent_id, r.reason) for r in simulation.refusals] == [(1, reason)]
    assert "answer[0]" in simulation.refusals[0].message or reason == "TOO_FAR"
    assert simulation.get_market_state().bids == {91.0: 1.0, 90.0: 1.0}


def test_a_strict_simulation_raises_and_has_sent_nothing():
    agents = Scripted(1, {1: [Order(1, 90.0, 1.0, True)]}), Scripted(2, {1: raising})
    simulation = simulation_of(*agents, strict=True)
    with pytest.raises(
        AgentError, match=r"agent 2, tick 1: raised RuntimeError: no idea \(RAISED\)"
    ) as caught:
        simulation.tick()
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert simulation.get_market_state().bids == {}


class Nameless:
    id = "a"

    def on_tick(self, market_state):
        return []


class Mute:
    id = 4


@pytest.mark.parametrize(
    ("agent", "error", "words"),
    [
        (Nameless(), TypeError, "not a whole number"),
        (Mute(), TypeError, "agent 4: has no method on_tick"),
        (Scripted(-1, {}), ValueError, "those of the population"),
        (Scripted(1, {}), ValueError, "agent 1: the id is taken"),
    ],
)
def test_add_agent_says_what_is_wrong_with_an_agent(agent, error, words):
    simulation = simulation_of(Scripted(1, {}))
    with pytest.raises(error, match=re.escape(words)):
        simulation.add_agent(agent)


def test_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="tick_ns: 0"):
        Simulation(tick_ns=0)
    with pytest.raises(ValueError, match="tick_size: nan"):
        Simulation(tick_size=math.nan)
    with pytest.raises(ValueError, match="off_grid: 'up'"):
        Simulation(off_grid="up")
    with pytest.raises(ValueError, match="lot_size: a population brings"):
        Simulation(population=BTC, lot_size=1.0)
    with pytest.raises(ValueError, match="latency_mu: without a population"):
        Simulation().add_agent(Scripted(1, {}), latency_mu=1.0)
    with pytest.raises(ValueError, match=r"latency_mu: 16 is outside \[-10"):
        Simulation(population=BTC).add_agent(Scripted(1, {}), latency_mu=16)
    with pytest.raises(KeyError, match=r"agent 3 was never added \(known: none\)"):
        Simulation().account(3)
    with pytest.raises(ValueError, match="ticks: -1"):
        Simulation().run(-1)


# ---------------------------------------------------------------------- floats on the grid


@given(
    steps=st.integers(-(1 << 50), 1 << 50),
    step=st.sampled_from([0.01, 0.1, 0.25, 0.5, 1e-6, 1e-8, 3e-5, 7.0, 1000.0]),
)
@settings(max_examples=300)
def test_every_multiple_of_a_step_comes_back_exactly(steps, step):
    grid = Grid("tick", step)
    value = grid.number(steps)
    assert grid.steps(value) == steps
    assert value == float(steps * Decimal(repr(step)))  # the float nearest to the decimal
    if abs(steps) < 1 << 40:
        assert grid.steps(steps * step) == steps  # what multiplying in floats makes of it


@given(
    steps=st.integers(1, 10**7), share=st.floats(0.001, 0.999), step=st.sampled_from([0.01, 0.1, 0.25, 7.0])
)
def test_what_lies_between_two_steps_is_refused_with_its_neighbours(steps, share, step):
    grid = Grid("tick", step)
    with pytest.raises(OffGridError, match="no multiple") as caught:
        grid.steps((steps + share) * step)
    assert (caught.value.steps_down, caught.value.steps_up) == (steps, steps + 1)


def test_rounding_never_asks_for_more_than_was_asked():
    orders = [Order(1, 99.996, 1.5, True), Order(1, 100.004, 1.0000019, False)]
    simulation = simulation_of(Scripted(1, {1: orders}), off_grid="round")
    simulation.tick()
    state = simulation.get_market_state()
    assert (state.bids, state.asks) == ({99.99: 1.5}, {100.01: 1.000001})
    # Below one lot nothing is left to round to.
    tiny = simulation_of(Scripted(1, {1: [Order(1, 1.0, 1e-7, True)]}), off_grid="round")
    tiny.tick()
    assert [r.reason for r in tiny.refusals] == ["BAD_SIZE"]


# ---------------------------------------------------------------------- against a slow book, and conservation


FLOW = st.lists(
    st.tuples(
        st.integers(1, 3),  # agent
        st.integers(0, 5),  # kind: cancel, or one of the times in force
        st.integers(95, 105),  # price, in quarters
        st.integers(1, 9),  # size, in tenths
        st.booleans(),
    ),
    max_size=60,
)
KINDS = ["gtc", "gtc", "ioc", "fok", "post_only"]
NAMES = ["GTC", "GTC", "IOC", "FOK", "POST_ONLY"]


@given(flow=FLOW, per_tick=st.integers(1, 7))
@settings(max_examples=60)
def test_trades_and_books_are_those_of_a_slow_book(flow, per_tick):
    slow = SlowBook()
    scripts = {1: {}, 2: {}, 3: {}}
    plan = []
    for n, (owner, kind, price, size, is_bid) in enumerate(flow):
        tick = n // per_tick + 1
        if kind == 0:
            entry = Cancel(owner, price % (n + 1))
        else:
            entry = Order(owner, price * 0.25, size * 0.1, is_bid, id=n, time_in_force=NAMES[kind - 1])
        scripts[owner].setdefault(tick, []).append(entry)
        plan.append((tick, owner, n, entry, kind, price, size))
    simulation = simulation_of(*(Scripted(i, s) for i, s in scripts.items()), tick_size=0.25, lot_size=0.1)
    trades = simulation.run(len(flow) // per_tick + 1)
    owners = {}
    for _, owner, n, entry, kind, price, size in sorted(plan, key=lambda line: line[:3]):
        if kind:
            owners[n] = owner
            slow.add(SlowOrder(n, 1 if entry.is_bid else -1, price, size, owner, KINDS[kind - 1]))
        elif owners.get(entry.order_id) == owner:
            slow.cancel(entry.order_id)
    expected = [Trade(owners[t], owners[k], price / 4, size / 10) for t, k, price, size, *_ in slow.fills]
    assert trades == expected
    state = simulation.get_market_state()
    for side, levels in ((1, state.bids), (-1, state.asks)):
        queues = slow.queues(side)
        assert list(levels.items()) == [(p / 4, sum(lots for _, lots in q) / 10) for p, q in queues]
    accounts = [simulation.account(i) for i in scripts]
    assert sum(round(a.bought * 10) for a in accounts) == sum(round(a.sold * 10) for a in accounts)
    assert sum(round(a.cash * 40) for a in accounts) == 0
    for i in scripts:
        open_ids = {o.id for o in simulation.open_orders(i)}
        assert open_ids == {n for n, fate in slow.fates.items() if fate == "resting" and owners[n] == i}


# ---------------------------------------------------------------------- inside a simulated market


class Quoter:
    """Quotes one tick inside the spread, cancelling what it had; keeps within a position."""

    def __init__(self, agent_id=7, size=0.01):
        self.id, self.size, self.next, self.position = agent_id, size, 0, 0.0

    def on_fills(self, fills):
        self.position += sum(f.size if f.is_bid else -f.size for f in fills)

    def on_tick(self, state):
        if state.mid is None:
            return []
        answer = [Cancel(self.id, n) for n in range(max(self.next - 2, 0), self.next)]
        for is_bid, price in ((True, state.best_bid - 0.1), (False, state.best_ask + 0.1)):
            order = Order(
                self.id, round(price, 1), self.size, is_bid, id=self.next, time_in_force="POST_ONLY"
            )
            answer.append(order)
            self.next += 1
        return answer


def test_a_silent_agent_changes_nothing_in_a_simulated_market():
    tape = Market(BTC, 5).run(20_000_000_000)
    simulation = simulation_of(Scripted(1, {}), population=BTC, seed=5, tick_ns=500_000_000)
    trades = simulation.run(40)
    assert [(-1 - t.aggressor_agent_id, -1 - t.resting_agent_id) for t in trades] == list(
        zip(tape.trades["taker"].tolist(), tape.trades["maker"].tolist(), strict=True)
    )
    assert [t.price for t in trades] == [p / 10 for p in tape.trades["price"].tolist()]
    state = simulation.get_market_state()
    assert state.time_ns == tape.end_ns
    assert state.best_bid < state.best_ask
    assert len(state.bids) > 5


def test_a_hand_written_market_maker_trades_with_the_population():
    simulation = simulation_of(Quoter(), population=BTC, seed=3, strict=True)
    trades = simulation.run(600)
    mine = [t for t in trades if 7 in (t.aggressor_agent_id, t.resting_agent_id)]
    assert mine
    assert all((t.aggressor_agent_id < 0) != (t.resting_agent_id < 0) for t in mine)
    account = simulation.account(7)
    bought = sum(t.size for t in mine if t.resting_agent_id == 7) + sum(
        t.size for t in mine if t.aggressor_agent_id == 7
    )
    assert account.bought + account.sold == pytest.approx(bought)
    assert account.position == pytest.approx(account.bought - account.sold)
    agent = simulation._seats[7].agent
    simulation.tick()  # hears of the last fills
    assert agent.position == pytest.approx(account.position)
    # Post-only quotes of one owner, cancelled before they are renewed: what is open is the last pair.
    assert {o.id for o in simulation.open_orders(7)} <= {agent.next - 2, agent.next - 1}


def test_cash_and_inventory_are_conserved_with_hand_written_agents():
    agents = [Quoter(1, 0.05), Quoter(2, 0.02), Scripted(3, dict.fromkeys(range(1, 200, 7), take))]
    simulation = simulation_of(*agents, population=BTC, seed=9)
    simulation.run(200)
    accounts = simulation._desk._guests.run(1).accounts
    assert simulation.account(3).bought > 0.0
    assert accounts["inventory"].sum() == accounts["cash"].sum() == 0
    assert (accounts["inventory"] == accounts["bought"] - accounts["sold"]).all()
    rate = BTC.instrument.taker_fee
    assert simulation.account(3).fees == pytest.approx(-simulation.account(3).cash * rate, rel=1e-6)


def take(state):
    return [Order(3, round(state.best_ask + 5.0, 1), 0.02, True, time_in_force="IOC")]


def test_an_order_is_under_way_for_as_long_as_the_network_takes():
    quiet = BTC.replace(latency_sigma=0.0, loss=0.0)
    agent = Scripted(1, {1: lambda s: [Order(1, round(s.best_bid - 50.0, 1), 0.01, True, id=1)]})
    simulation = Simulation(population=quiet, tick_ns=100_000)
    simulation.add_agent(agent, latency_mu=6.0)  # 403 us for what it saw, 403 us for the order
    resting = []
    for _ in range(10):
        simulation.tick()
        resting.append([o.is_resting for o in simulation.open_orders(1)])
    assert resting == [[False]] * 8 + [[True]] * 2
    at_once = Scripted(2, {11: lambda s: [Order(2, round(s.best_bid - 50.0, 1), 0.01, True, id=1)]})
    simulation.add_agent(at_once, latency_mu=-10.0)
    simulation.tick()
    assert [o.is_resting for o in simulation.open_orders(2)] == [True]


def test_a_lost_order_never_was():
    lossy = BTC.replace(loss=0.5)

    def bid(state):
        return [Order(1, round(state.best_bid - 100.0, 1), 0.01, True, id=state.sequence)]

    agent = Scripted(1, dict.fromkeys(range(1, 41), bid))
    simulation = simulation_of(agent, population=lossy, seed=1)
    simulation.run(42)
    arrived = len(simulation.open_orders(1))
    assert 8 <= arrived <= 32  # 20 expected, deviation 3.2
    assert simulation.refusals == []


@pytest.mark.parametrize(("size", "reason"), [(0.0001, "OFF_LOT"), (0.001, None), (2000.0, "TOO_LARGE")])
def test_the_venues_limits_hold_for_hand_written_agents(size, reason):
    agent = Scripted(1, {1: lambda s: [Order(1, s.best_bid, size, True)]})
    simulation = simulation_of(agent, population=BTC)
    simulation.tick()
    assert [r.reason for r in simulation.refusals] == ([] if reason is None else [reason])


def test_an_order_below_the_smallest_notional_is_refused():
    solana = profile("SOLUSDT-LINEAR.SIM")
    agent = Scripted(1, {1: lambda s: [Order(1, s.best_bid, 0.03, True), Order(1, s.best_bid, 0.04, True)]})
    simulation = simulation_of(agent, population=solana)
    simulation.tick()
    assert [r.reason for r in simulation.refusals] == ["TOO_SMALL"]  # 4.50 of 5; 6.00 is taken
    assert "answer[0]" in simulation.refusals[0].message


def test_more_orders_than_the_arrays_hold_grow_them_and_lose_none():
    quiet = BTC.replace(loss=0.0)
    n = 10_000  # pool and queue start with 4,096 places

    def flood(state):
        return [Order(1, round(state.best_bid - 50.0 - k % 500, 1), 0.01, True, id=k) for k in range(n)]

    simulation = Simulation(population=quiet, seed=2, strict=True)
    simulation.add_agent(Scripted(1, {1: flood}), latency_mu=-10.0)
    simulation.tick()
    orders = simulation.open_orders(1)
    assert [o.id for o in orders] == list(range(n))
    assert all(o.is_resting for o in orders)
    bids = simulation.get_market_state().bids
    assert sum(bids.values()) >= 0.01 * n
    levels = {}
    for o in orders:
        levels[o.price] = levels.get(o.price, 0.0) + o.size
    assert all(bids[price] >= size - 1e-9 for price, size in levels.items())


def test_a_price_that_no_ladder_would_hold_is_refused_in_a_market_too():
    script = {1: [Order(1, 2e6, 0.01, False), Order(1, 90_000.0, 0.01, False, id=1)]}
    simulation = simulation_of(Scripted(1, script), population=BTC.replace(loss=0.0))
    simulation.tick()
    assert [r.reason for r in simulation.refusals] == ["TOO_FAR"]
    assert [o.price for o in simulation.open_orders(1)] == [90_000.0]


def test_an_interruption_is_not_taken_for_an_agents_mistake():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation_of(Scripted(1, {1: interrupt})).tick()


RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from test_agent_api import Quoter, simulation_of, BTC
simulation = simulation_of(Quoter(), population=BTC, seed=3)
trades = simulation.run(100)
print(len(trades), hash(tuple((t.aggressor_agent_id, t.price, t.size) for t in trades)))
"""


def test_a_seed_gives_the_same_trades_in_another_process():
    command = [sys.executable, "-c", RUN, str(Path(__file__).parent)]
    other = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    trades = simulation_of(Quoter(), population=BTC, seed=3).run(100)
    assert other.split() == [
        str(len(trades)),
        str(hash(tuple((t.aggressor_agent_id, t.price, t.size) for t in trades))),
    ]
    other_seed = simulation_of(Quoter(), population=BTC, seed=np.random.default_rng(3)).run(100)
    assert other_seed != trades


# ---------------------------------------------------------------------- the page


def test_the_market_maker_of_the_page_runs_as_written(root):
    page = (root / "docs" / "your-own-agent.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/your-own-agent.md, block {number}", "exec"), scope)
    maker, simulation = scope["maker"], scope["simulation"]
    account = simulation.account(maker.id)
    assert account.bought > 0.0
    assert account.sold > 0.0
    assert abs(account.position) <= maker.limit + maker.size
    assert maker.position == pytest.approx(account.position, abs=2 * maker.size)
