"""The replay against vectorbt on the same trades, and against Nautilus's BacktestNode on the same rows.

vectorbt: entries where two moving averages cross, a stop at 1 % and a take-profit at 3 %, 500,000 bars. The
crossings are computed beforehand for both, and the replay's market is made beforehand, as the Forge makes
it once for thousands of genomes; what making it takes is told in the row. Same trades: bars and prices of
entries and exits. Two rows: against the portfolio with the four figures of it that the replay's result has
as well (return, drawdown, number of trades, win rate), and against its orders alone, without any figure.
The replay always yields all of its result (also Sharpe ratio, skewness, kurtosis, costs, fitness); its
drawdown is taken after each trade and at 64 marks, vectorbt's at every bar.

Nautilus: one genome of 15 nodes on the book-clock rows of a simulated market. The replay gets the rows many
times end to end, since one pass is over before a clock can tell. Same trades: times and ways out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

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
ORDERS_NAME = "replay: the same, the peer without its summary figures"
SPEED_NAME = "replay: one genome of 15 nodes, one core"


def _walk(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    close = 100.0 * np.exp(np.cumsum(rng.standard_normal(n) * 0.001))
    # Each bar opens where the last one closed: a bracket anchored at the decision is one anchored at the
    # fill.
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1.0 + rng.exponential(5e-4, n))
    low = np.minimum(opened, close) * (1.0 - rng.exponential(5e-4, n))
    return {"open": opened, "high": high, "low": low, "close": close}


def _crossings(close: np.ndarray, fast: int = 50, slow: int = 200) -> np.ndarray:
    """+1 where the fast average rises above the slow one, -1 where it falls below, else 0."""
    sums = np.concatenate([[0.0], np.cumsum(close)])
    averages = [(sums[slow:] - sums[slow - k : -k]) / k for k in (fast, slow)]
    above = averages[0] > averages[1]
    out = np.zeros(close.size)
    out[slow:] = above[1:].astype(float) - above[:-1].astype(float)
    return out


def _sma_market(bars: dict[str, np.ndarray], signal: np.ndarray) -> MarketArrays:
    n = signal.size
    return bar_market(
        features=np.column_stack([signal, np.zeros(n)]),
        ts_ns=np.arange(1, n + 1) * MINUTE_NS,
        half_spread=1e-9,
        **bars,
    )


def _sma_case(n: int) -> tuple[dict[str, np.ndarray], np.ndarray, MarketArrays, ProgramBatch, np.ndarray]:
    bars = _walk(np.random.default_rng(0), n)
    signal = _crossings(bars["close"])
    programs = pack([compile_trees([feature(0), feature(1)], 2)])
    spec = InstrumentSpec(
        id="X.TEST", base="X", quote="USD", price_precision=9, size_precision=9, tick=1e-9, lot=1e-9
    )
    genome = Genome(
        instrument_id=spec.id,
        bracket=Bracket(stop=BpsStop(100.0), max_hold_s=1e9),
        calibration=Platt(1.0, 0.0),
        sizing=Sizing(kelly_fraction=0.01),
    )
    rules = rules_array([genome], spec)
    while True:
        market = _sma_market(bars, signal)
        trades = replay_trades(market, programs, rules)
        # vectorbt sends one order a bar, so it cannot enter at the close of the bar it left in: such
        # crossings are taken from both.
        again = trades["entry_row"][1:][trades["entry_row"][1:] == trades["exit_event"][:-1]]
        if again.size == 0:
            return bars, signal, market, programs, rules
        signal[again] = 0.0


def _vectorbt(vbt, bars: dict[str, np.ndarray], signal: np.ndarray):
    # Decided at a bar's close, filled at the next bar's open: given as the price of the deciding bar, so that
    # the stops are looked at from the bar of the fill on.
    following = np.concatenate([bars["open"][1:], bars["close"][-1:]])
    return vbt.Portfolio.from_signals(
        following, entries=signal > 0, exits=False, short_entries=signal < 0, short_exits=False,
        open=bars["open"], high=bars["high"], low=bars["low"], sl_stop=0.01, tp_stop=0.03,
        stop_entry_price="fillprice", upon_opposite_entry="ignore", size=0.1, init_cash=1e6, fees=0.0,
    )  # fmt: skip


def _vectorbt_summary(vbt, bars: dict[str, np.ndarray], signal: np.ndarray) -> tuple:
    """What the replay's result holds as well."""
    portfolio = _vectorbt(vbt, bars, signal)
    trades = portfolio.trades
    return portfolio.total_return(), portfolio.max_drawdown(), trades.count(), trades.win_rate()


def _same_trades(records, trades: np.ndarray) -> str:
    """Say how the trades were compared; raise where they are not the same."""
    theirs = records[records["status"] == 1]
    ours = trades[trades["exit_kind"] != EXIT_END]
    if len(theirs) != len(ours):
        raise AssertionError(f"replay made {len(ours)} trades, vectorbt {len(theirs)}: not the same work")
    same = (
        (theirs["entry_idx"].to_numpy() == ours["entry_row"])
        & (theirs["exit_idx"].to_numpy() == ours["exit_event"])
        & np.isclose(theirs["entry_price"], ours["entry_price"], rtol=1e-7)
        & np.isclose(theirs["exit_price"], ours["exit_price"], rtol=1e-7)
    )
    if not same.all():
        raise AssertionError(
            f"{(~same).sum()} of {len(ours)} trades differ from vectorbt's: not the same work"
        )
    return f"{len(ours)} trades equal in bars and prices"


def _sma_rows(quick: bool) -> Iterator[Row]:
    n = 100_000 if quick else 500_000
    try:
        vbt = require_peer("vectorbt")
    except MissingPeer as error:
        yield missing_row(SMA_NAME, "bars/s", "vectorbt", ">= 100x", str(error))
        yield missing_row(ORDERS_NAME, "bars/s", "vectorbt", "", str(error))
        return
    bars, signal, market, programs, rules = _sma_case(n)
    same = _same_trades(_vectorbt(vbt, bars, signal).trades.records, replay_trades(market, programs, rules))
    (making,) = alternate(partial(_sma_market, bars, signal))
    before = f"signals made before, our market too ({1e3 * making.median:.1f} ms, once for all genomes)"
    for name, theirs, goal, figures in (
        (SMA_NAME, _vectorbt_summary, 100.0, "both yield return, drawdown, trades and win rate"),
        (ORDERS_NAME, _vectorbt, None, "ours yields its figures, the peer its orders alone"),
    ):
        yield compare(
            name,
            partial(replay, market, programs, rules, threads=1),
            partial(theirs, vbt, bars, signal),
            work=n,
            unit="bars/s",
            peer=peer_version("vectorbt"),
            goal_ratio=goal,
            same_work=f"{same}; {figures}; {before}",
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
    from apex_nautilus.data.catalog import write_events
    from apex_nautilus.data.dataset import dataset_from_events
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
