"""Who contests whom, and when a challenger has won."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apex_nautilus.actors.contest import (
    Champion,
    Contender,
    ContestRules,
    choose_for_empty_slot,
    choose_opponent,
    decide_contest,
)

RULES = ContestRules(confidence=0.95, min_trades=5, idle_expiry_s=600.0)


def equities(rng, drift, n=400):
    return 200.0 + np.cumsum(drift + rng.standard_normal(n))


def test_a_better_challenger_swaps_once_it_has_traded_enough():
    rng = np.random.default_rng(1)
    better, worse = equities(rng, 0.3), equities(rng, -0.3)
    assert decide_contest(better, worse, trades=5, idle_s=0.0, rules=RULES).action == "swap"
    early = decide_contest(better, worse, trades=4, idle_s=0.0, rules=RULES)
    assert (early.action, early.probability > 0.95) == ("wait", True)
    assert decide_contest(worse, better, trades=50, idle_s=0.0, rules=RULES).action == "keep"


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_a_tie_keeps_the_champion(confidence):
    rules = ContestRules(confidence=confidence, min_trades=1)
    same = equities(np.random.default_rng(2), 0.1)
    assert decide_contest(same, same, trades=99, idle_s=0.0, rules=rules).action == "keep"
    assert decide_contest([200.0], [200.0], trades=99, idle_s=0.0, rules=rules).action == "keep"


def test_only_the_paired_difference_counts():
    """Both lose to the same falling market; the challenger loses a little less at every mark."""
    rng = np.random.default_rng(3)
    market = 200.0 + np.cumsum(-0.2 + 5.0 * rng.standard_normal(400))
    edge = np.cumsum(0.02 + 0.05 * rng.standard_normal(400))
    outcome = decide_contest(market + edge, market, trades=9, idle_s=0.0, rules=RULES)
    assert outcome.action == "swap"


def test_equal_skill_is_swapped_about_as_often_as_the_confidence_says():
    rng = np.random.default_rng(4)
    swaps = sum(
        decide_contest(
            equities(rng, 0.0, 200), equities(rng, 0.0, 200), trades=9, idle_s=0.0, rules=RULES
        ).action
        == "swap"
        for _ in range(400)
    )
    assert 5 <= swaps <= 40  # 5 % of 400 is 20; three standard deviations are 13


def test_an_idle_challenger_expires_however_good_it_looks():
    rng = np.random.default_rng(5)
    outcome = decide_contest(equities(rng, 1.0), equities(rng, -1.0), trades=9, idle_s=600.0, rules=RULES)
    assert outcome.action == "expire"
    never = ContestRules(idle_expiry_s=0.0)
    assert decide_contest([200.0], [200.0], trades=0, idle_s=1e9, rules=never).action == "wait"


@pytest.mark.parametrize(
    ("instrument", "wanted", "slot"),
    [("BTC", "", "b2"), ("BTC", "b1", "b1"), ("BTC", "e1", "b2"), ("BTC", "gone", "b2"), ("SOL", "", None)],
)
def test_the_named_slot_is_contested_else_the_weakest_of_the_instrument(instrument, wanted, slot):
    champions = [Champion("b1", "BTC", 5.0), Champion("b2", "BTC", -5.0), Champion("e1", "ETH", -50.0)]
    assert choose_opponent(instrument, wanted, champions) == slot


def contender(genome_id, **changes):
    fields = {
        "genome_id": genome_id,
        "instrument_id": "BTC",
        "wanted_slot": "",
        "passed": False,
        "dsr": math.nan,
        "growth": 0.0,
        "shadow_s": 100.0,
    }
    return Contender(**{**fields, **changes})


@pytest.mark.parametrize(
    ("contenders", "winner"),
    [
        ([], None),
        ([contender("a", shadow_s=59.0)], None),
        ([contender("a", instrument_id="ETH")], None),
        ([contender("a", wanted_slot="b2")], None),
        ([contender("b"), contender("a")], "a"),
        ([contender("a"), contender("b", growth=1.0)], "b"),
        ([contender("a", growth=1.0), contender("b", dsr=0.1)], "b"),
        ([contender("a", dsr=0.9), contender("b", dsr=0.95)], "b"),
        ([contender("a", dsr=0.99), contender("b", passed=True)], "b"),
        ([contender("a", passed=True), contender("b", wanted_slot="b1")], "b"),
    ],
)
def test_an_empty_slot_takes_the_best_that_is_old_enough(contenders, winner):
    best = choose_for_empty_slot("b1", "BTC", contenders, ContestRules(min_shadow_s=60.0))
    assert (best.genome_id if best else None) == winner


def test_unequal_marks_and_impossible_rules_are_refused():
    with pytest.raises(ValueError, match="same marks"):
        decide_contest([1.0, 2.0], [1.0], trades=1, idle_s=0.0, rules=RULES)
    for wrong in ({"confidence": 1.0}, {"confidence": 0.4}, {"min_trades": 0}, {"every_s": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ContestRules(**wrong)
