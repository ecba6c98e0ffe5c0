"""Shrinking Kelly's fraction by what is not known of the edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.genome import BpsStop, Bracket, Constant, Genome, Node, Platt, Sizing
from apex_nautilus.risk import NO_EDGE, Certainty, InstrumentSpec, decide, trading_rules, uncertainty_shrink

BTC = InstrumentSpec(
    id="BTCUSDT-LINEAR.SIM", base="BTC", quote="USDT", price_precision=1, size_precision=6, tick=0.1,
    lot=1e-6, min_qty=1e-6, max_qty=1e6, maker_fee=0.0, taker_fee=0.0,
)  # fmt: skip


def order(certainty=None, **sizing):
    genome = Genome(
        instrument_id=BTC.id,
        clock="1s",
        signal=Node(Constant(1.0)),
        confidence=Node(Constant(0.0)),
        calibration=Platt(0.0, math.log(0.4 / 0.6)),
        bracket=Bracket(stop=BpsStop(value=200.0), max_hold_s=60.0),
        sizing=Sizing(**sizing),
    )
    rules = (
        trading_rules(genome, BTC) if certainty is None else trading_rules(genome, BTC, certainty=certainty)
    )
    return decide(rules, signal=1.0, score=0.0, size_output=0.0, bid=50_000.0, ask=50_000.1, equity=200.0)


def test_evidence_alone_gives_the_formula():
    assert Certainty(0.1, 100).value == pytest.approx(0.5)
    assert Certainty(0.3, 50).value == pytest.approx(uncertainty_shrink(0.3, 50))
    assert Certainty().value == 0.0
    assert Certainty(-0.3, 1000).value == 0.0  # a sure loser is no reason to bet


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-0.5, 0.5),
    st.integers(0, 500),
    st.lists(st.floats(-0.1, 0.3).map(lambda x: round(x, 4)), max_size=60),
)
def test_own_trades_join_the_evidence_by_their_number(sharpe, trades, returns):
    certainty = Certainty(sharpe, trades)
    for returned in returns:
        certainty.add(returned)
    spread = float(np.std(returns)) if len(set(returns)) > 1 else 0.0
    own = float(np.mean(returns)) / spread if spread else 0.0
    total = trades + len(returns)
    pooled = (trades * sharpe + len(returns) * own) / total if total else 0.0
    assert certainty.n_observations == total
    assert certainty.sharpe == pytest.approx(pooled, rel=1e-6, abs=1e-9)
    expected = uncertainty_shrink(pooled, total) if pooled > 0.0 else 0.0
    assert certainty.value == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert 0.0 <= certainty.value < 1.0


def test_the_same_edge_is_bet_more_the_longer_it_lasts():
    certainty, values = Certainty(), []
    for k in range(400):
        certainty.add(0.03 if k % 10 < 4 else -0.01)
        values.append(certainty.value)
    assert values[399] > values[99] > values[39]
    assert values[399] == pytest.approx(uncertainty_shrink(certainty.sharpe, 400))


@pytest.mark.parametrize("sizing", [{}, {"stake": "notional"}, {"mode": "evolved", "lo": 0.2, "hi": 0.6}])
def test_the_kernel_shrinks_the_fraction_in_every_mode(sizing):
    whole, half = order(**sizing), order(0.5, **sizing)
    assert order(1.0, **sizing) == whole
    assert half.fraction == pytest.approx(whole.fraction / 2)
    assert half.quantity == pytest.approx(whole.quantity / 2, abs=1e-6)
    assert half[2:5] == whole[2:5]
    assert order(0.0, **sizing).reason == NO_EDGE


@pytest.mark.parametrize(
    "call",
    [
        lambda: order(1.5),
        lambda: order(math.nan),
        lambda: Certainty(math.nan, 3),
        lambda: Certainty(0.1, -1),
        lambda: Certainty().add(math.inf),
    ],
)
def test_what_is_no_certainty_is_refused(call):
    with pytest.raises(ValueError, match="certainty"):
        call()


def test_on_spot_nothing_is_bought_that_equity_does_not_pay_for_with_its_fee():
    genome = Genome(
        instrument_id="BTCUSDT.SIM",
        clock="1s",
        signal=Node(Constant(1.0)),
        confidence=Node(Constant(0.0)),
        calibration=Platt(0.0, 3.0),
        bracket=Bracket(stop=BpsStop(value=100.0), max_hold_s=60.0),
        sizing=Sizing(max_leverage=10.0),
    )
    spent = {}
    for kind in ("spot", "linear_perp"):
        spec = InstrumentSpec(
            id="BTCUSDT.SIM", base="BTC", quote="USDT", price_precision=1, size_precision=6, tick=0.1,
            lot=1e-6, min_qty=1e-6, max_qty=1e6, maker_fee=0.001, taker_fee=0.001, kind=kind,
        )  # fmt: skip
        rules = trading_rules(genome, spec)
        found = decide(rules, signal=1.0, score=0.0, bid=50_000.0, ask=50_000.1, equity=200.0)
        spent[kind] = found.quantity * 50_000.1 * 1.001
    assert 199.0 < spent["spot"] <= 200.0
    assert spent["linear_perp"] > 1000.0
