"""How an entry gets into the market: built-in policies, registry, and the bracket of one that rests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.genome import BpsStop, Bracket, Genome
from apex_nautilus.risk import (
    InstrumentSpec,
    decide,
    entry_policy,
    half_kelly,
    net_reward_risk,
    register_entry_policy,
    trading_rules,
)
from apex_nautilus.risk.entry_policy import (
    _FACTORIES,
    CANCEL,
    CHOICES,
    CROSS,
    EXECUTION_PASSIVE,
    IMPROVE,
    JOIN,
    WAIT,
    EntryState,
    PassiveTimers,
    check_execution,
    entry_price_kernel,
    is_inside_kernel,
    passive_choice_kernel,
)
from apex_nautilus.sim import execution

BTC = InstrumentSpec(
    id="BTCUSDT-PERP.BINANCE", base="BTC", quote="USDT", price_precision=1, size_precision=3, tick=0.1,
    lot=0.001, min_qty=0.001, max_qty=100.0, min_notional=20.0, maker_fee=0.0002, taker_fee=0.0005,
)  # fmt: skip
SECOND = 1_000_000_000
TIMERS = PassiveTimers(SECOND, 10 * SECOND)


def genome(how="aggressive", bps=100.0):
    return Genome(instrument_id=BTC.id, bracket=Bracket(stop=BpsStop(bps), max_hold_s=60.0), execution=how)


def state(**changes):
    values = {
        "side": 1, "quantity": 1.0, "missing": 1.0, "bid": 100.0, "ask": 100.2, "tick": 0.1,
        "book": np.zeros((4, 1)), "resting_price": 100.0, "since_decision_ns": SECOND,
        "since_priced_ns": SECOND, "is_wanted": True, "take_profit": 103.0, "stop": 99.0,
    }  # fmt: skip
    return EntryState(**values | changes)


@pytest.fixture
def registry():
    before = dict(_FACTORIES)
    yield
    _FACTORIES.clear()
    _FACTORIES.update(before)


@pytest.mark.parametrize(
    ("changes", "choice"),
    [
        ({}, WAIT),
        ({"is_wanted": False}, CANCEL),
        ({"is_wanted": False, "since_decision_ns": 10 * SECOND}, CANCEL),
        ({"since_decision_ns": 10 * SECOND - 1}, WAIT),
        ({"since_decision_ns": 10 * SECOND}, CROSS),
        ({"resting_price": math.nan, "since_priced_ns": 0}, JOIN),
        ({"bid": 100.1}, JOIN),
        ({"bid": 100.1, "since_priced_ns": SECOND - 1}, WAIT),
        ({"bid": 99.5}, WAIT),  # the touch fell back: the order is the best bid now
        ({"bid": math.nan}, WAIT),
        ({"bid": math.nan, "resting_price": math.nan}, WAIT),
        ({"ask": math.nan, "since_decision_ns": 10 * SECOND}, WAIT),
        ({"side": -1, "resting_price": 100.3}, JOIN),  # the offer moved down, away from it
        ({"side": -1, "resting_price": 100.1}, WAIT),
    ],
)
def test_the_passive_policy_by_hand(changes, choice):
    assert CHOICES[entry_policy("passive", TIMERS).choose(state(**changes))] == CHOICES[choice]


prices = st.one_of(st.just(math.nan), st.integers(900, 1100).map(lambda n: n / 10))


@given(
    st.sampled_from((1, -1)), prices, prices, prices, st.integers(0, 20 * SECOND),
    st.integers(0, 20 * SECOND), st.booleans(),
)  # fmt: skip
def test_buying_and_selling_are_mirror_images(side, bid, ask, resting, age, priced, wanted):
    there = passive_choice_kernel(side, bid, ask, resting, age, priced, wanted, *TIMERS)
    back = passive_choice_kernel(-side, -ask, -bid, -resting, age, priced, wanted, *TIMERS)
    assert there == back


def test_aggressive_crosses_whatever_it_sees():
    assert entry_policy("aggressive").choose(state(is_wanted=False, resting_price=math.nan)) == CROSS


def test_the_simulators_environment_speaks_the_same_language():
    assert execution.ACTIONS == CHOICES
    theirs = (execution.WAIT, execution.CROSS, execution.JOIN, execution.IMPROVE, execution.CANCEL)
    assert theirs == (WAIT, CROSS, JOIN, IMPROVE, CANCEL) == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("choice", "side", "bid", "ask", "price"),
    [
        (JOIN, 1, 100.0, 100.1, 100.0),
        (JOIN, -1, 100.0, 100.1, 100.1),
        (IMPROVE, 1, 100.0, 100.1, 100.0),  # one tick wide: no room
        (IMPROVE, 1, 100.0, 100.2, 100.1),
        (IMPROVE, -1, 100.0, 100.2, 100.1),
        (IMPROVE, 1, 100.0, math.nan, 100.0),
        (WAIT, 1, 100.0, 100.1, math.nan),
        (CROSS, 1, 100.0, 100.1, math.nan),
        (JOIN, 1, math.nan, 100.1, math.nan),
    ],
)
def test_where_an_order_rests(choice, side, bid, ask, price):
    assert entry_price_kernel(choice, side, bid, ask, 0.1) == pytest.approx(price, nan_ok=True)


@pytest.mark.parametrize(
    ("touch", "bracket", "is_inside"),
    [
        ((100.0, 100.1), (103.0, 99.0), True),
        ((100.0, 100.1), (97.0, 101.0), True),  # of a short
        ((102.9, 103.0), (103.0, 99.0), False),
        ((99.0, 99.1), (103.0, 99.0), False),
        ((100.9, 101.0), (97.0, 101.0), False),
        ((math.nan, 100.1), (103.0, 99.0), False),
        ((100.0, math.nan), (103.0, 99.0), False),
    ],
)
def test_whether_the_market_is_still_inside_a_bracket(touch, bracket, is_inside):
    assert is_inside_kernel(*touch, *bracket) == is_inside


def test_an_unknown_policy_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match=r"no entry policy 'sorcery'.*aggressive, passive"):
        entry_policy("sorcery")
    with pytest.raises(ValueError, match=r"genome .*execution: no entry policy 'sorcery'"):
        trading_rules(genome("sorcery"), BTC)


def test_a_registered_policy_is_found_by_its_id_and_no_id_is_given_twice(registry):
    class Never:
        def choose(self, state):
            return CANCEL

    register_entry_policy("never", Never())
    assert entry_policy("never").choose(state()) == CANCEL
    trading_rules(genome("never"), BTC)
    for taken in ("never", "passive"):
        with pytest.raises(ValueError, match="known already"):
            register_entry_policy(taken, Never())
    with pytest.raises(TypeError, match="choose"):
        register_entry_policy("other", object())


def test_on_bars_nothing_can_rest():
    check_execution("aggressive", on_bars=True)
    check_execution("passive", on_bars=False)
    with pytest.raises(ValueError, match=r"'passive' rests in an order book and bars have none"):
        check_execution("passive", on_bars=True)


@pytest.mark.parametrize("timers", [PassiveTimers(0, 1), PassiveTimers(1, -1)])
def test_a_timer_that_is_not_positive_is_refused(timers):
    with pytest.raises(ValueError, match=r"execution|_ns: must be positive"):
        trading_rules(genome("passive"), BTC, timers=timers)


def test_the_rules_carry_kind_and_timers():
    rules = trading_rules(genome("passive"), BTC, timers=PassiveTimers(5, 7))
    assert (rules["execution"], rules["reprice_ns"], rules["patience_ns"]) == (EXECUTION_PASSIVE, 5, 7)


ROW = {"score": math.log(0.4 / 0.6), "bid": 59_990.0, "ask": 60_000.0, "equity": 2_000.0}


@pytest.mark.parametrize(("signal", "near", "far"), [(1.0, 59_990.0, 60_000.0), (-1.0, 60_000.0, 59_990.0)])
def test_the_bracket_of_a_resting_entry_hangs_on_the_price_it_rests_at(signal, near, far):
    rests = decide(trading_rules(genome("passive"), BTC), signal=signal, **ROW)
    crosses = decide(trading_rules(genome("aggressive"), BTC), signal=signal, **ROW)
    assert rests.stop == pytest.approx(near * (1 - signal * 0.01), abs=0.1)
    assert rests.take_profit == pytest.approx(near * (1 + signal * 0.03), abs=0.1)
    assert crosses.stop == pytest.approx(far * (1 - signal * 0.01), abs=0.1)


@given(st.floats(5.0, 300.0), st.integers(1, 40), st.sampled_from((1.0, -1.0)), st.floats(-0.8, 2.0))
def test_the_better_price_is_not_bet_on(bps, ticks, signal, score):
    """A resting entry stakes by the costs of crossing: taker fees both ways, and the spread."""
    bid, ask = 60_000.0, 60_000.0 + ticks / 10
    row = {"signal": signal, "score": score, "bid": bid, "ask": ask, "equity": 1e5}
    order = decide(trading_rules(genome("passive", bps), BTC), **row)
    near, far = (bid, ask) if signal > 0 else (ask, bid)
    distance, cost = near * bps / 1e4, 2 * BTC.taker_fee * far + (ask - bid)
    if distance <= ask - bid:
        assert order.side == 0
        return
    fraction = max(half_kelly(order.p, net_reward_risk(3.0 * distance, distance, cost)), 0.0)
    assert order.fraction == pytest.approx(fraction, rel=1e-9, abs=1e-12)
    if order.side:
        wanted = min(1e5 * fraction / (distance + cost), 10.0 * 1e5 / far)
        assert order.quantity == pytest.approx(wanted, abs=BTC.lot)
