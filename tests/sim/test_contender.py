"""The strategy under test inside the market: it decides as the replay does, and its orders are real ones."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.features import FLAG_LAST, KIND_TRADE, batch_book
from apex_nautilus.forge.replay import EXIT_KINDS, TRADE, book_market, replay_trades
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Genome,
    Isotonic,
    Platt,
    Sizing,
    VolatilityStop,
    call,
    compile_genome,
    constant,
    evaluate_block,
    feature,
)
from apex_nautilus.genome.trees import Node
from apex_nautilus.risk import REASONS, PassiveTimers, decide, register_entry_policy, trading_rules
from apex_nautilus.sim import (
    CONTENDER_EXITS,
    CONTENDER_TRADE,
    Contender,
    ContenderError,
    Market,
    profile,
    run_many,
)
from apex_nautilus.sim import _contender_records as r
from apex_nautilus.sim import _world as w
from apex_nautilus.sim import market as market_module
from apex_nautilus.sim._contender_records import MESSAGE
from apex_nautilus.sim.matching import FREE_COUNT

SECOND = 1_000_000_000
BITCOIN = profile("BTCUSDT-LINEAR.SIM")
FEATURES = ("ofi_10", "spread_bps", "imbalance", "microprice_minus_mid_bps")
NEVER = {"entry_threshold": 1e9}


def genome(**changes) -> Genome:
    """Follows the order flow of the last ten seconds; sure enough of itself to trade often."""
    fields = {
        "instrument_id": "BTCUSDT-LINEAR.SIM",
        "clock": "1s",
        "features": FEATURES,
        "signal": call("mul", feature(0), constant(1000.0)),
        "confidence": constant(1.0),
        "calibration": Platt(a=1.0, b=0.0),
        "bracket": Bracket(stop=BpsStop(value=8.0), max_hold_s=60.0),
    }
    return Genome(**{**fields, **changes})


HASTY = PassiveTimers(reprice_ns=SECOND // 2, patience_ns=4 * SECOND)


def contender(population=BITCOIN, options=None, **changes) -> Contender:
    return Contender.of(genome(**changes), population.instrument, **(options or {}))


def run(population=BITCOIN, *, seconds=300, seed=1, options=None, **changes):
    """One market with one recording contender; returns market, tape and what became of the contender."""
    one = contender(population, {"record": True, **(options or {})}, **changes)
    market = Market(population, seed, contenders=[one])
    tape = market.run(seconds * SECOND)
    return market, tape, tape.contenders[0]


def feed_of(tape, heard):
    """The tape as the contender received it: its own receive times, and only what had reached it."""
    place = {int(sequence): int(ts_ns) for sequence, ts_ns in heard}
    received = np.array([place.get(int(s), -1) for s in tape.events["sequence"]])
    events = tape.events[received >= 0].copy()
    received = received[received >= 0]
    events["ts_init_ns"] = received - (events["kind"] == KIND_TRADE)
    return events


def rows_of(tape, heard, one: Genome):
    instrument = tape.instrument
    return batch_book(
        feed_of(tape, heard),
        one.features,
        price_precision=instrument.price_precision,
        size_precision=instrument.size_precision,
        clock=one.clock,
        conflate_ms=one.conflate_ms,
        depth=10,
    )


def windowed() -> dict:
    """A genome with windows, a volatility stop, an isotonic calibration and a size of its own."""
    flow = call("zscore", feature(0), k=20)
    return {
        "signal": call("add", flow, call("tanh", call("delta", feature(2), k=5))),
        "confidence": call("sub", call("abs", flow), call("mean", feature(1), k=10)),
        "size": call("mul", feature(3), constant(5.0)),
        "calibration": Isotonic(scores=(-1.0, 0.5, 2.0), probabilities=(0.3, 0.5, 0.9)),
        "bracket": Bracket(stop=VolatilityStop(multiple=6.0, window=30), max_hold_s=20.0),
        "sizing": Sizing(mode="evolved", lo=0.1, hi=0.6),
    }


CASES = {
    "seconds": {},
    "every book": {"clock": "book", "bracket": Bracket(stop=BpsStop(value=6.0), max_hold_s=5.0)},
    "conflated": {"clock": "book", "conflate_ms": 100, **windowed()},
    "windows": windowed(),
    "resting": {"execution": "passive"},
    "resting, every book": {
        "execution": "passive",
        "clock": "book",
        "bracket": Bracket(stop=BpsStop(value=6.0), max_hold_s=5.0),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_rows_outputs_and_decisions_are_those_of_the_replay_of_what_it_heard_to_the_bit(name):
    _, tape, result = run(seconds=240, **CASES[name])
    one = genome(**CASES[name])
    rows = rows_of(tape, result.heard, one)
    log = result.row_log
    kept = rows.warm
    np.testing.assert_array_equal(log["ts_ns"], rows.ts_ns[kept])
    at = rows.row_event[kept]
    np.testing.assert_array_equal(log["bid"], rows.path_bid[at])
    np.testing.assert_array_equal(log["ask"], rows.path_ask[at])
    outputs = evaluate_block([compile_genome(one)], np.ascontiguousarray(rows.features[kept]))[0][0]
    for name_, column in zip(("signal", "score", "size"), outputs, strict=False):
        np.testing.assert_array_equal(log[name_], column)

    rules = trading_rules(one, tape.instrument)
    mids = 0.5 * (log["bid"] + log["ask"])
    decided = 0
    for i, line in enumerate(log):
        if line["reason"] < 0:
            continue
        order = decide(
            rules,
            signal=line["signal"],
            score=line["score"],
            size_output=line["size"],
            bid=line["bid"],
            ask=line["ask"],
            equity=line["equity"],
            book=rows.path_depth[at[i]],
            mids=mids[: i + 1],
        )
        assert (order.side, order.reason) == (line["side"], line["reason"])
        expected = (order.quantity, order.take_profit, order.stop, order.p, order.fraction)
        got = tuple(line[n] for n in ("quantity", "take_profit", "stop", "p", "fraction"))
        np.testing.assert_array_equal(got, expected)
        decided += order.side != 0
    assert decided == result.decisions["order"] >= 3
    assert sum(result.decisions.values()) == (log["reason"] >= 0).sum()
    assert len(result.trades) >= 2


def test_with_hardly_any_delay_its_trades_are_those_of_the_replay_of_the_tape():
    # Nothing happens between seeing and arriving; the take-profit is out of reach, because an order of its
    # own at the touch is what the replay does not have.
    quick = {"latency_shift": -10.0, "latency_sigma": 0.0, "loss": 0.0}
    bracket = Bracket(stop=BpsStop(value=4.0), max_hold_s=15.5, reward_risk=100.0)
    _, tape, result = run(seconds=900, options=quick, bracket=bracket)
    one = genome(bracket=bracket)
    rows = rows_of(tape, result.heard, one)
    market = book_market(
        features=rows.features[rows.warm],
        row_event=rows.row_event[rows.warm],
        ts_ns=rows.path_ts_ns,
        bid=rows.path_bid,
        ask=rows.path_ask,
        depth=rows.path_depth,
    )
    theirs = replay_trades(market, compile_genome(one), trading_rules(one, tape.instrument))
    ours = result.trades
    theirs = theirs[: len(ours)]  # the replay closes what is open at the end
    assert len(ours) >= 20
    assert set(ours["exit_kind"]) == {r.EXIT_STOP, r.EXIT_MAX_HOLD}
    for name in ("entry_row", "entry_event", "side", "exit_kind", "quantity", "take_profit", "stop", "p"):
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    np.testing.assert_allclose(ours["entry_price"], theirs["entry_price"], rtol=1e-12)
    # A maker's messages arrive together, at one instant: then the book is another one a moment after it was
    # seen, and an exit can pay another price than the replay's.
    same_exit = np.isclose(ours["exit_price"], theirs["exit_price"], rtol=1e-12)
    assert same_exit.mean() > 0.95
    for name in ("fees", "profit"):
        np.testing.assert_allclose(ours[name][same_exit], theirs[name][same_exit], atol=1e-9, err_msg=name)
    np.testing.assert_allclose(ours["equity_after"], theirs["equity_after"], rtol=1e-3)


def test_trades_have_the_columns_of_the_replay():
    assert CONTENDER_TRADE == TRADE
    assert CONTENDER_EXITS == EXIT_KINDS


@pytest.mark.parametrize("count", [1, 3])
def test_a_contender_that_never_trades_leaves_the_tape_as_it_is(count):
    alone = Market(BITCOIN, seed=5).run(120 * SECOND)
    watched = Market(
        BITCOIN, seed=5, contenders=[contender(clock="book", **NEVER) for _ in range(count)]
    ).run(120 * SECOND)
    assert watched.digest() == alone.digest()
    assert watched.stats == alone.stats
    for result in watched.contenders:
        assert result.decisions["no_signal"] == result.rows > 1000
        assert result.orders == 0
        assert (result.equity == 200.0).all()


def test_a_contender_that_trades_is_on_the_tape():
    alone = Market(BITCOIN, seed=5).run(120 * SECOND)
    _, tape, result = run(seed=5, seconds=120)
    assert tape.digest() != alone.digest()
    own = tape.trades_of(result.agent)
    assert own["size"].sum() > 0
    first = own["ts_ns"][0]
    before = tape.events["ts_event_ns"] < first
    np.testing.assert_array_equal(tape.events[before], alone.events[: before.sum()])


# ---------------------------------------------------------------------------------------------- conservation


def settled(market):
    """Let the contenders finish and hear of all their fills; returns the last tape."""
    market._pit.contenders["multiplier"] = 0.0  # no more entries
    for _ in range(500):
        tape = market.run(2 * SECOND)
        if (market._pit.contenders["phase"] != r.IDLE).any():
            continue
        pit = market._pit
        mask = pit.inbox.shape[1] - 1
        kinds = [
            int(pit.inbox[who, k & mask]["kind"])
            for who, c in enumerate(pit.contenders)
            for k in range(int(c["head"]), int(c["tail"]))
        ]
        if all(kind == r.BATCH for kind in kinds):
            return tape
    raise AssertionError("answers are under way for ever")


def check_ledgers(market, tape):
    """Each contender's own ledger is the venue's account of it."""
    lot_worth = market._world.values[w.TICK_LOT]
    tick_size = market.population.instrument.tick
    for who, c in enumerate(market._pit.contenders):
        account, ledger = tape.accounts[c["agent"]], market._pit.ledgers[who]
        assert ledger["position_units"] == account["inventory"] * market._world.units[w.LOT_UNITS]
        position = ledger["position_units"] / ledger["size_scale"]
        cash = float(account["cash"]) * lot_worth
        turnover = 1e-9 * max(1.0, float(account["bought"] + account["sold"]) * lot_worth / tick_size * 1e3)
        assert ledger["realised"] == pytest.approx(cash + position * ledger["average_price"], abs=turnover)
        assert ledger["fees"] == pytest.approx(float(account["fees"]) / w.FEE_SCALE * lot_worth, abs=turnover)
        paid = float(account["funding"]) / w.FEE_SCALE * lot_worth
        assert ledger["funding"] == pytest.approx(-paid, abs=turnover)


def check_market(market, tape):
    accounts, stats = tape.accounts, tape.stats
    for name in ("inventory", "cash", "funding"):
        assert accounts[name].sum() == 0, name
    assert accounts["bought"].sum() == accounts["sold"].sum()
    ends = ("lost", "in_flight", "resting", "filled", "cancelled", "expired", "rejected")
    assert sum(getattr(stats, n) for n in ends) == stats.orders
    assert all(getattr(stats, n) >= 0 for n in ends)
    book = market._world.book
    assert stats.in_flight + stats.resting + int(book.state[FREE_COUNT]) == len(book.orders)
    # A contender has at most one order that rests at the venue: its entry's, or its take-profit.
    for c in market._pit.contenders:
        own = (book.orders["id"] >= 0) & (book.orders["owner"] == c["agent"]) & (book.orders["resting"] == 1)
        assert own.sum() <= 1
        assert set(book.orders["id"][own]) <= {c["resting_id"]}


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1 << 62),
    loss=st.sampled_from([0.0, 0.05, 0.4]),
    shift=st.sampled_from([-3.0, 0.0, 4.0, 6.0]),
    clock=st.sampled_from(["book", "1s"]),
    hold_s=st.sampled_from([0.5, 20.0]),
    stop_bps=st.sampled_from([2.0, 8.0]),
    reward=st.sampled_from([0.5, 3.0]),
    market_loss=st.sampled_from([0.0, 0.1]),
    burst=st.sampled_from([0.0, 2.0]),
    count=st.integers(1, 3),
    execution=st.sampled_from(["aggressive", "passive"]),
)
def test_money_positions_and_orders_are_conserved_whatever_is_lost_or_late(
    seed, loss, shift, clock, hold_s, stop_bps, reward, market_loss, burst, count, execution
):
    population = BITCOIN.replace(
        loss=market_loss,
        burst_coupling=burst,
        burst_rate=20.0,
        funding_rate=0.001,
        funding_interval_s=7.0,
    )
    one = contender(
        population,
        {"loss": loss, "latency_shift": shift, "record": True, "timers": HASTY},
        clock=clock,
        conflate_ms=200 if clock == "book" else 0,
        bracket=Bracket(stop=BpsStop(value=stop_bps), max_hold_s=hold_s, reward_risk=reward),
        calibration=Platt(a=0.0, b=3.0),
        execution=execution,
    )
    market = Market(population, seed, warmup_ns=10 * SECOND, contenders=[one] * count)
    tape = market.run(40 * SECOND)
    check_market(market, tape)
    results = tape.contenders
    for result in results:
        assert (np.diff(result.heard["ts_ns"]) > 0).all()
        assert result.lost == (result.sent["arrives_ns"] < 0).sum()
        assert np.isfinite(result.equity).all()
        changes = np.diff(np.concatenate([[200.0], result.trades["equity_after"]]))
        np.testing.assert_allclose(changes, result.trades["profit"], atol=1e-9)
    check_ledgers(market, settled(market))


def test_longs_pay_funding_from_their_own_ledger():
    population = BITCOIN.replace(funding_rate=0.001, funding_interval_s=5.0)
    market, _, result = run(population, seconds=120)
    check_ledgers(market, settled(market))
    assert abs(result.funding) > 0.01


# ------------------------------------------------------------------------------- orders that take their time


def test_a_take_profit_rests_at_the_venue_and_is_filled_as_a_maker_at_its_own_price():
    bracket = Bracket(stop=BpsStop(value=5.0), max_hold_s=600.0, reward_risk=1.0)
    _, tape, result = run(
        BITCOIN.replace(loss=0.0), seconds=900, bracket=bracket, calibration=Platt(a=0.0, b=3.0)
    )
    won = result.trades[result.trades["exit_kind"] == r.EXIT_TAKE_PROFIT]
    assert len(won) >= 3
    np.testing.assert_array_equal(won["exit_price"], won["take_profit"])
    own = tape.trades_of(result.agent)
    assert (own["maker"] == result.agent).any()
    fee = tape.instrument.taker_fee  # makers pay nothing in this market
    np.testing.assert_allclose(won["fees"], won["quantity"] * won["entry_price"] * fee, rtol=1e-9)


def test_a_stop_is_sent_only_after_the_touch_was_seen_to_cross():
    _, tape, result = run(BITCOIN.replace(loss=0.0), seconds=600)
    rows = rows_of(tape, result.heard, genome())
    stopped = result.trades[result.trades["exit_kind"] == r.EXIT_STOP]
    assert len(stopped) >= 3
    for trade in stopped:
        touch = rows.path_bid if trade["side"] > 0 else rows.path_ask
        seen = (rows.path_ts_ns > trade["entry_ts_ns"]) & ((touch - trade["stop"]) * trade["side"] <= 0.0)
        assert rows.path_ts_ns[np.argmax(seen)] < trade["exit_ts_ns"]


def test_a_take_profit_too_far_for_the_venue_is_watched_by_its_owner():
    bracket = Bracket(stop=BpsStop(value=500.0), max_hold_s=5.0, reward_risk=10.0)
    _, tape, result = run(seconds=60, bracket=bracket)
    assert set(result.trades["exit_kind"]) == {r.EXIT_MAX_HOLD}
    assert not (tape.trades_of(result.agent)["maker"] == result.agent).any()
    assert (result.sent["kind"] == r.AN_ORDER).all()  # nothing rests, so nothing is cancelled


def test_a_larger_order_than_the_touch_pays_the_levels_it_takes():
    rich = {"capital": 5e6}
    _, tape, result = run(seconds=120, options=rich, sizing=Sizing(max_leverage=10.0))
    entries = tape.trades_of(result.agent)
    taken = entries[
        (entries["taker"] == result.agent) & (entries["ts_ns"] == result.trades["entry_ts_ns"][0])
    ]
    assert len(np.unique(taken["price"])) > 3
    mean = (taken["price"] * taken["size"]).sum() / taken["size"].sum() / 10.0
    assert result.trades["entry_price"][0] == pytest.approx(mean, rel=1e-12)


def test_orders_that_are_all_lost_leave_the_market_as_it_was():
    alone = Market(BITCOIN, seed=7).run(120 * SECOND)
    _, tape, result = run(seed=7, seconds=120, options={"loss": 1.0})
    np.testing.assert_array_equal(tape.events, alone.events)
    for name in ("ts_ns", "price", "size", "taker", "maker", "side"):
        np.testing.assert_array_equal(tape.trades[name], alone.trades[name])
    assert tape.stats.lost == alone.stats.lost + 1
    # One order, and from its time-out on, a second apart, the question what became of it.
    assert (result.orders, result.decisions["order"], len(result.trades)) == (1, 1, 0)
    # The order itself is not given up, and the last question may still be answered.
    assert result.lost == len(result.sent) == result.timeouts + 2 > 50
    assert (np.diff(result.sent["ts_ns"]) == SECOND).all()
    assert result.final_equity == 200.0


def tries(result):
    """For each decision to enter, how many orders were lost before one arrived, and whether one did."""
    orders = result.sent[result.sent["kind"] == r.AN_ORDER]
    decided = result.row_log["ts_ns"][result.row_log["reason"] == 0]
    group = np.searchsorted(decided, orders["ts_ns"], side="right") - 1
    out = []
    for k in range(len(decided) - 1):  # the last one may be under way
        arrived = orders["arrives_ns"][group == k] >= 0
        lost = int(np.argmax(arrived)) if arrived.any() else len(arrived)
        out.append((lost, bool(arrived.any())))
    return out


def test_a_lost_entry_is_sent_again_as_often_as_allowed():
    _, _, result = run(seconds=3600, options={"loss": 0.6, "entry_retries": 2})
    counts = tries(result)
    assert len(counts) > 20
    assert max(lost for lost, _ in counts) == 3
    assert {lost for lost, arrived in counts if not arrived} >= {3}
    assert {lost for lost, arrived in counts if arrived} == {0, 1, 2}


def test_a_lost_entry_is_given_up_when_the_signal_is_gone():
    # On for one row in some twenty: when the loss is noticed, three seconds later, it is mostly off again.
    flash = call("gt", call("rank", feature(2), k=20), constant(0.999))
    signal = call("if_then_else", flash, constant(1.0), constant(0.0))
    options = {"loss": 0.5, "entry_retries": 1_000, "timeout_ns": 3 * SECOND}
    _, _, result = run(seconds=3600, options=options, signal=signal)
    counts = tries(result)
    given_up = sum(not arrived for _, arrived in counts)
    assert given_up > 5
    assert max(lost for lost, _ in counts) < 5


def test_positions_are_closed_however_many_messages_are_lost():
    _, tape, result = run(seconds=1200, options={"loss": 0.4}, bracket=Bracket(
        stop=BpsStop(value=3.0), max_hold_s=10.0))  # fmt: skip
    assert result.lost > 20
    assert result.retries > 10
    assert len(result.trades) > 20
    assert result.late_fills == 0
    own = tape.trades_of(result.agent)
    sign = np.where(own["taker"] == result.agent, own["side"], -own["side"])
    held = np.cumsum(sign * own["size"]) / 1000.0
    flat = own["ts_ns"][held == 0.0]
    # No position outlives its time by more than the tries that an exit took.
    assert np.isin(result.trades["exit_ts_ns"], flat).all()
    overdue = result.trades["exit_ts_ns"] - result.trades["entry_ts_ns"] - 10 * SECOND
    assert overdue.max() < 20 * SECOND


def test_answers_that_come_after_their_time_out_are_booked_all_the_same():
    # A median delay of 3 s each way, and a patience of one second.
    late = {"latency_shift": 9.0, "latency_sigma": 0.3, "loss": 0.0}
    market, _, result = run(seconds=900, options=late)
    assert result.late_fills > 0
    assert result.timeouts > result.late_fills
    tape = settled(market)
    check_market(market, tape)
    check_ledgers(market, tape)
    assert len(result.trades) > 5


def _chance(world, agent, command, direction):
    """The uniform by which it is drawn whether a message is lost."""
    from apex_nautilus.sim.draws import extend_key, key_uniform

    key = np.uint64(extend_key(world.keys[agent], np.int64(command)))
    return key_uniform(key, np.int64(2 * direction + 1))


def test_a_fill_after_a_lost_cancellation_is_booked_and_closed():
    bracket = Bracket(stop=BpsStop(value=4.0), max_hold_s=3.0, reward_risk=0.6)
    patient = {"loss": 0.0, "timeout_ns": 3600 * SECOND, "record": True}
    filled = 0
    for seed in range(12):
        one = contender(options=patient, bracket=bracket, calibration=Platt(a=0.0, b=3.0))
        market = Market(BITCOIN.replace(loss=0.0), seed, contenders=[one])
        c = None
        for _ in range(4000):  # until it holds a position with its take-profit at the venue
            market.run(SECOND // 20)
            c = market._pit.contenders[0]
            if c["phase"] == r.HOLDING and market._pit.pending[0, r.RESTING]["order_id"] < 0:
                break
        world, agent = market._world, int(c["agent"])
        command = int(world.accounts[agent]["commands"])
        cancel = _chance(world, agent, command, w.NONE + 1)
        order = _chance(world, agent, command + 1, w.NONE)
        if cancel >= order:
            continue
        c["loss"] = 0.5 * (cancel + order)  # the cancellation is lost, the market order behind it is not
        resting_id, trades_before = int(c["resting_id"]), int(market._world.accounts[agent]["commands"])
        for _ in range(400):
            tape = market.run(SECOND)
            c = market._pit.contenders[0]
            if c["lost"] > 0:
                c["loss"] = 0.0
            own = tape.trades_of(agent)
            if (own["maker_order"] == resting_id).any():
                break
        if c["lost"] == 0 or not (own["maker_order"] == resting_id).any():
            continue
        filled += 1
        assert int(market._world.accounts[agent]["commands"]) > trades_before
        tape = settled(market)
        market.run(5 * SECOND)
        tape = settled(market)
        check_market(market, tape)
        check_ledgers(market, tape)
    assert filled >= 1


# --------------------------------------------------------------------------------------- entries that rest


def resting(seed=1, *, seconds=1800, options=None, **changes):
    """A run whose entries rest, and the orders on the tape that were filled for it."""
    _, tape, result = run(seed=seed, seconds=seconds, options=options, execution="passive", **changes)
    return result, tape.trades_of(result.agent)


def decisions_of(result):
    """Quantity, side and touch of each decision to enter, by the row at which a trade says it was made."""
    log = result.row_log
    return {row: log[row] for row in np.flatnonzero(log["reason"] == 0)}


def test_an_entry_rests_in_the_book_and_waits_its_turn():
    result, own = resting(options={"loss": 0.0})
    assert result.entries["rested"] >= 10
    assert sum(result.entries.values()) == result.decisions["order"]
    decisions = decisions_of(result)
    rested_at_once = 0
    for trade in result.trades:
        line = decisions[trade["entry_row"]]
        near = line["bid"] if line["side"] > 0 else line["ask"]
        assert trade["side"] == line["side"]
        assert trade["quantity"] <= line["quantity"]
        if trade["entry_price"] == near:
            rested_at_once += 1
            # Whoever was at that price before was served first, so the fill comes later than the decision.
            assert trade["entry_ts_ns"] > line["ts_ns"]
    assert rested_at_once >= 10
    # Its fills as a maker are entries and take-profits; they pay the maker's fee.
    made = own[own["maker"] == result.agent]
    instrument = BITCOIN.instrument
    scale = 10.0 ** -(instrument.price_precision + instrument.size_precision)
    worth = own["price"].astype(float) * own["size"] * scale
    fee = np.where(own["maker"] == result.agent, instrument.maker_fee, instrument.taker_fee)
    assert len(made) >= result.entries["rested"]
    assert result.fees == pytest.approx((worth * fee).sum(), rel=1e-9)


def test_it_costs_less_to_rest_and_fewer_entries_come_off():
    _, _, crossing = run(seconds=1800, options={"loss": 0.0})
    result, _ = resting(options={"loss": 0.0})
    share = [r_.fees / (r_.trades["quantity"] * r_.trades["entry_price"]).sum() for r_ in (result, crossing)]
    assert share[0] < share[1]
    assert crossing.entries["given_up"] == crossing.entries["rested"] == 0
    assert result.entries["given_up"] + result.entries["crossed"] > 0


def test_patience_ends_at_market_and_a_signal_that_is_gone_ends_it_too():
    always = {"signal": constant(1.0), "bracket": Bracket(stop=BpsStop(value=20.0), max_hold_s=4.0)}
    waits = {"timers": PassiveTimers(reprice_ns=3600 * SECOND, patience_ns=2 * SECOND), "loss": 0.0}
    result, _ = resting(options=waits, seconds=600, **always)
    assert result.entries["given_up"] == 0
    assert result.entries["crossed"] >= 10
    log = result.row_log
    for trade in result.trades:
        waited = trade["entry_ts_ns"] - log["ts_ns"][trade["entry_row"]]
        assert waited < 3 * SECOND
    flash = call("gt", call("rank", feature(2), k=20), constant(0.999))
    gone = {"signal": call("if_then_else", flash, constant(1.0), constant(0.0))}
    result, _ = resting(options=waits, seconds=600, **gone)
    assert result.entries["given_up"] > result.entries["crossed"]


@pytest.mark.parametrize("loss", [0.05, 0.4])
def test_an_entry_never_exceeds_its_decision_whatever_is_lost(loss):
    options = {"loss": loss, "timers": HASTY, "timeout_ns": SECOND // 4, "latency_shift": 3.0, "capital": 5e4}
    result, _ = resting(options=options, clock="book", conflate_ms=500)
    assert result.lost > 20
    assert result.retries > 5
    assert result.entries["crossed"] > 5
    assert result.entries["given_up"] > 5
    decisions = decisions_of(result)
    parts = 0
    for trade in result.trades:
        wanted = decisions[trade["entry_row"]]["quantity"]
        assert trade["quantity"] <= wanted * (1.0 + 1e-12)
        parts += trade["quantity"] < wanted * (1.0 - 1e-12)
    assert parts > 5


class _Waiting:
    def choose(self, state):
        return 0


def test_a_policy_of_python_is_refused():
    register_entry_policy("test-contender-waiting", _Waiting())
    with pytest.raises(ContenderError, match=r"rules: .* knows aggressive and passive"):
        contender(execution="test-contender-waiting")
    with pytest.raises(ValueError, match="no entry policy 'unheard-of'"):
        contender(execution="unheard-of")


def test_delays_are_those_of_its_key_log_normal_and_never_reorder_a_connection():
    from scipy import stats

    from apex_nautilus.sim.draws import extend_key
    from apex_nautilus.sim.latency import CANCEL, DATA, ORDER, delay_of, loss_of

    options = {"latency_shift": -2.0, "loss": 0.05}
    market, tape, result = run(
        seconds=3600, options=options, clock="book", conflate_ms=500,
        bracket=Bracket(stop=BpsStop(value=2.0), max_hold_s=1.0), calibration=Platt(a=0.0, b=4.0),
    )  # fmt: skip
    key, sent = market._world.keys[result.agent], result.sent
    np.testing.assert_array_equal(sent["command"], np.arange(len(sent)))
    arrived = sent[sent["arrives_ns"] >= 0]
    assert (np.diff(arrived["arrives_ns"]) >= 0).all()
    assert (np.diff(result.heard["ts_ns"]) > 0).all()
    assert 0.03 < (sent["arrives_ns"] < 0).mean() < 0.07

    last = 0
    logs = []
    for line in sent:
        message = np.uint64(extend_key(key, line["command"]))
        direction = CANCEL if line["kind"] == r.A_CANCEL else ORDER
        assert loss_of(message, direction, 0.05) == (line["arrives_ns"] < 0)
        if line["arrives_ns"] < 0:
            continue
        delay = delay_of(message, direction, 4.0, 1.5)
        last = max(int(line["ts_ns"]) + int(delay + 0.5), last)
        assert line["arrives_ns"] == last
        logs.append(np.log(delay / 1000.0))
    assert len(logs) > 500
    assert stats.kstest(logs, stats.norm(4.0, 1.5).cdf).pvalue > 0.01

    # What it hears, where the batch before has surely arrived and nothing waits in the queue.
    ends = tape.events[tape.events["flags"] & FLAG_LAST > 0]
    published = dict(zip(ends["sequence"].tolist(), ends["ts_event_ns"].tolist(), strict=True))
    delays = np.array([line["ts_ns"] - 1 - published[int(line["sequence"])] for line in result.heard[1:]])
    assert delays.min() >= 0
    times = np.array([published[int(line["sequence"])] for line in result.heard[1:]])
    alone = np.append(False, np.diff(times) > SECOND // 10)
    sample = np.log(delays[alone] / 1000.0)
    assert len(sample) > 1000
    assert stats.kstest(sample, stats.norm(4.0, 1.5).cdf).pvalue > 0.01
    draws = [delay_of(np.uint64(extend_key(key, np.int64(k))), DATA, 4.0, 1.5) for k in range(20)]
    assert int(result.heard["ts_ns"][0]) == tape.start_ns + int(draws[0] + 0.5) + 1


# ---------------------------------------------------------------------------------------------- the machinery


def same(one, other):
    for name in ("trades", "equity", "mark_ts_ns", "row_log", "heard", "sent"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    for name in ("final_equity", "decisions", "rows", "orders", "lost", "timeouts", "retries", "fees"):
        assert getattr(one, name) == getattr(other, name), name


def test_any_number_of_workers_gives_the_same_tapes_and_results():
    pair = [contender(options={"record": True}), contender(options={"loss": 0.2}, clock="book")]
    here = run_many(BITCOIN, [1, 2], 60 * SECOND, contenders=pair)
    there = run_many(BITCOIN, [1, 2], 60 * SECOND, contenders=pair, workers=2)
    assert [t.digest() for t in here] == [t.digest() for t in there]
    for one, other in zip(here, there, strict=True):
        assert len(one.contenders) == 2
        for a, b in zip(one.contenders, other.contenders, strict=True):
            same(a, b)


def test_two_runs_are_the_two_halves_of_one():
    _, whole_tape, whole = run(seconds=200, seed=3)
    market = Market(BITCOIN, 3, contenders=[contender(options={"record": True})])
    halves = [market.run(61_500_000_000), market.run(138_500_000_000)]
    parts = [t.contenders[0] for t in halves]
    for name in ("trades", "equity", "mark_ts_ns", "row_log", "heard", "sent"):
        joined = np.concatenate([getattr(p, name) for p in parts])
        assert joined.tobytes() == getattr(whole, name).tobytes(), name
    assert parts[1].decisions == whole.decisions
    assert parts[1].final_equity == whole.final_equity
    assert whole.mark_ts_ns[0] == whole_tape.start_ns + SECOND
    assert len(whole.equity) == 200


def test_slices_and_room_in_the_arrays_do_not_show(monkeypatch):
    _, tape, whole = run(seconds=40, seed=4, clock="book")
    monkeypatch.setattr(market_module, "_SLICE", 13)
    market = Market(BITCOIN, 4, contenders=[contender(options={"record": True}, clock="book")])
    pit = market._pit
    market._pit = pit._replace(
        inbox=np.zeros((1, 1), MESSAGE),
        lines=pit.lines[:1].copy(),
        **{name: getattr(pit, name)[:, :1].copy() for name in ("trades", "rows", "heard", "sent")},
    )
    again = market.run(40 * SECOND)
    assert again.digest() == tape.digest()
    same(again.contenders[0], whole)


def test_an_interrupted_run_goes_on_where_it_stopped(monkeypatch):
    _, tape, whole = run(seconds=60, seed=6)
    monkeypatch.setattr(market_module, "_SLICE", 500)
    market = Market(BITCOIN, 6, contenders=[contender(options={"record": True})])

    def stop(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        market.run(60 * SECOND, progress=stop)
    again = market.run(60 * SECOND)
    assert again.digest() == tape.digest()
    same(again.contenders[0], whole)


def test_contenders_in_one_market_meet_each_others_orders():
    rich = {"capital": 2e6, "record": True}
    alone = run(seconds=120, seed=2, options=rich)[2]
    both = Market(BITCOIN, 2, contenders=[contender(options=rich), contender(options={"capital": 3e6})]).run(
        120 * SECOND
    )
    first, second = both.contenders
    assert (first.agent, second.agent) == (alone.agent, alone.agent + 1)
    assert first.trades["entry_price"][0] != alone.trades["entry_price"][0] or (
        second.trades["entry_price"][0] != first.trades["entry_price"][0]
    )


def test_a_ruined_contender_stops_trading():
    bracket = Bracket(stop=BpsStop(value=3.0), max_hold_s=5.0)
    _, _, result = run(seconds=900, options={"capital": 7.0}, bracket=bracket)
    assert result.ruin_ts_ns > 0
    assert result.ruin_ts_ns == result.trades["exit_ts_ns"][-1]
    assert result.decisions["ruined"] > 0
    assert result.position == 0.0


def test_contender_survives_a_pickle():
    one = contender(options={"loss": 0.25})
    again = pickle.loads(pickle.dumps(one))
    assert again.rules == one.rules
    assert again.program.digest == one.program.digest
    assert (again.features, again.loss, again.clock) == (one.features, 0.25, "1s")


def _trees() -> dict[str, Node]:
    return {"signal": constant(1.0), "confidence": constant(1.0)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"capital": 0.0}, "capital"),
        ({"capital": float("nan")}, "capital"),
        ({"multiplier": -1.0}, "multiplier"),
        ({"loss": 1.5}, "loss"),
        ({"latency_sigma": -0.1}, "latency_sigma"),
        ({"latency_shift": 11.0}, "latency_shift"),
        ({"timeout_ns": 0}, "timeout_ns"),
        ({"entry_retries": -1}, "entry_retries"),
        ({"mark_ns": 5}, "mark_ns"),
    ],
)
def test_bad_field_is_refused_by_name(options, says):
    with pytest.raises(ContenderError, match=says):
        contender(options=options)


def test_what_cannot_trade_in_a_market_is_refused():
    instrument = BITCOIN.instrument
    with pytest.raises(ContenderError, match="clock: '5m'"):
        Contender.of(genome(clock="5m"), instrument)
    program, rules = compile_genome(genome()), trading_rules(genome(), instrument)
    with pytest.raises(ContenderError, match="features: the program reads 4, 1 are named"):
        Contender(program=program, rules=rules, features=("ofi_10",))
    with pytest.raises(ContenderError, match="RULES"):
        Contender(program=program, rules=np.zeros(1)[0], features=FEATURES)
    unknown = Contender(program=program, rules=rules, features=("ofi_10", "spread_bps", "imbalance", "moon"))
    with pytest.raises(ContenderError, match=r"contenders\[0\]: 'moon' is not a feature"):
        Market(BITCOIN, 1, contenders=[unknown])
    ether = profile("ETHUSDT-LINEAR.SIM")
    right = Contender.of(genome(**_trees()), ether.instrument)
    with pytest.raises(ContenderError, match=r"contenders\[1\].rules: price_scale"):
        Market(ether, 1, contenders=[right, contender()])


def test_reasons_are_all_counted():
    result = run(seconds=60)[2]
    assert tuple(result.decisions) == REASONS
