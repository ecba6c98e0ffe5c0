"""The replay against vectorbt on the same trades, and against Nautilus's BacktestNode on the same rows.

vectorbt: entries where two moving averages cross, with a stop and a take-profit, 500,000 bars. The crossings
are computed beforehand for both, and the replay's market is made beforehand, as the Forge makes it once for
thousands of genomes; what making it takes is told in the row. Same trades: bars and prices of entries and
exits, in every column. Rows: sixteen strategies (windows, stops, take-profits) on the one market, as the
Forge replays a population and as vectorbt runs columns, both in one call; one strategy alone (50 over 200, a
stop at 1 %, a take-profit at 3 %); and that one against the portfolio's orders without any figure. In the
first two the portfolio yields the four figures that the replay's result has as well (return, drawdown, number
of trades, win rate). The replay always yields all of its result (also Sharpe ratio, skewness, kurtosis,
costs, fitness); its drawdown is taken after each trade and at 64 marks, vectorbt's at every bar.

Nautilus: one genome of 15 nodes on the book-clock rows of a simulated market. The replay gets the rows many
times end to end, since one pass is over before a clock can tell. Same trades: times and ways out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from apex_nautilus.forge.replay import (
    EXIT_END,
    EXIT_KINDS,
    MarketArrays,
    bar_market,
    book_market,
    replay,
    replay_trades,
)
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Genome,
    Platt,
    ProgramBatch,
    Sizing,
    call,
    compile_genome,
    compile_trees,
    constant,
    encode,
    feature,
    pack,
    sealed,
)
from apex_nautilus.risk import InstrumentSpec, rules_array
from benchmarks.harness import MissingPeer, Row, alternate, compare, missing_row, peer_version, require_peer

MINUTE_NS = 60_000_000_000
SMA_NAME = "replay: SMA cross with stop and take-profit, one core"
MANY_NAME = "replay: 16 SMA crosses on one market, one core"
ORDERS_NAME = "replay: the same, the peer without its summary figures"
SPEED_NAME = "replay: one genome of 15 nodes, one core"


class _Cross(NamedTuple):
    """One strategy: windows of the averages, stop as a part of the entry price, take-profit in stops."""

    fast: int
    slow: int
    stop: float
    reward_risk: float


ONE = [_Cross(50, 200, 0.01, 3.0)]
MANY = [_Cross(*choice) for choice in product((20, 50), (100, 200), (0.01, 0.02), (2.0, 3.0))]


class _Case(NamedTuple):
    """`signals` is (bars, strategies); the rest is what the replay takes."""

    crosses: list[_Cross]
    bars: dict[str, np.ndarray]
    signals: np.ndarray
    market: MarketArrays
    programs: ProgramBatch
    rules: np.ndarray


def _walk(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    close = 100.0 * np.exp(np.cumsum(rng.standard_normal(n) * 0.001))
    # Each bar opens where the last one closed: a bracket anchored at the decision is one anchored at the
    # fill.
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1.0 + rng.exponential(5e-4, n))
    low = np.minimum(opened, close) * (1.0 - rng.exponential(5e-4, n))
    return {"open": opened, "high": high, "low": low, "close": close}


def _crossings(close: np.ndarray, fast: int, slow: int) -> np.ndarray:
    """+1 where the fast average rises above the slow one, -1 where it falls below, else 0."""
    sums = np.concatenate([[0.0], np.cumsum(close)])
    averages = [(sums[slow:] - sums[slow - k : -k]) / k for k in (fast, slow)]
    above = averages[0] > averages[1]
    out = np.zeros(close.size)
    out[slow:] = above[1:].astype(float) - above[:-1].astype(float)
    return out


def _sma_market(bars: dict[str, np.ndarray], signals: np.ndarray) -> MarketArrays:
    n = len(signals)
    return bar_market(
        features=np.column_stack([signals, np.zeros(n)]),
        ts_ns=np.arange(1, n + 1) * MINUTE_NS,
        half_spread=1e-9,
        **bars,
    )


def _sma_case(n: int, crosses: list[_Cross]) -> _Case:
    bars = _walk(np.random.default_rng(0), n)
    count = len(crosses)
    signals = np.column_stack([_crossings(bars["close"], cross.fast, cross.slow) for cross in crosses])
    programs = [compile_trees([feature(g), feature(count)], count + 1) for g in range(count)]
    spec = InstrumentSpec(
        id="X.TEST", base="X", quote="USD", price_precision=9, size_precision=9, tick=1e-9, lot=1e-9
    )
    genomes = [
        Genome(
            instrument_id=spec.id,
            bracket=Bracket(stop=BpsStop(1e4 * cross.stop), max_hold_s=1e9, reward_risk=cross.reward_risk),
            calibration=Platt(1.0, 0.0),
            sizing=Sizing(kelly_fraction=0.01),
        )
        for cross in crosses
    ]
    rules = rules_array(genomes, spec)
    while True:
        market = _sma_market(bars, signals)
        clean = True
        for g, program in enumerate(programs):
            trades = replay_trades(market, program, rules[g])
            # vectorbt sends one order a bar, so it cannot enter at the close of the bar it left in: such
            # crossings are taken from both.
            again = trades["entry_row"][1:][trades["entry_row"][1:] == trades["exit_event"][:-1]]
            signals[again, g] = 0.0
            clean &= again.size == 0
        if clean:
            return _Case(crosses, bars, signals, market, pack(programs), rules)


def _vectorbt(vbt, case: _Case):
    bars, crosses = case.bars, case.crosses
    # Decided at a bar's close, filled at the next bar's open: given as the price of the deciding bar, so that
    # the stops are looked at from the bar of the fill on.
    following = np.concatenate([bars["open"][1:], bars["close"][-1:]])
    stops = np.array([cross.stop for cross in crosses])
    targets = np.array([cross.stop * cross.reward_risk for cross in crosses])
    # Columns share the prices without copies of them, and each has its own stops.
    prices = [following, bars["open"], bars["high"], bars["low"]]
    signals = case.signals
    if len(crosses) == 1:
        signals, stops, targets = signals[:, 0], stops[0], targets[0]
    else:
        prices, stops, targets = [price[:, None] for price in prices], stops[None, :], targets[None, :]
    close, opened, high, low = prices
    return vbt.Portfolio.from_signals(
        close, entries=signals > 0, exits=False, short_entries=signals < 0, short_exits=False,
        open=opened, high=high, low=low, sl_stop=stops, tp_stop=targets,
        stop_entry_price="fillprice", upon_opposite_entry="ignore", size=0.1, init_cash=1e6, fees=0.0,
    )  # fmt: skip


def _vectorbt_summary(vbt, case: _Case) -> tuple:
    """What the replay's result holds as well."""
    portfolio = _vectorbt(vbt, case)
    trades = portfolio.trades
    return portfolio.total_return(), portfolio.max_drawdown(), trades.count(), trades.win_rate()


def _same_trades(vbt, case: _Case) -> str:
    """Say how the trades were compared; raise where they are not the same."""
    records = _vectorbt(vbt, case).trades.records
    records = records[records["status"] == 1]
    count = 0
    for g in range(len(case.crosses)):
        theirs = records[records["col"] == g].sort_values("entry_idx")
        # Alone it trades as in the batch: company does not change a result.
        program = compile_trees([feature(g), feature(len(case.crosses))], len(case.crosses) + 1)
        trades = replay_trades(case.market, program, case.rules[g])
        ours = trades[trades["exit_kind"] != EXIT_END]
        if len(theirs) != len(ours):
            raise AssertionError(
                f"strategy {g}: replay made {len(ours)} trades, vectorbt {len(theirs)}: not the same work"
            )
        same = (
            (theirs["entry_idx"].to_numpy() == ours["entry_row"])
            & (theirs["exit_idx"].to_numpy() == ours["exit_event"])
            & np.isclose(theirs["entry_price"], ours["entry_price"], rtol=1e-7)
            & np.isclose(theirs["exit_price"], ours["exit_price"], rtol=1e-7)
        )
        if not same.all():
            raise AssertionError(
                f"strategy {g}: {(~same).sum()} of {len(ours)} trades differ from vectorbt's: "
                "not the same work"
            )
        count += len(ours)
    return f"{count} trades equal in bars and prices"


def _sma_rows(quick: bool) -> Iterator[Row]:
    n = 100_000 if quick else 500_000
    try:
        vbt = require_peer("vectorbt")
    except MissingPeer as error:
        yield missing_row(MANY_NAME, "bars/s", "vectorbt", ">= 100x", str(error))
        yield missing_row(SMA_NAME, "bars/s", "vectorbt", ">= 100x", str(error))
        yield missing_row(ORDERS_NAME, "bars/s", "vectorbt", "", str(error))
        return
    both = "both yield return, drawdown, trades and win rate"
    for name, crosses, theirs, goal, figures in (
        (MANY_NAME, MANY, _vectorbt_summary, 100.0, f"{both} of each of {len(MANY)} columns"),
        (SMA_NAME, ONE, _vectorbt_summary, 100.0, both),
        (ORDERS_NAME, ONE, _vectorbt, None, "ours yields its figures, the peer its orders alone"),
    ):
        case = _sma_case(n, crosses)
        same = _same_trades(vbt, case)
        (making,) = alternate(partial(_sma_market, case.bars, case.signals))
        yield compare(
            name,
            partial(replay, case.market, case.programs, case.rules, threads=1),
            partial(theirs, vbt, case),
            work=n * len(crosses),
            unit="bars/s",
            peer=peer_version("vectorbt"),
            goal_ratio=goal,
            same_work=f"{same}; {figures}; both are given the signals and take all columns in one call; "
            f"outside the clock, once for all genomes, our market ({1e3 * making.median:.0f} ms)",
        )


#: What the benchmark's genome sees.
FEATURES = ("clv", "imbalance", "microprice_minus_mid_bps", "ofi_5", "pressure", "realised_volatility_10s")


def _genome(instrument_id: str) -> Genome:
    """Signal of 10 nodes, confidence of 5."""
    pull = call("tanh", call("sub", feature(1), call("max", feature(0), feature(4))))
    return sealed(
        Genome(
            instrument_id=instrument_id,
            clock="book",
            features=FEATURES,
            signal=call("add", call("mul", feature(2), constant(0.5)), pull),
            confidence=call("sub", feature(3), call("mul", feature(5), constant(0.3))),
            entry_threshold=0.4,
            calibration=Platt(0.0, 1.0),
            bracket=Bracket(stop=BpsStop(20.0), max_hold_s=10.0, reward_risk=3.0),
            sizing=Sizing(kelly_fraction=0.05),
        )
    )


def _end_to_end(market: MarketArrays, times: int) -> MarketArrays:
    """The market `times` over, each copy a second after the last."""
    span = int(market.ts_ns[-1] - market.ts_ns[0]) + 1_000_000_000
    copies, events = np.arange(times)[:, None], market.ts_ns.size
    return book_market(
        features=np.tile(market.features, (times, 1)),
        row_event=(market.row_event[None, :] + copies * events).ravel(),
        ts_ns=(market.ts_ns[None, :] + copies * span).ravel(),
        bid=np.tile(market.bid, times),
        ask=np.tile(market.ask, times),
        depth=np.tile(market.depth, (times, 1, 1)),
    )


def _nautilus_row(quick: bool) -> Row:
    try:
        require_peer("nautilus_trader")
    except MissingPeer as error:
        return missing_row(SPEED_NAME, "rows/s", "nautilus_trader", ">= 1000x", str(error))
    from apex_nautilus.data import dataset_from_events, write_events
    from apex_nautilus.engine import AgentConfig, BacktestConfig, run_backtest
    from apex_nautilus.forge.replay import dataset_market
    from apex_nautilus.sim import Market, profile

    population = profile("BTCUSDT-LINEAR.SIM")
    spec = population.instrument
    tape = Market(population, seed=11).run((600 if quick else 3600) * 1_000_000_000)
    genome = _genome(spec.id)
    dataset = dataset_from_events(tape.events, spec, "book", FEATURES)
    once = dataset_market(dataset)
    programs, rules = pack([compile_genome(genome)]), rules_array([genome], spec)
    with TemporaryDirectory() as folder:
        write_events(Path(folder) / "catalog", spec, tape.events)
        path = Path(folder) / "genome.json"
        path.write_bytes(encode(genome))
        config = BacktestConfig(
            schema="apex.backtest/1",
            name="benchmark",
            catalog=str(Path(folder) / "catalog"),
            agents=[AgentConfig(slot="a", instrument_id=spec.id, genome=str(path))],
        )
        trades = replay_trades(once, programs, rules)
        trades = trades[trades["exit_kind"] != EXIT_END]
        (agent,) = run_backtest(config, write=False).agents
        theirs = [(t.entry_ts_ns, t.exit_ts_ns, t.exit_kind) for t in agent.trades][: len(trades)]
        ours = [(int(t["entry_ts_ns"]), int(t["exit_ts_ns"]), EXIT_KINDS[t["exit_kind"]]) for t in trades]
        if ours != theirs:
            raise AssertionError("the replay's trades are not Nautilus's: not the same work")
        times = max(1, 2_000_000 // len(dataset))
        long = _end_to_end(once, times)
        return compare(
            SPEED_NAME,
            partial(replay, long, programs, rules, threads=1),
            partial(run_backtest, config, write=False),
            work=len(dataset) * times,
            their_work=len(dataset),
            unit="rows/s",
            peer=peer_version("nautilus_trader"),
            goal_ratio=1000.0,
            same_work=f"{len(ours)} trades equal in times and ways out, over {len(dataset)} rows",
        )


def run(quick: bool) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    yield from _sma_rows(quick)
    yield _nautilus_row(quick)
