"""Weights of agents, as functions on numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate

from apex_nautilus.actors import read_result
from apex_nautilus.actors.allocator import (
    ALLOCATION_TOPIC,
    Allocation,
    Allocator,
    AllocatorRules,
    bounds_of,
    hedge_step,
    project,
    risk_parity,
)
from apex_nautilus.store import read_all

NUMBERS = st.integers(1, 30)


def objective(w, old, push, cost):
    return -push @ w + w @ np.log(w / old) + cost * np.abs(w - old).sum()


@pytest.mark.parametrize("seed", range(12))
def test_a_step_is_the_optimum_that_a_general_solver_finds(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    floor, cap, cost = 0.05, 0.40, float(rng.choice([0.0, 0.02, 0.3]))
    old = rng.dirichlet(np.ones(n)) * 0.9 + 0.1 / n
    push = rng.normal(0.0, 0.7, n)
    ours = hedge_step(old, push, rate=1.0, floor=floor, cap=cap, turnover_cost=cost)
    # The kinks of |w - old| become smooth with w = old + up - down, up and down not negative.
    theirs = minimize(
        lambda x: (
            -push @ (old + x[:n] - x[n:])
            + (old + x[:n] - x[n:]) @ np.log(np.maximum(old + x[:n] - x[n:], 1e-12) / old)
            + cost * x.sum()
        ),
        np.concatenate(
            [np.maximum(ours * 0.5 + 0.5 / n - old, 0), np.maximum(old - ours * 0.5 - 0.5 / n, 0)]
        ),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * (2 * n),
        constraints=[
            {"type": "eq", "fun": lambda x: (x[:n] - x[n:]).sum() + old.sum() - 1.0},
            {"type": "ineq", "fun": lambda x: old + x[:n] - x[n:] - floor},
            {"type": "ineq", "fun": lambda x: cap - (old + x[:n] - x[n:])},
        ],
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    found = old + theirs.x[:n] - theirs.x[n:]
    assert objective(ours, old, push, cost) <= objective(found, old, push, cost) + 1e-8
    assert ours == pytest.approx(found, abs=2e-4)


@pytest.mark.parametrize("seed", range(8))
def test_the_projection_is_the_nearest_in_relative_entropy(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 12))
    given_weights = rng.pareto(1.0, n) + 0.01
    ours = project(given_weights, 0.05, 0.40)
    theirs = minimize(
        lambda w: w @ np.log(w / given_weights),
        np.full(n, 1.0 / n),
        jac=lambda w: np.log(w / given_weights) + 1.0,
        method="SLSQP",
        bounds=[(0.05, 0.40)] * n,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1.0}],
        options={"maxiter": 500, "ftol": 1e-15},
    )
    assert ours == pytest.approx(theirs.x, abs=1e-5)
    free = (ours > 0.05 + 1e-9) & (ours < 0.40 - 1e-9)
    if free.sum() > 1:
        ratios = ours[free] / given_weights[free]
        assert ratios == pytest.approx(ratios[0])


@settings(max_examples=200, deadline=None)
@given(st.data(), NUMBERS, st.floats(0.0, 3.0), st.floats(0.0, 1.0))
def test_weights_sum_to_one_within_their_bounds(data, n, rate, cost):
    floor, cap = bounds_of(n, 0.05, 0.40)
    old = data.draw(st.lists(st.floats(1e-9, 1.0), min_size=n, max_size=n))
    gains = data.draw(st.lists(st.floats(-1.0, 1.0), min_size=n, max_size=n))
    new = hedge_step(old, gains, rate=rate, floor=floor, cap=cap, turnover_cost=cost)
    assert new.sum() == pytest.approx(1.0, abs=1e-12)
    assert new.min() >= floor - 1e-15
    assert new.max() <= cap + 1e-15


@given(NUMBERS)
def test_bounds_are_the_rules_wherever_they_can_be_kept(n):
    floor, cap = bounds_of(n, 0.05, 0.40)
    assert n * floor <= 1.0 <= n * cap
    assert floor == 0.05 or n > 20
    assert cap == 0.40 or n < 3
    assert n == 1 or n == 20 or floor < 1.0 / n < cap


@pytest.mark.parametrize("kind", ["alternating", "one falls", "best is switched", "random", "spiteful"])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_regret_is_bounded_against_the_best_constant_weights(kind, rate):
    n, steps, floor, cap = 6, 400, 0.05, 0.40
    rng = np.random.default_rng(5)
    weights = np.full(n, 1.0 / n)
    earned, total = 0.0, np.zeros(n)
    for t in range(steps):
        if kind == "alternating":
            gains = np.where((np.arange(n) + t) % 2 == 0, 1.0, -1.0)
        elif kind == "one falls":
            gains = np.where(np.arange(n) == 0, -1.0, 1.0)
        elif kind == "best is switched":
            gains = np.where(np.arange(n) == (t // 100) % n, 1.0, -0.2)
        elif kind == "random":
            gains = rng.uniform(-1.0, 1.0, n)
        else:  # whoever has most loses
            gains = np.where(np.arange(n) == int(np.argmax(weights)), -1.0, 1.0)
        earned += float(weights @ gains)
        total += gains
        weights = hedge_step(weights, gains, rate=rate, floor=floor, cap=cap)
    best = -linprog(-total, A_eq=np.ones((1, n)), b_eq=[1.0], bounds=[(floor, cap)] * n).fun
    assert best - earned <= math.log(n) / rate + rate * steps / 2


def test_a_step_by_hand():
    """exp(rate gain) and nothing else; less the cost; and what a cap takes away goes to the others."""
    half, third = [0.5, 0.5], [1 / 3] * 3
    free = hedge_step(half, [1.0, -1.0], rate=0.1, floor=0.0, cap=1.0)
    assert free == pytest.approx([0.549834, 0.450166], abs=1e-6)  # 1 / (1 + exp(-0.2))
    paid = hedge_step(half, [1.0, -1.0], rate=0.1, floor=0.0, cap=1.0, turnover_cost=0.02)
    assert paid == pytest.approx([0.539915, 0.460085], abs=1e-6)  # 1 / (1 + exp(-0.16))
    capped = hedge_step(third, [1.0, 0.0, 0.0], rate=2.0, floor=0.05, cap=0.4)
    assert capped == pytest.approx([0.4, 0.3, 0.3], abs=1e-9)  # 0.787 without the cap
    # Growth of 1 % in one mark is one deviation, a third of the clip; its twin that lost 1 % the reverse.
    rules = AllocatorRules(rate=0.3, floor=0.0, cap=1.0, turnover_cost=0.0)
    allocation = Allocator(rules).step({"a": [0.01], "b": [-0.01]})
    assert allocation.gains == pytest.approx((1 / 3, -1 / 3))
    assert allocation.weights == pytest.approx((0.549834, 0.450166), abs=1e-6)
    assert allocation.multipliers == pytest.approx((1.099668, 0.900332), abs=1e-6)
    assert allocation.turnover == pytest.approx(0.099668, abs=1e-6)


def test_what_would_not_pay_for_its_turnover_does_not_move():
    old = [0.2, 0.3, 0.5]
    small = [0.01, -0.01, 0.0]
    kept = hedge_step(old, small, rate=1.0, floor=0.0, cap=1.0, turnover_cost=0.05)
    assert kept == pytest.approx(old, abs=1e-14)
    costly = hedge_step(old, [1.0, -1.0, 0.0], rate=1.0, floor=0.0, cap=1.0, turnover_cost=0.3)
    free = hedge_step(old, [1.0, -1.0, 0.0], rate=1.0, floor=0.0, cap=1.0)
    assert 0 < np.abs(costly - old).sum() < np.abs(free - old).sum()


def test_weights_follow_who_earns_and_their_multipliers_have_mean_one():
    allocator = Allocator(AllocatorRules(rate=0.2))
    rng = np.random.default_rng(1)
    for _ in range(200):
        allocation = allocator.step(
            {name: rng.normal(drift, 1e-4, 60) for name, drift in (("a", 4e-5), ("b", 0.0), ("c", -4e-5))}
        )
    assert allocation.weights == pytest.approx((0.40, 0.40, 0.20), abs=0.05)
    assert sum(allocation.multipliers) == pytest.approx(3.0)
    assert allocation.multiplier_of("a") == pytest.approx(3 * allocation.weights[0])
    assert allocation.multiplier_of("stranger") == 1.0


def test_a_gain_does_not_depend_on_how_large_an_agent_bets():
    changes = np.random.default_rng(2).normal(1e-5, 1e-4, (50, 60))
    allocator = Allocator(AllocatorRules())
    for row in changes:
        allocation = allocator.step({"small": row, "large": 7.0 * row, "other": -row})
    assert allocation.gains[0] == pytest.approx(allocation.gains[1])
    assert allocation.weights[0] == pytest.approx(allocation.weights[1])


def flat(*names):
    return {name: np.zeros(60) for name in names}


def test_a_birth_leaves_the_multipliers_of_the_others_and_a_death_their_ratios():
    allocator = Allocator(AllocatorRules(rate=0.5))
    rng = np.random.default_rng(3)
    names = ("a", "b", "c", "d")
    for _ in range(8):
        before = allocator.step({name: rng.normal(k * 2e-6, 1e-4, 60) for k, name in enumerate(names)})
    born = allocator.step(flat(*names, "e"))
    assert born.multiplier_of("e") == pytest.approx(1.0)
    for name in names:
        assert born.multiplier_of(name) == pytest.approx(before.multiplier_of(name))
    died = allocator.step(flat("a", "b", "d", "e"))
    for name in ("b", "d", "e"):
        ratio = died.multiplier_of(name) / died.multiplier_of("a")
        assert ratio == pytest.approx(born.multiplier_of(name) / born.multiplier_of("a"))
    assert sum(died.weights) == pytest.approx(1.0)


def test_one_agent_has_all_and_two_keep_some_freedom():
    allocator = Allocator(AllocatorRules(rate=5.0))
    assert allocator.step({"a": [0.001]}).multipliers == (1.0,)
    for _ in range(20):
        two = allocator.step({"a": [0.001, 0.001], "b": [-0.001, -0.001]})
    assert two.weights == pytest.approx((0.75, 0.25))


def test_risk_parity_gives_the_calm_more():
    weights = risk_parity([0.01, 0.02, 0.04, math.nan], 0.05, 0.40)
    assert weights[0] == pytest.approx(2 * weights[1]) or weights[0] == pytest.approx(0.40)
    assert weights[1] == pytest.approx(2 * weights[2])
    assert weights[3] == pytest.approx(weights[1])
    blended = Allocator(AllocatorRules(rate=0.0, risk_parity=1.0))
    rng = np.random.default_rng(4)
    allocation = blended.step(
        {n: rng.normal(0, s, 600) for n, s in (("calm", 1e-4), ("mid", 2e-4), ("wild", 4e-4))}
    )
    assert allocation.weights[0] > allocation.weights[1] > allocation.weights[2]
    assert sum(allocation.weights) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"every_s": 0.0},
        {"rate": -1.0},
        {"rate": math.nan},
        {"floor": 0.5},
        {"cap": 1.5},
        {"turnover_cost": -0.1},
        {"clip": 0.0},
        {"memory": 1.0},
        {"risk_parity": 1.1},
    ],
)
def test_impossible_rules_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AllocatorRules(**wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: hedge_step([1.0], [1.0, 2.0], rate=1.0, floor=0.0, cap=1.0),
        lambda: hedge_step([0.0, 1.0], [1.0, 2.0], rate=1.0, floor=0.0, cap=1.0),
        lambda: hedge_step([0.5, 0.5], [math.nan, 2.0], rate=1.0, floor=0.0, cap=1.0),
        lambda: hedge_step([0.5, 0.5], [0.0, 0.0], rate=1.0, floor=0.0, cap=0.4),
        lambda: bounds_of(0, 0.05, 0.4),
        lambda: Allocator(AllocatorRules()).step({}),
        lambda: Allocator(AllocatorRules()).step({"a": [math.inf]}),
        lambda: Allocator(AllocatorRules()).census(["a", "a"]),
    ],
)
def test_what_cannot_be_shared_out_is_refused(call):
    with pytest.raises(ValueError, match=r"hedge|allocator"):
        call()


def test_weights_change_sizes_in_a_backtest_and_are_published_and_written(tmp_path):
    """The winner and the loser of a rising market; the same run without an allocator is the measure."""
    wide = {"p": 0.35, "stop_bps": 60.0}  # far from the leverage cap, which comes after the weights
    champions = {"btc-1": genome(side=1.0, **wide), "btc-2": genome(side=-1.0, **wide)}
    slots = dict.fromkeys(champions, BTC_ID)
    heard: list[Allocation] = []
    runs = {}
    for name, rules in (("flat", None), ("moved", {"every_s": 10.0, "rate": 3.0})):
        layout = catalog(tmp_path / name, champions=champions)
        config = arena_config(layout, slots, limits={"decay_psr": 0.0}, allocator=rules)
        engine = simulate(
            config,
            {BTC_ID: path(60, bps_per_s=1.0, noise_bps=1.0)},
            before=[lambda arena: arena.msgbus.subscribe(topic=ALLOCATION_TOPIC, handler=heard.append)],
        )
        runs[name] = (
            read_result(layout.root).agents,
            [line.fields for line in read_all(layout.ledger, kinds=("allocation",))],
        )
        engine.dispose()
    (flat_agents, nothing), (agents, lines) = runs["flat"], runs["moved"]
    assert nothing == []
    assert len(lines) == len(heard) == 5
    for line, allocation in zip(lines, heard, strict=True):
        assert tuple(line["weights"]) == allocation.weights
        assert line["agents"] == ["btc-1.e1", "btc-2.e1"]
        assert sum(line["weights"]) == pytest.approx(1.0)
        assert sum(line["multipliers"]) == pytest.approx(2.0)
    won, lost = heard[-1].multipliers
    assert won > 1.2 > 0.8 > lost

    def share(fill):  # of the cash that was there: what sizing decides
        return abs(fill.qty) / fill.cash

    for name, grew in (("btc-1.e1", True), ("btc-2.e1", False)):
        before, after = flat_agents[name].fills, agents[name].fills
        assert share(after[0]) == pytest.approx(share(before[0]))  # the same until weights have moved
        assert (share(after[-1]) > 1.1 * share(before[-1])) == grew
        assert (share(after[-1]) < 0.9 * share(before[-1])) != grew


def test_challengers_bet_on_the_terms_of_the_champion_they_are_paired_with(tmp_path):
    champions = {"btc-1": genome(side=1.0), "btc-2": genome(side=-1.0, stop_bps=11.0)}
    wanting = genome(side=1.0, stop_bps=12.0, slot="btc-2")
    free = genome(side=1.0, stop_bps=13.0)
    layout = catalog(tmp_path, champions=champions, incoming=[wanting, free])
    config = arena_config(
        layout,
        dict.fromkeys(champions, BTC_ID),
        limits={"decay_psr": 0.0},
        contest={"min_trades": 10_000},
        allocator={"every_s": 10.0, "rate": 3.0},
    )
    engine = simulate(config, {BTC_ID: path(45, bps_per_s=1.0, noise_bps=1.0)})
    by_tag = {s.genome_id: s for s in engine.trader.strategies()}
    one, two = (by_tag[g.id].multiplier for g in champions.values())
    assert one > 1.2 > two
    assert by_tag[wanting.id].multiplier == two
    assert by_tag[free.id].multiplier == pytest.approx((one + two) / 2)
    posed = by_tag[free.id]
    posed.set_posture(0.5)
    assert posed.multiplier == 0.5 * posed.allocation
    with pytest.raises(ValueError, match="multiplier"):
        posed.set_posture(-1.0)
    engine.dispose()
