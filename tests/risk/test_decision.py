"""One decision on one row: the order the rules ask for, or the reason why there is none."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Genome,
    Isotonic,
    Platt,
    Sizing,
    VolatilityStop,
    calibrated_probability,
)
from apex_nautilus.risk import (
    REASONS,
    InstrumentSpec,
    calibrate_kernel,
    decide,
    half_kelly,
    net_reward_risk,
    rules_array,
    trading_rules,
)

BTC = InstrumentSpec(
    id="BTCUSDT-PERP.BINANCE", base="BTC", quote="USDT", price_precision=1, size_precision=3, tick=0.1,
    lot=0.001, min_qty=0.001, max_qty=100.0, min_notional=20.0, maker_fee=0.0002, taker_fee=0.0005,
)  # fmt: skip
SPOT = InstrumentSpec(
    id="BTCUSDT.BINANCE", base="BTC", quote="USDT", kind="spot", price_precision=1, size_precision=5,
    tick=0.1, lot=0.00001,
)  # fmt: skip
GENOME = Genome(instrument_id=BTC.id, bracket=Bracket(stop=BpsStop(100.0), max_hold_s=60.0))
SCORE = math.log(0.4 / 0.6)  # p = 0.40 under the default calibration
ROW = {"signal": 1.0, "score": SCORE, "bid": 59_999.9, "ask": 60_000.0, "equity": 200.0}


def changed(**fields):
    values = {name: getattr(GENOME, name) for name in GENOME.__struct_fields__}
    return Genome(**values | fields)


def test_a_long_by_hand():
    order = decide(trading_rules(GENOME, BTC), **ROW)
    distance, cost = 600.0, 60_000.0 * 0.001 + 0.1
    fraction = half_kelly(0.4, net_reward_risk(3 * distance, distance, cost))
    assert order.side == 1
    assert (order.take_profit, order.stop) == (61_800.0, 59_400.0)
    assert order.p == pytest.approx(0.4)
    assert order.fraction == pytest.approx(fraction)
    assert order.quantity == math.floor(200.0 * fraction / (distance + cost) * 1000) / 1000
    assert REASONS[order.reason] == "order"


def test_a_short_is_anchored_at_the_bid():
    order = decide(trading_rules(GENOME, BTC), **ROW | {"signal": -1.0})
    distance = 59_999.9 * 0.01
    assert order.side == -1
    assert order.take_profit == math.floor((59_999.9 - 3 * distance) * 10) / 10
    assert order.stop == math.ceil((59_999.9 + distance) * 10) / 10


WIDE = {"bid": 59_300.0}
REFUSALS = [
    ("no_signal", GENOME, BTC, {"signal": 0.5}),
    ("no_signal", GENOME, BTC, {"signal": math.nan}),
    ("short_on_spot", GENOME, SPOT, {"signal": -1.0}),
    ("no_book", GENOME, BTC, {"bid": math.nan}),
    ("no_book", GENOME, BTC, {"bid": 60_000.0}),
    ("stop_inside_spread", GENOME, BTC, WIDE),
    ("no_edge", GENOME, BTC, {"score": math.log(0.25 / 0.75)}),
    ("no_edge", GENOME, BTC, {"score": math.nan}),
    ("below_minimum", GENOME, BTC, {"equity": 7.0}),
    ("below_minimum", GENOME, BTC, {"multiplier": 0.0}),
    ("ruined", GENOME, BTC, {"equity": 5.0}),
    ("ruined", GENOME, BTC, {"equity": 0.0}),
    ("ruined", GENOME, BTC, {"equity": math.nan}),
    ("warming_up", changed(bracket=Bracket(stop=VolatilityStop(1.0, 50), max_hold_s=1.0)), BTC, {}),
    (
        "bracket_out_of_range",
        changed(bracket=Bracket(stop=BpsStop(4000.0), max_hold_s=1.0)),
        BTC,
        {"signal": -1.0},
    ),
]


@pytest.mark.parametrize(("reason", "genome", "instrument", "change"), REFUSALS)
def test_every_refusal_has_its_reason(reason, genome, instrument, change):
    order = decide(trading_rules(genome, instrument), **ROW | change)
    assert (order.side, order.quantity) == (0, 0.0)
    assert REASONS[order.reason] == reason


def test_an_order_beyond_the_touch_expects_its_own_slippage():
    rules = trading_rules(GENOME, BTC)
    deep = np.array([[59_999.9], [50.0], [60_000.0], [50.0]])
    thin = np.array([[59_999.9, 59_990.0], [50.0, 50.0], [60_000.0, 60_050.0], [0.001, 50.0]])
    rich = ROW | {"equity": 20_000.0}
    plain = decide(rules, **rich)
    assert decide(rules, **rich, book=deep) == plain
    slipped = decide(rules, **rich, book=thin)
    assert slipped.fraction < plain.fraction
    assert slipped.quantity < plain.quantity


def test_an_evolved_size_is_a_share_of_kelly():
    sizing = Sizing(mode="evolved", lo=0.1, hi=0.9)
    rules = trading_rules(changed(sizing=sizing), BTC)
    full = decide(trading_rules(changed(sizing=Sizing(kelly_fraction=1.0)), BTC), **ROW).fraction
    for x, share in ((-800.0, 0.1), (0.0, 0.5), (800.0, 0.9)):
        assert decide(rules, **ROW, size_output=x).fraction == pytest.approx(share * full)
    assert REASONS[decide(rules, **ROW | {"score": -5.0}, size_output=9.0).reason] == "no_edge"
    assert decide(rules, **ROW, size_output=math.nan).side == 0


def test_a_volatility_stop_reads_the_last_mids():
    rules = trading_rules(changed(bracket=Bracket(stop=VolatilityStop(2.0, 3), max_hold_s=1.0)), BTC)
    mids = np.array([1.0, 59_000.0, 60_000.0, 59_500.0, 59_999.95])
    order = decide(rules, **ROW, mids=mids)
    distance = 2.0 * np.diff(np.log(mids[-4:])).std() * 60_000.0
    assert order.stop == pytest.approx(60_000.0 - distance, abs=0.1)


@settings(max_examples=200)
@given(
    st.floats(-2.0, 2.0), st.floats(-6.0, 6.0), st.integers(100, 10_000_000), st.integers(1, 2000),
    st.floats(0.0, 1e6), st.floats(0.0, 6.0), st.floats(1.0, 500.0),
)  # fmt: skip
def test_an_order_is_whole_affordable_and_on_the_right_side(
    signal, score, bid_units, spread, equity, multiplier, bps
):
    rules = trading_rules(changed(bracket=Bracket(stop=BpsStop(bps), max_hold_s=1.0)), BTC)
    bid, ask = bid_units / 10, (bid_units + spread) / 10
    order = decide(rules, signal=signal, score=score, bid=bid, ask=ask, equity=equity, multiplier=multiplier)
    if order.side == 0:
        assert order.reason != 0
        assert order.quantity == 0.0
        return
    touch = ask if order.side > 0 else bid
    assert order.side == math.copysign(1, signal)
    assert order.side * (order.take_profit - touch) > 0 < order.side * (touch - order.stop)
    assert order.stop > 0.0 < order.take_profit
    assert order.quantity * touch <= equity * 10.0 * (1 + 1e-12)
    assert order.quantity * touch >= BTC.min_notional
    assert 0.0 < order.fraction <= 0.5
    if order.quantity < equity * 10.0 / touch - 0.001 and multiplier <= 1.0:
        assert (
            order.quantity * abs(touch - order.stop) <= equity * order.fraction * 1.001 + 0.1 * order.quantity
        )


KNOTS = Isotonic((-1.0, 0.0, 2.0), (0.1, 0.3, 0.9))


@pytest.mark.parametrize(
    ("score", "p"), [(-9.0, 0.1), (-1.0, 0.1), (-0.5, 0.2), (0.0, 0.3), (1.0, 0.6), (2.0, 0.9), (9.0, 0.9)]
)
def test_isotonic_calibration_is_linear_between_knots_and_flat_outside(score, p):
    assert calibrate_kernel(trading_rules(changed(calibration=KNOTS), BTC), score) == pytest.approx(p)


@given(st.floats(-50.0, 50.0), st.sampled_from([KNOTS, Platt(0.7, -0.2), Platt(-3.0, 1.0)]))
def test_calibration_agrees_with_the_genome_room(score, calibration):
    rules = trading_rules(changed(calibration=calibration), BTC)
    assert calibrate_kernel(rules, score) == pytest.approx(
        calibrated_probability(calibration, score), rel=1e-14
    )


@dataclass
class Loose:
    """A genome by shape alone, with no check of its own."""

    id: str = "abc"
    entry_threshold: float = 0.5
    bracket: object = field(default_factory=lambda: GENOME.bracket)
    calibration: object = field(default_factory=Platt)
    sizing: object = field(default_factory=Sizing)


@dataclass
class Knots:
    scores: tuple
    probabilities: tuple


@pytest.mark.parametrize(
    ("genome", "says"),
    [
        (replace(Loose(), entry_threshold=math.nan), "entry_threshold"),
        (replace(Loose(), bracket=Bracket(stop=BpsStop(-1.0), max_hold_s=1.0)), "bracket.stop.value"),
        (replace(Loose(), bracket=Bracket(stop=BpsStop(1.0), max_hold_s=0.0)), "bracket.max_hold_s"),
        (
            replace(Loose(), bracket=Bracket(stop=VolatilityStop(1.0, 0), max_hold_s=1.0)),
            "bracket.stop.window",
        ),
        (replace(Loose(), sizing=Sizing(kelly_fraction=2.0)), "sizing.kelly_fraction"),
        (replace(Loose(), sizing=Sizing(lo=0.5, hi=0.1)), "sizing.hi"),
        (replace(Loose(), sizing=Sizing(min_qty=2.0, max_qty=1.0)), "sizing.max_qty"),
        (replace(Loose(), calibration=Knots((), ())), "1 to 32 knots"),
        (replace(Loose(), calibration=Knots((1.0, 1.0), (0.1, 0.2))), "rise strictly"),
        (replace(Loose(), calibration=Knots((1.0, 2.0), (0.1, 1.2))), "probabilities"),
    ],
)
def test_a_rule_outside_its_range_names_genome_and_field(genome, says):
    with pytest.raises(ValueError, match=f"genome abc: .*{says}"):
        trading_rules(genome, BTC)


def test_many_rules_are_the_single_ones():
    other = changed(entry_threshold=0.7, calibration=KNOTS)
    rules = rules_array([GENOME, other], BTC)
    assert rules[1].tobytes() == trading_rules(other, BTC).tobytes()


def test_a_record_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="trading_rules"):
        decide(np.zeros(1)[0], **ROW)
    with pytest.raises(ValueError, match=r"shape \(4, K\)"):
        decide(trading_rules(GENOME, BTC), **ROW, book=np.zeros((2, 5)))
