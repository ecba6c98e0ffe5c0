"""The simulation behind the Watchtower's thresholds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from apex_nautilus.stats import (
    BRACKETS,
    SHAPES,
    ErrorRow,
    ErrorSettings,
    choose_decay_threshold,
    error_table,
    moments,
    probabilistic_sharpe_ratio,
    simulated_trades,
)
from apex_nautilus.stats.watchtower_errors import windowed_moments, windowed_psr

SMALL = ErrorSettings(agents=1500, sharpes=(-0.1, 0.0, 0.1, 0.3), trials=(30,))


@pytest.fixture(scope="module")
def rows():
    return error_table(np.random.default_rng(1), SMALL)


def hit(rows, shape, sharpe, rule, threshold, within=300, trials=0):
    (row,) = [
        r
        for r in rows
        if (r.shape, r.sharpe, r.rule, r.threshold, r.trials) == (shape, sharpe, rule, threshold, trials)
    ]
    return row.hit[row.within.index(within)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sharpe", [-0.2, 0.0, 0.1, 0.3])
def test_simulated_trades_have_the_ratio_that_was_asked_for(shape, sharpe):
    trades = simulated_trades(np.random.default_rng(2), shape, sharpe, 2000, 200)
    # Streaks of copula correlation 0.2 widen the error of a mean of 400,000 by at most sqrt(1.2 / 0.8).
    assert trades.mean() / trades.std() == pytest.approx(sharpe, abs=4 * 1.23 / math.sqrt(trades.size))


def test_brackets_win_three_or_lose_one_and_are_skewed():
    trades = simulated_trades(np.random.default_rng(3), "bracket", 0.0, 500, 500)
    assert set(np.unique(trades)) == {-1.0, 3.0}
    assert (trades > 0).mean() == pytest.approx(0.25, abs=0.005)
    assert moments(trades.ravel()).skew == pytest.approx(2.0 / math.sqrt(3.0), abs=0.03)


def test_streaks_are_streaks_and_leave_each_trade_as_it_was():
    plain, streaky = (
        simulated_trades(np.random.default_rng(4), shape, 0.1, 2000, 200)
        for shape in ("normal", "normal in streaks")
    )
    assert streaky.std() == pytest.approx(plain.std(), rel=0.01)
    neighbours = np.corrcoef(streaky[:, 1:].ravel(), streaky[:, :-1].ravel())[0, 1]
    assert neighbours == pytest.approx(0.2, abs=0.01)


def test_moments_of_a_sliding_window_are_those_of_its_trades():
    trades = simulated_trades(np.random.default_rng(5), "bracket, timed out", 0.1, 3, 60)
    trades[0, :20] = -1.0  # a window of equal results has no ratio
    sliding = windowed_moments(trades, 10, 25)
    psr = windowed_psr(sliding, 0.05)
    for agent in range(3):
        for place, end in enumerate(range(10, 61)):
            slow = moments(trades[agent, max(0, end - 25) : end])
            assert sliding[3][place] == slow.n
            ours = [float(m[agent, place]) for m in sliding[:3]]
            assert ours == pytest.approx([slow.sharpe, slow.skew, slow.kurtosis], rel=1e-8, abs=1e-9)
            expected = probabilistic_sharpe_ratio(
                slow.sharpe, slow.n, benchmark=0.05, skew=slow.skew, kurtosis=slow.kurtosis
            )
            assert psr[agent, place] == pytest.approx(expected, abs=1e-9)


def test_the_same_seed_gives_the_same_table():
    small = SMALL._replace(agents=20, trades=100, within=(30, 100))
    first, second, other = (error_table(np.random.default_rng(seed), small) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_demanding_threshold_kills_the_winners_and_the_default_spares_them(rows):
    for shape in BRACKETS:
        assert hit(rows, shape, 0.1, "decay psr", 0.9) > 0.95
        assert hit(rows, shape, 0.3, "decay psr", 0.9, within=50) > 0.3
        assert hit(rows, shape, 0.1, "decay psr", 0.02) < 0.05
        assert hit(rows, shape, -0.1, "decay psr", 0.02, within=500) > 0.7


def test_kills_rise_with_the_threshold_and_with_time_and_fall_with_the_edge(rows):
    of = {(r.shape, r.sharpe, r.threshold): r.hit for r in rows if r.rule == "decay psr"}
    for (shape, sharpe, threshold), hits in of.items():
        assert list(hits) == sorted(hits)
        for tougher in (t for t in SMALL.decay if t > threshold):
            assert of[shape, sharpe, tougher] >= hits
        if sharpe == -0.1:
            assert of[shape, 0.3, threshold][-1] <= hits[-1]


def test_the_promoted_are_seldom_without_an_edge(rows):
    for shape in SHAPES:
        assert hit(rows, shape, 0.0, "promote", 0.99, within=500, trials=30) <= 0.01
    assert hit(rows, "bracket", 0.3, "promote", 0.99, within=500, trials=30) > 0.5


def test_the_default_of_the_limits_is_what_the_table_chooses(rows):
    from apex_nautilus.actors.watchtower import Limits

    assert choose_decay_threshold(rows) == Limits().decay_psr


def test_the_chosen_threshold_is_the_largest_that_keeps_the_promise():
    table = [
        ErrorRow(shape, 0.1, "decay psr", threshold, 0, (300,), (hit,))
        for shape, threshold, hit in (
            ("bracket", 0.01, 0.01),
            ("bracket", 0.05, 0.04),
            ("bracket in streaks", 0.05, 0.06),
            ("normal", 0.01, 0.9),
        )
    ]
    assert choose_decay_threshold(table) == 0.01
    assert choose_decay_threshold(table, tolerance=0.1) == 0.05
    with pytest.raises(ValueError, match="every threshold kills more"):
        choose_decay_threshold(table, tolerance=0.001)
    with pytest.raises(ValueError, match="no row"):
        choose_decay_threshold(table, sharpe=0.2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: simulated_trades(np.random.default_rng(0), "lognormal", 0.0, 1, 1),
        lambda: simulated_trades(np.random.default_rng(0), "bracket", 1.0, 1, 1),
        lambda: error_table(np.random.default_rng(0), SMALL._replace(within=(10,))),
    ],
)
def test_what_cannot_be_simulated_is_refused(call):
    with pytest.raises(ValueError, match=r"shape|sharpe|within"):
        call()


def test_a_shape_does_not_depend_on_which_others_are_asked_for(rows):
    alone = error_table(np.random.default_rng(1), SMALL._replace(shapes=("normal",)))
    assert alone == [row for row in rows if row.shape == "normal"]


def test_the_documented_table_is_what_the_command_prints():
    page = (Path(__file__).parents[2] / "docs" / "watchtower-errors.md").read_text(encoding="utf-8")
    # The first ratios of the first shape; a row does not depend on those after it.
    settings = ErrorSettings(shapes=("bracket",), trials=(), sharpes=ErrorSettings().sharpes[:3])
    for row in error_table(np.random.default_rng(1), settings):
        assert row.rule in ("decay psr", "drawdown")
        (line,) = [
            text
            for text in section(page, row.rule).splitlines()
            if text.startswith(f"| bracket | {row.threshold:g} |")
        ]
        shown = line.split("|")[3 + settings.sharpes.index(row.sharpe)].strip()
        assert shown == f"{100 * row.hit[row.within.index(300)]:.1f}"


def section(page: str, rule: str) -> str:
    start = page.index("**Killed by PSR(0)" if rule == "decay psr" else "**Killed by equity")
    return page[start : page.find("\n**", start + 1)]
