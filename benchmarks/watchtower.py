"""What a fill costs the Watchtower, beside reckoning the same numbers anew with numpy and scipy.

Both get the same closed trades of six agents in turn and say, after each, the Sharpe ratio over the last
hundred trades, PSR(0), and DSR against all agents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import Row, alternate, peer_version

AGENTS = 6
WINDOW = 100


def _trades(n: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.where(rng.random((n, AGENTS)) < 0.3, 0.03, -0.01)


def _ours(trades: np.ndarray) -> np.ndarray:
    from apex_nautilus.actors.watchtower import Limits, Watchtower

    tower = Watchtower(Limits(window=WINDOW, decay_psr=0.0))
    names = [f"a{k}" for k in range(AGENTS)]
    total = np.zeros(3)
    for row in trades.tolist():
        for name, returned in zip(names, row, strict=True):
            tower.record(name, returned)
            verdict = tower.judge(name, 200.0, 200.0, 50.0)
            if verdict.judged:
                total += (verdict.sharpe, verdict.psr, verdict.dsr)
    return total


def _theirs(trades: np.ndarray) -> np.ndarray:
    from scipy.stats import kurtosis, norm, skew

    ratios = {}
    total = np.zeros(3)
    for n in range(1, len(trades) + 1):
        for agent in range(AGENTS):
            window = trades[max(0, n - WINDOW) : n, agent]
            ratios[agent] = window.mean() / window.std() if n >= 30 and window.std() > 0 else 0.0
            if n < 30:
                continue
            ratio, count = ratios[agent], len(window)
            g3, g4 = skew(window), kurtosis(window, fisher=False)
            trials = np.array(list(ratios.values()))
            variance = trials.var(ddof=1) if len(trials) > 1 else 0.0
            luck = 0.0
            if len(trials) > 1:
                g = np.euler_gamma
                high, next_ = norm.ppf(1 - 1 / len(trials)), norm.ppf(1 - 1 / (len(trials) * math.e))
                luck = math.sqrt(variance) * ((1 - g) * high + g * next_)
            root = math.sqrt((1 - g3 * ratio + (g4 - 1) / 4 * ratio**2) / (count - 1))
            total += (ratio, norm.cdf(ratio / root), norm.cdf((ratio - luck) / root))
    return total


def run(quick: bool) -> Iterator[Row]:
    """Yield the cost of a fill that closes a trade, and of a mark between two trades."""
    n, repeats = (120, 5) if quick else (400, 7)
    trades = _trades(n)
    equal = np.allclose(_ours(trades), _theirs(trades), rtol=1e-8)
    ours, theirs = alternate(lambda: _ours(trades), lambda: _theirs(trades), repeats=repeats)
    fills = n * AGENTS
    yield Row(
        name="watchtower: a closed trade to its verdict",
        unit="us",
        ours=ours.median / fills * 1e6,
        peer=f"{peer_version('scipy')}, anew each time",
        theirs=theirs.median / fills * 1e6,
        ratio=theirs.median / ours.median,
        goal="",
        holds=None,
        same_work=f"{fills:,} trades, {'same sums of ratios' if equal else 'SUMS DIFFER'}",
        repeats=repeats,
        spread=ours.spread,
    )

    from apex_nautilus.actors.watchtower import Limits, Vitals, Watchtower, judge

    tower = Watchtower(Limits(window=WINDOW, decay_psr=0.0))
    for returned in trades[:, 0].tolist():
        tower.record("a", returned)
    tower.judge("a", 200.0, 200.0, 50.0)
    marks = 2_000 if quick else 20_000
    history, limits, trials = trades[:, 0], tower.limits, tower.trials.trials()
    ours, theirs = alternate(
        lambda: [tower.judge("a", 200.0, 200.0, 50.0) for _ in range(marks)],
        lambda: [judge(Vitals(200.0, 200.0, 50.0, history), limits, trials) for _ in range(marks)],
        repeats=repeats,
    )
    yield Row(
        name="watchtower: a mark between two trades",
        unit="us",
        ours=ours.median / marks * 1e6,
        peer="judging the whole window (numpy)",
        theirs=theirs.median / marks * 1e6,
        ratio=theirs.median / ours.median,
        goal="",
        holds=None,
        same_work=f"{marks:,} marks, the same verdict",
        repeats=repeats,
        spread=ours.spread,
    )
