"""What must hold of any market, checked on the tapes of many."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, batch_book
from apex_nautilus.sim import PROFILES, Market, PopulationError, profile, run_many
from apex_nautilus.sim import _world as w
from apex_nautilus.sim import market as market_module
from apex_nautilus.sim._jit import entry
from apex_nautilus.sim._venue import ask_cancel, ask_order, ask_replace, send_all
from apex_nautilus.sim.event_queue import new_queue, peek, push
from apex_nautilus.sim.latency import AHEAD
from apex_nautilus.sim.matching import BID_ORDERS, FREE_COUNT, GTC

SECOND = 1_000_000_000
BITCOIN = profile("BTCUSDT-LINEAR.SIM")


def rebuild(events):
    """Apply a tape to a plain book; checks it at the end of every batch and returns its two sides."""
    sides = {1: {}, -1: {}}
    kinds, flags = events["kind"].tolist(), events["flags"].tolist()
    for at, (price, size, side) in enumerate(
        zip(events["price"].tolist(), events["size"].tolist(), events["side"].tolist(), strict=True)
    ):
        if kinds[at] == KIND_CLEAR:
            sides = {1: {}, -1: {}}
        elif kinds[at] == KIND_LEVEL:
            assert size >= 0
            if size:
                sides[side][price] = size
            else:
                del sides[side][price]  # a level must be there to be deleted
        if flags[at] & FLAG_LAST and sides[1] and sides[-1]:
            assert max(sides[1]) < min(sides[-1])
    return sides


def book_of(market):
    """The levels of the market's own book, in the tape's units."""
    book, units = market._world.book, market._world.units
    level = book.levels[book.levels["orders"] > 0]
    heads = book.orders[level["head"]]
    sides = {1: {}, -1: {}}
    for side, price, volume in zip(heads["side"], heads["price"], level["volume"], strict=True):
        sides[int(side)][int(price * units[w.TICK_UNITS])] = int(volume * units[w.LOT_UNITS])
    return sides


def check_tape(market, tape):
    events, trades, accounts, stats = tape.events, tape.trades, tape.accounts, tape.stats
    assert rebuild(events) == book_of(market)

    # Times never run backwards, nothing is known before it happened, and a batch is one sequence number.
    assert (np.diff(events["ts_init_ns"]) >= 0).all()
    assert (np.diff(events["ts_event_ns"]) >= 0).all()
    assert (events["ts_init_ns"] >= events["ts_event_ns"]).all()
    ends = np.append(np.diff(events["sequence"]) != 0, True)
    assert ((events["flags"] & FLAG_LAST > 0) == ends).all()
    # Trades are received a nanosecond before the levels they changed; batches never share an instant.
    step = np.diff(events["ts_init_ns"])
    assert (step[ends[:-1]] > 0).all()
    levels_follow_trades = (events["kind"][:-1] == KIND_TRADE) & (events["kind"][1:] != KIND_TRADE)
    assert (step[~ends[:-1]] == levels_follow_trades[~ends[:-1]]).all()
    assert (events["kind"][ends] != KIND_TRADE).all()

    # What was bought was sold; nothing appears from nowhere.
    assert accounts["inventory"].sum() == 0
    assert accounts["cash"].sum() == 0
    assert accounts["funding"].sum() == 0
    assert accounts["bought"].sum() == accounts["sold"].sum()

    # Every order is accounted for.
    ends_of_orders = (
        stats.lost,
        stats.in_flight,
        stats.resting,
        stats.filled,
        stats.cancelled,
        stats.expired,
        stats.rejected,
    )
    assert sum(ends_of_orders) == stats.orders
    assert all(n >= 0 for n in ends_of_orders)
    book = market._world.book
    assert stats.in_flight + stats.resting + int(book.state[FREE_COUNT]) == len(book.orders)

    # Trades on the tape and trades of the agents tell the same.
    printed = events[events["kind"] == KIND_TRADE]
    assert printed["size"].sum() == trades["size"].sum()
    assert (trades["taker"] != trades["maker"]).all()


def check_accounts(market, tape):
    """Recompute every account from the trades alone; only for a market recorded from its birth."""
    trades, accounts, units = tape.trades, tape.accounts, market._world.units
    lots = trades["size"] // units[w.LOT_UNITS]
    value = trades["price"] // units[w.TICK_UNITS] * lots
    side = trades["side"].astype(np.int64)
    n = len(accounts)
    for role, sign, fee in (("taker", 1, units[w.TAKER_FEE]), ("maker", -1, units[w.MAKER_FEE])):
        accounts = accounts.copy()
        amounts = {"inventory": sign * side * lots, "cash": -sign * side * value, "fees": value * fee}
        for name, amount in amounts.items():
            total = np.zeros(n, np.int64)
            np.add.at(total, trades[role], amount)
            accounts[name] -= total
    for name in ("inventory", "cash", "fees"):
        assert (accounts[name] == 0).all()
    assert tape.stats.volume == trades["size"].sum()


factor = st.floats(0.25, 4.0)


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(PROFILES)),
    seed=st.integers(0, 1 << 62),
    rates=st.tuples(factor, factor, factor),
    makers=st.integers(0, 4),
    levels=st.integers(1, 5),
    executors=st.integers(0, 4),
    loss=st.sampled_from([0.0, 0.001, 0.3]),
    latency_mu=st.floats(2.0, 12.0),
    excitation=st.floats(0.0, 0.8),
    expiry=st.sampled_from([0.0, 0.5, 1.0]),
    burst=st.sampled_from([0.0, 2.0]),
    funding=st.sampled_from([0.0, 0.001]),
)
def test_any_population_keeps_book_money_and_orders_together(
    name, seed, rates, makers, levels, executors, loss, latency_mu, excitation, expiry, burst, funding
):
    base = profile(name)
    population = base.replace(
        limit_rate=base.limit_rate * rates[0],
        market_rate=base.market_rate * rates[1],
        informed_rate=base.informed_rate * rates[2],
        makers=makers,
        maker_levels=levels,
        executors=executors,
        executor_idle_s=5.0,
        loss=loss,
        latency_mu=latency_mu,
        excitation_ratio=excitation,
        limit_expiry=expiry,
        burst_coupling=burst,
        burst_rate=20.0,
        funding_rate=funding,
        funding_interval_s=7.0,
    )
    market = Market(population, seed, warmup_ns=0)
    tape = market.run(40 * SECOND)
    check_tape(market, tape)
    check_accounts(market, tape)


def test_quarter_of_a_million_events_keep_book_money_and_orders_together():
    market = Market(BITCOIN, seed=2, warmup_ns=0)
    tape = market.run(4000 * SECOND)
    assert tape.stats.events > 250_000
    check_tape(market, tape)
    check_accounts(market, tape)


def test_same_seed_is_the_same_tape_also_in_other_threads_and_processes():
    here = run_many(BITCOIN, [1, 2], 60 * SECOND)
    there = run_many(BITCOIN, [1, 2], 60 * SECOND, workers=2)
    assert [t.digest() for t in here] == [t.digest() for t in there]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (elsewhere,) = pool.submit(run_many, BITCOIN, [2], 60 * SECOND).result()
    assert elsewhere.digest() == here[1].digest()
    assert here[0].digest() != here[1].digest()
    generator = np.random.default_rng(4)
    again = np.random.default_rng(4)
    assert (
        Market(BITCOIN, generator).run(10 * SECOND).digest()
        == Market(BITCOIN, again).run(10 * SECOND).digest()
    )


def test_two_runs_are_the_two_halves_of_one():
    whole = Market(BITCOIN, seed=3).run(60 * SECOND)
    market = Market(BITCOIN, seed=3)
    halves = [market.run(25 * SECOND), market.run(35 * SECOND)]
    for name in ("events", "trades", "value"):
        assert (np.concatenate([getattr(t, name) for t in halves]) == getattr(whole, name)).all()
    assert (halves[1].accounts == whole.accounts).all()
    assert (halves[0].start_ns, halves[0].end_ns, halves[1].end_ns) == (
        whole.start_ns,
        halves[1].start_ns,
        whole.end_ns,
    )


def _one_event(queue):
    """The queue at birth, with room for that event alone."""
    _, place = peek(queue)
    small = new_queue(1)
    event = queue.records[place]
    push(small, *(int(event[f]) for f in ("time_ns", "kind", "slot", "id", "price", "size")))
    return small


def test_slices_of_a_run_and_room_in_its_arrays_do_not_show_on_the_tape(monkeypatch):
    whole = Market(BITCOIN, seed=5).run(30 * SECOND).digest()
    monkeypatch.setattr(market_module, "_SLICE", 17)
    market = Market(BITCOIN, seed=5)
    small = market._world
    market._world = small._replace(
        queue=_one_event(small.queue),
        fills=small.fills[:1].copy(),
        events=small.events[:8].copy(),
        trades=small.trades[:2].copy(),
        samples=small.samples[:1].copy(),
        book=w.new_book(1, 64, prevent_self_trade=True),
    )
    assert market.run(30 * SECOND).digest() == whole


def test_interrupted_run_goes_on_where_it_stopped(monkeypatch):
    monkeypatch.setattr(market_module, "_SLICE", 500)
    whole = Market(BITCOIN, seed=6).run(60 * SECOND)
    market = Market(BITCOIN, seed=6)

    def stop(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        market.run(60 * SECOND, progress=stop)
    shares = []
    assert market.run(60 * SECOND, progress=shares.append).digest() == whole.digest()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@entry
def _send_all_kinds(world, slot, order_id):
    none = np.int64(0)
    for agent in range(10):
        ask_order(
            world, agent, w.BUY, np.int64(599_000), np.int64(1), np.int64(GTC), none, none, np.int64(-1)
        )
        ask_cancel(world, np.int64(0), slot, order_id, none)
        ask_replace(world, np.int64(0), slot, order_id, np.int64(599_001), np.int64(1))
    send_all(world)


def test_lost_message_changes_nothing_but_the_count_of_the_lost():
    market = Market(BITCOIN, seed=1)
    market.run(SECOND)
    world = market._world
    world.parameters["loss"] = 1.0
    world.accounts["commands"] += -world.accounts["commands"] % AHEAD  # the next draws are new ones
    slot = int(np.flatnonzero(world.book.orders["resting"])[0])
    before = [part.copy() for part in (*world.book, *world.queue)]
    lost = int(world.clock[w.LOST])
    _send_all_kinds(world, slot, int(world.book.orders["id"][slot]))
    orders, *others = before
    free = orders["id"] == -1
    assert (world.book.orders[~free] == orders[~free]).all()
    after = (*world.book[1:], *world.queue)
    for now, then in zip(after, others, strict=True):
        assert (now == then).all()
    assert world.clock[w.LOST] == lost + 10


def test_market_that_loses_one_side_runs_on():
    population = BITCOIN.replace(makers=0, limit_rate=1.0, limit_lifetime_s=1.0, market_rate=3.0)
    market = Market(population, seed=8, warmup_ns=0)
    tape = market.run(300 * SECOND)
    check_tape(market, tape)
    sides = {1: {}, -1: {}}
    empty_at, whole_at = [], []
    for at, event in enumerate(tape.events):
        if event["kind"] == KIND_LEVEL:
            sides[int(event["side"])][int(event["price"])] = int(event["size"])
        if event["flags"] & FLAG_LAST:
            alive = [any(levels.values()) for levels in sides.values()]
            (whole_at if all(alive) else empty_at).append(at)
    assert empty_at
    assert 0 < tape.stats.one_sided_ns < 300 * SECOND
    assert max(whole_at) > min(empty_at)
    assert tape.stats.orders > 500


def test_book_of_a_default_market_always_has_two_sides():
    market = Market(BITCOIN, seed=8)
    before = market.run(1).stats.one_sided_ns  # the opening
    assert market.run(600 * SECOND).stats.one_sided_ns == before


def test_orders_that_expire_at_the_venue_need_no_cancel():
    quiet = {"makers": 0, "executors": 0, "market_rate": 0.0, "informed_rate": 0.0}
    quiet |= {"momentum_rate": 0.0, "reversion_rate": 0.0, "loss": 0.0, "noise_agents": 5}
    by_cancel = Market(BITCOIN.replace(**quiet), seed=4).run(600 * SECOND).stats
    by_venue = Market(BITCOIN.replace(**quiet, limit_expiry=1.0), seed=4).run(600 * SECOND).stats
    assert by_cancel.expired == 0
    assert by_cancel.cancelled > 1000
    assert by_venue.cancelled == 0
    assert by_venue.expired > 1000
    assert by_venue.messages == by_venue.orders


def test_order_that_expires_on_its_way_never_rests():
    # Delays of seconds, lives of milliseconds.
    late = BITCOIN.replace(makers=0, limit_lifetime_s=0.01, limit_expiry=1.0, latency_mu=15.0, loss=0.0)
    market = Market(late.replace(latency_sigma=0.0), seed=4, warmup_ns=0)
    tape = market.run(60 * SECOND)
    check_tape(market, tape)
    assert tape.stats.expired > 100
    assert (tape.events["kind"] != KIND_LEVEL).all()


def test_longs_pay_funding_to_shorts():
    population = BITCOIN.replace(funding_rate=0.001, funding_interval_s=60.0)
    market = Market(population, seed=3, warmup_ns=0)
    accounts = market.run(90 * SECOND).accounts
    rate = accounts["funding"][accounts["funding"] != 0]
    assert rate.size > 5
    assert rate.sum() == 0
    before = Market(population, seed=3, warmup_ns=0).run(60 * SECOND + 1).accounts
    held = before["inventory"] != 0
    per_lot = before["funding"][held] / before["inventory"][held]
    assert (per_lot == per_lot[0]).all()
    mid_ticks = population.start_price / population.instrument.tick
    assert per_lot[0] == pytest.approx(1e-3 * mid_ticks * w.FEE_SCALE, rel=0.05)


def test_bursts_make_messages_late():
    calm = BITCOIN.replace(loss=0.0, latency_sigma=0.0)
    eager = calm.replace(burst_coupling=10.0, burst_rate=1.0)
    late = []
    for population in (calm, eager):
        market = Market(population, seed=2)
        market.run(60 * SECOND)
        world = market._world
        late.append(int((world.accounts["last_arrival_ns"] - world.clock[w.NOW_NS]).max()))
    assert late[1] > late[0]


def test_makers_can_be_nearer_than_the_others():
    population = BITCOIN.replace(latency_maker=-3.0, latency_cancel=1.0, latency_sigma=0.0, loss=0.0)
    market = Market(population, seed=2)
    market.run(10 * SECOND)
    ahead, kinds = market._world.ahead, market._world.accounts["kind"]
    sent = market._world.accounts["commands"] > 0
    for name, shift in (("noise", 0.0), ("maker", -3.0)):
        of_kind = ahead[:-1][sent & (kinds == w.KINDS.index(name))]
        order, cancel = np.exp(6.0 + shift) * 1000.0, np.exp(7.0 + shift) * 1000.0
        np.testing.assert_allclose(of_kind[:, 0], order, rtol=1e-12)
        np.testing.assert_allclose(of_kind[:, 1], cancel, rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limit_rate": 1e6, "limit_lifetime_s": 100.0}, "limit_rate: 1e.06 orders a second that live"),
        ({"limit_rate": 0.1, "makers": 0, "market_rate": 1000.0}, "market_rate: takers ask for"),
    ],
)
def test_rates_that_cannot_clear_are_refused_before_anything_runs(changes, says):
    with pytest.raises(PopulationError, match=says):
        Market(BITCOIN.replace(**changes), seed=1)


def test_a_seed_has_one_tape_on_every_machine():
    assert (
        Market(BITCOIN, seed=1).run(60 * SECOND).digest()
        == "63612182165a729061b2d7f63135260f32c749dcc9900cc66ba322f42ccc52e0"
    )


def test_market_of_nobody_is_silent():
    population = BITCOIN.replace(
        makers=0,
        executors=0,
        limit_rate=0.0,
        market_rate=0.0,
        informed_rate=0.0,
        momentum_rate=0.0,
        reversion_rate=0.0,
    )
    tape = Market(population, seed=1).run(10 * SECOND)
    assert tape.events["kind"].tolist() == [KIND_CLEAR]
    assert len(tape.trades) == 0
    assert len(tape.value) == 100


def test_self_trade_is_prevented_when_one_maker_sweeps_its_own_quote():
    # One noise agent is everybody who places limits and everybody who takes.
    tape = Market(BITCOIN.replace(noise_agents=1), seed=9).run(120 * SECOND)
    assert (tape.trades["taker"] != tape.trades["maker"]).all()


@pytest.mark.parametrize("name", PROFILES)
def test_default_market_is_worth_trading_and_the_flow_tells_a_little(name):
    population = profile(name)
    instrument = population.instrument
    features = ["ofi_10", "spread_bps"]
    correlations, moves, spreads, rates = [], [], [], []
    for seed in (1, 2, 3):
        tape = Market(population, seed).run(3600 * SECOND)
        rows = batch_book(
            tape.events,
            features,
            price_precision=instrument.price_precision,
            size_precision=instrument.size_precision,
            clock="1s",
        )
        mid = 0.5 * (rows.path_bid + rows.path_ask)[rows.row_event]
        move = 1e4 * np.log(mid[60:] / mid[:-60])
        correlations.append(np.corrcoef(rows.features[:-60, 0], move)[0, 1])
        moves.append(move.std())
        spreads.append(np.median(rows.features[:, 1]))
        rates.append((tape.events["flags"] & FLAG_LAST).sum() / 3600)
        assert rows.features.shape[0] > 3500
    assert 0.03 < np.mean(correlations) < 0.4  # an edge, and far from a certainty
    assert 5.0 < np.mean(moves) < 40.0
    assert 0.1 < np.mean(spreads) < 3.0
    assert 20.0 < np.mean(rates) < 60.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seed": -1}, "seed"),
        ({"warmup_ns": -1}, "warmup_ns"),
        ({"start_ns": 5, "warmup_ns": 6}, "warmup_ns"),
    ],
)
def test_bad_argument_of_a_market_is_refused_by_name(arguments, says):
    with pytest.raises(ValueError, match=says):
        Market(BITCOIN, **{"seed": 1, **arguments})


def test_run_needs_a_positive_time():
    with pytest.raises(ValueError, match="duration_ns"):
        Market(BITCOIN, seed=1).run(0)


def test_trades_of_an_agent_add_up_to_its_inventory():
    tape = Market(BITCOIN, seed=1, warmup_ns=0).run(120 * SECOND)
    maker = int(np.flatnonzero(tape.accounts["kind"] == 1)[0])
    own = tape.trades_of(maker)
    sign = np.where(own["taker"] == maker, own["side"], -own["side"])
    assert (sign * own["size"]).sum() == tape.accounts["inventory"][maker]  # a lot is one unit here
    assert len(own) > 0


def test_orders_of_the_pool_are_all_back_or_resting():
    market = Market(BITCOIN, seed=1)
    market.run(60 * SECOND)
    book = market._world.book
    assert (book.orders["resting"] == 1).sum() == book.state[BID_ORDERS] + book.state[BID_ORDERS + 1]
