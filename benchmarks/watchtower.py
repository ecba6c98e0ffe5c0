"""What a fill costs the Watchtower, beside reckoning the same numbers anew with numpy and scipy.

Both get the same closed trades of six agents in turn and say, after each, the Sharpe ratio over the last
hundred trades, PSR(0), and DSR against all agents. Then what the arena does with a fill in all, in an engine.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, alternate, peer_version

AGENTS = 6
WINDOW = 100


def _trades(n: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.where(rng.random((n, AGENTS)) < 0.3, 0.03, -0.01)


def _ours(trades: np.ndarray, micros: list[float] | None = None) -> np.ndarray:
    """The sums of ratios; the time of each trade's verdict goes to `micros`."""
    from apex_nautilus.actors.watchtower import Limits, Watchtower

    # A promotion is said once, at the trade that brings it: here nobody is promoted.
    tower = Watchtower(Limits(window=WINDOW, decay_psr=0.0, promotion_dsr=1.0))
    names = [f"a{k}" for k in range(AGENTS)]
    total = np.zeros(3)
    clock = time.perf_counter_ns
    for row in trades.tolist():
        for name, returned in zip(names, row, strict=True):
            start = clock()
            tower.record(name, returned)
            verdict = tower.judge(name, 200.0, 200.0, 50.0)
            if micros is not None:
                micros.append((clock() - start) / 1e3)
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


def _row(name: str, ours: float, peer: str, theirs: float | None, work: str, timed: np.ndarray) -> Row:
    return Row(
        name=name,
        unit="us",
        ours=ours,
        peer=peer,
        theirs=theirs,
        ratio=None if theirs is None else theirs / ours,
        goal="",
        holds=None,
        same_work=work,
        repeats=len(timed),
        spread=float((timed.max() - timed.min()) / np.median(timed)),
    )


def run(quick: bool) -> Iterator[Row]:
    """Yield the cost of a trade's verdict, of a mark between two trades, and of a whole fill in the arena."""
    n, repeats = (120, 5) if quick else (400, 7)
    trades = _trades(n)
    if not np.allclose(_ours(trades), _theirs(trades), rtol=1e-8):
        raise RuntimeError("the Watchtower and scipy find other ratios")
    ours, theirs = alternate(lambda: _ours(trades), lambda: _theirs(trades), repeats=repeats)
    fills = n * AGENTS
    work = f"{fills:,} trades, the same sums of ratios"
    scipy = f"{peer_version('scipy')}, anew each time"
    mean = theirs.median / fills * 1e6
    name = "watchtower: a closed trade to its verdict"
    yield _row(f"{name}, mean", ours.median / fills * 1e6, scipy, mean, work, np.array(ours.seconds))
    rounds = []
    for _ in range(repeats):
        micros: list[float] = []
        _ours(trades, micros)
        rounds.append(np.percentile(micros[AGENTS * 30 :], [50, 99]))
    for q, timed in zip((50, 99), np.array(rounds).T, strict=True):
        yield _row(f"{name}, p{q}", float(np.median(timed)), f"{scipy} (mean)", mean, work, timed)
    yield from _marks(trades[:, 0], 2_000 if quick else 20_000, repeats)
    yield from _fills(1 if quick else 3)


def _marks(history: np.ndarray, marks: int, repeats: int) -> Iterator[Row]:
    from apex_nautilus.actors.watchtower import Limits, Vitals, Watchtower, judge

    # A promotion is said once, at the trade that brings it: here nobody is promoted.
    tower = Watchtower(Limits(window=WINDOW, decay_psr=0.0, promotion_dsr=1.0))
    for returned in history.tolist():
        tower.record("a", returned)
    tower.judge("a", 200.0, 200.0, 50.0)
    limits, trials = tower.limits, tower.trials.trials()
    for equity in (200.0, 120.0, 99.0, -1.0):
        once, anew = tower.judge("a", equity, 200.0, 50.0), judge(
            Vitals(equity, 200.0, 50.0, history), limits, trials
        )  # fmt: skip
        if once.kind != anew.kind:
            raise RuntimeError(f"equity {equity}: the Watchtower says {once.kind}, the function {anew.kind}")
    ours, theirs = alternate(
        lambda: [tower.judge("a", 200.0, 200.0, 50.0) for _ in range(marks)],
        lambda: [judge(Vitals(200.0, 200.0, 50.0, history), limits, trials) for _ in range(marks)],
        repeats=repeats,
    )
    name, work = "watchtower: a mark between two trades", f"{marks:,} marks, the same kinds of verdict"
    mine, other = ours.median / marks * 1e6, theirs.median / marks * 1e6
    yield _row(name, mine, "judging the whole window (numpy)", other, work, np.array(ours.seconds))


def _fills(rounds: int) -> Iterator[Row]:
    """What the arena does with a fill: books, ledger, judge; in an engine, on a market made for it.

    Nautilus's own work on the fill, and the strategy's, are not in it.
    """
    from nautilus_trader.model.events import OrderFilled

    from apex_nautilus.actors.arena import ArenaController

    tests = Path(__file__).resolve().parents[1] / "tests"
    sys.path.insert(0, str(tests))
    try:
        from support.arena_case import BTC_ID, arena_config, catalog, genome, path, simulate
    finally:
        sys.path.remove(str(tests))
    micros: list[float] = []

    def stamp(controller: ArenaController) -> None:
        """Put a clock around the controller's handler, before it subscribes it."""
        handler, clock = controller._on_order_event, time.perf_counter_ns

        def timed(event: object) -> None:
            start = clock()
            handler(event)
            if isinstance(event, OrderFilled):
                micros.append((clock() - start) / 1e3)

        controller._on_order_event = timed

    found = []
    for _ in range(rounds + 1):  # the first is warm-up
        micros.clear()
        with tempfile.TemporaryDirectory() as scratch:
            champions = {f"btc-{k}": genome(side=(-1.0) ** k, stop_bps=30.0 + k, hold_s=1.0) for k in (1, 2)}
            layout = catalog(Path(scratch), champions=champions)
            config = arena_config(layout, dict.fromkeys(champions, BTC_ID), limits={"decay_psr": 0.0})
            simulate(config, {BTC_ID: path(240, wave_bps=2.0)}, before=[stamp]).dispose()
        found.append(np.percentile(micros, [50, 99]))
    work = f"{len(micros):,} fills of two agents, each booked, written to the ledger and judged"
    for q, timed in zip((50, 99), np.array(found[1:]).T, strict=True):
        yield _row(
            f"arena: a fill booked, written and judged, p{q}", float(np.median(timed)), "", None, work, timed
        )
