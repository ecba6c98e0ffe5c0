"""Backtests on recorded order books: from a configuration to a result and a folder that keeps it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from nautilus_trader.backtest.config import BacktestRunConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.node import BacktestNode
from nautilus_trader.common.config import ImportableActorConfig
from nautilus_trader.core.data import Data
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Currency

from apex_nautilus.engine.bar_market import BAR_CLOCKS, bar_batches, bar_span, path_clock
from apex_nautilus.engine.config import (
    AgentConfig,
    BacktestConfig,
    BarsConfig,
    ConfigError,
    agent_config,
    bar_hub_config,
    hub_config,
    marks_config,
    nautilus_config,
    next_run_id,
    parse_time,
)
from apex_nautilus.engine.delays import DelayReport, collect_delays
from apex_nautilus.engine.funding_rates import FundingCoverage, FundingPlan, plan_funding
from apex_nautilus.engine.market_data import batches, data_span, quote_of
from apex_nautilus.engine.marks import MarkKeeper
from apex_nautilus.engine.order_guard import install_guard
from apex_nautilus.engine.records import FillRecord, FundingRecord, TradeRecord
from apex_nautilus.engine.strategy_source import source_file
from apex_nautilus.engine.tearsheet import TEARSHEET, TearsheetKeeper
from apex_nautilus.engine.trade_log import trade_log_config
from apex_nautilus.risk import BarCosts
from apex_nautilus.risk.cost_file import decode_cost_file
from apex_nautilus.store import LedgerWriter, StoreError, check_name, write_atomic
from apex_nautilus.store.atomic import fsync_directory, move

__all__ = [
    "AgentResult",
    "BacktestResult",
    "BarRun",
    "bar_run",
    "open_engine",
    "run_backtest",
    "run_market",
    "run_span",
    "summary",
]


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What became of one agent.

    Attributes
    ----------
    slot, strategy_id, genome_id, instrument_id : str
    capital, balance, equity : float
        At birth; at the end without and with the profit of an open position, quote units.
    fees, funding : float
        Commissions paid; funding received, negative when paid.
    fills, payments, trades : list
        In order of time.
    mark_ts_ns, mark_equity : (n,) ndarray
        Its equity at the marks.
    rows : int
        Rows it decided or held on.
    reasons : dict of str to int
        How often a decision ended for each reason.
    refusals : int
        Orders denied or rejected.
    timeouts : int
        Orders, cancellations and amendments that a network lost.
    """

    slot: str
    strategy_id: str
    genome_id: str
    instrument_id: str
    capital: float
    balance: float
    equity: float
    fees: float
    funding: float
    fills: list[FillRecord]
    payments: list[FundingRecord]
    trades: list[TradeRecord]
    mark_ts_ns: np.ndarray
    mark_equity: np.ndarray
    rows: int
    reasons: dict[str, int]
    refusals: int
    timeouts: int

    @property
    def wins(self) -> int:
        """Trades with a profit net of fees."""
        return sum(trade.pnl > 0.0 for trade in self.trades)

    @property
    def spread(self) -> float:
        """What the fills cost from the mid to the touch, quote units; NaN where it is not known of all."""
        return math.fsum(fill.spread for fill in self.fills)

    @property
    def slippage(self) -> float:
        """What the fills cost beyond the price asked for, quote units; NaN where it is not known of all."""
        return math.fsum(fill.slippage for fill in self.fills)

    @property
    def max_drawdown(self) -> float:
        """Largest fall of the marked equity from its peak so far, as a share of the peak; 0 without marks."""
        if self.mark_equity.size == 0:
            return 0.0
        peaks = np.maximum.accumulate(np.concatenate([[self.capital], self.mark_equity]))[1:]
        return float(np.max(1.0 - self.mark_equity / peaks, initial=0.0))


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A finished backtest.

    Attributes
    ----------
    run_id : str
    folder : Path or None
        Where it is kept; None when it was not written.
    start_ns, end_ns : int
        Of the data that ran.
    objects : int
        Book batches and trades that the engine processed.
    account_change : float
        Change of the venue account's balance, quote units; the agents' profits add up to it.
    funding : list of FundingCoverage
        One line a traded perpetual: whether it paid funding, and where rates are missing.
    delays : list of DelayReport
        Of the messages that a network carried, by class; none without a network.
    agents : list of AgentResult
        In the order of the configuration.
    """

    run_id: str
    folder: Path | None
    start_ns: int
    end_ns: int
    objects: int
    account_change: float
    funding: list[FundingCoverage]
    delays: list[DelayReport]
    agents: list[AgentResult]


@contextmanager
def open_engine(config: BacktestRunConfig) -> Iterator[BacktestEngine]:
    """Build the engine of one Nautilus configuration; it is disposed on leaving.

    Its portfolio analyzer keeps no trades. Nautilus adds each closed position to a pandas series by copying
    the series, whether or not an analysis was asked for, which takes quadratic time in trades.
    """
    node = BacktestNode(configs=[config])
    try:
        node.build()
        engine = node.get_engine(config.id)
        if engine is None:
            raise RuntimeError(f"Nautilus built no engine for run {config.id}")
        engine.portfolio.analyzer.record_trade = _forget
        yield engine
    finally:
        node.dispose()


def _forget(*args: object) -> None:
    """Stands in for a method whose work nobody wants."""


def run_market(engine: BacktestEngine, market: Iterable[list[Data]]) -> int:
    """Run lists of data through the engine, one after the other, and end the run; return how many objects
    ran.

    The lists must follow each other in time; memory holds one at a time.
    """
    objects = 0
    for chunk in market:
        engine.add_data(chunk, validate=False, sort=True)
        engine.run(streaming=True)
        engine.clear_data()
        objects += len(chunk)
    engine.end()
    return objects


def run_backtest(
    config: BacktestConfig, *, write: bool = True, run_id: str | None = None, tearsheet: bool = False
) -> BacktestResult:
    """Run a backtest.

    Parameters
    ----------
    config : BacktestConfig
        From `load_config`.
    write : bool
        Keep the run in ``<runs>/<run id>/``: the configuration, the genomes that ran, the ledger of every
        fill and trade, the marks and the result. The folder appears when it is complete. Two runs of the
        same configuration on the same data write the same bytes.
    run_id : str, optional
        Name of the folder; default is the configuration's name and a number.
    tearsheet : bool
        Keep Nautilus's tearsheet in the run's folder too.

    Raises
    ------
    ConfigError
        When the run folder exists or cannot be named so, or agents trade in more than one quote currency.
    MarketDataError
        When the catalog lacks an instrument or its book.
    GenomeError
        When a genome cannot be used.
    """
    final = _run_folder(config, run_id) if write else None
    start_ns, end_ns = parse_time(config.start, "start"), parse_time(config.end, "end")
    bars = None if config.bars is None else bar_run(config.catalog, config.instrument_ids, config.bars)
    lo, hi = run_span(config.catalog, config.instrument_ids, bars, start_ns, end_ns)
    funding = plan_funding(config.catalog, config.instrument_ids, config.funding, start_ns=lo, end_ns=hi)
    with _staging(final) as staging:
        with open_engine(_nautilus(config, bars, funding, staging)) as engine:
            install_guard(engine.trader, engine.kernel.msgbus, engine.cache, engine.kernel.clock)
            account_start = _balance(engine, config)
            keeper = None
            if tearsheet and staging is not None:
                keeper = TearsheetKeeper(engine, quote_of(config.catalog, config.instrument_ids[0]))
            span = {"start_ns": start_ns, "end_ns": end_ns, "chunk_size": config.chunk_size}
            if bars is None:
                market = batches(config.catalog, config.instrument_ids, **span)
            else:
                market = bar_batches(config.catalog, bars.paths, costs=bars.costs, **span)
            objects = run_market(engine, market)
            result = BacktestResult(
                run_id=final.name if final else (run_id or config.name),
                folder=final,
                start_ns=lo,
                end_ns=hi,
                objects=objects,
                account_change=_balance(engine, config) - account_start,
                funding=funding.coverage,
                delays=collect_delays(engine.kernel.msgbus),
                agents=_agent_results(engine),
            )
            if keeper is not None and staging is not None:
                keeper.write(staging / TEARSHEET, f"Nautilus: {result.run_id}, all agents on one account")
        if final is not None:
            _write_run(final, config, result)
    return result


def run_span(
    catalog: str, instrument_ids: Sequence[str], bars: BarRun | None, start_ns: int | None, end_ns: int | None
) -> tuple[int, int]:
    """Return the first and the last time of a run's data.

    Raises
    ------
    MarketDataError
        When the catalog lacks an instrument or its data.
    ConfigError
        When no data lie between start and end.
    """
    if bars is None:
        spans = [data_span(catalog, i) for i in instrument_ids]
    else:
        spans = [bar_span(catalog, i, path) for i, path in bars.paths.items()]
    lo = max(min(s[0] for s in spans), start_ns or 0)
    hi = min(max(s[1] for s in spans), max(s[1] for s in spans) if end_ns is None else end_ns - 1)
    if lo > hi:
        missing = "book" if bars is None else "bar"
        raise ConfigError(f"start, end: the catalog {catalog} has no {missing} in this span")
    return lo, hi


@contextmanager
def _staging(final: Path | None) -> Iterator[Path | None]:
    """The folder in which a run is written until it is complete, and named by `final` only then.

    The trade log is in it from the first order on, and stays there when the process is killed, until the next
    run of that name begins. An error removes the folder.
    """
    if final is None:
        yield None
        return
    staging = _staging_of(final)
    shutil.rmtree(staging, ignore_errors=True)  # what a killed run left behind
    staging.mkdir(parents=True)
    try:
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _staging_of(final: Path) -> Path:
    return final.parent / f".{final.name}.writing"


class BarRun(NamedTuple):
    """What a run on bars needs to know: of each instrument the bars that orders meet, and its cost model."""

    paths: dict[str, str]
    costs: dict[str, BarCosts]


def bar_run(catalog: str, instrument_ids: Sequence[str], bars: BarsConfig) -> BarRun:
    """Find the bars that orders meet and read the cost files.

    Raises
    ------
    MarketDataError
        When no bars are stored.
    ConfigError
        When a cost file cannot be read, or is of another instrument or length of bars.
    """
    paths = {i: path_clock(catalog, i, bars.path) for i in instrument_ids}
    costs = {}
    for instrument_id, path in bars.costs.items():
        try:
            costs[instrument_id] = decode_cost_file(
                Path(path).read_bytes(),
                path,
                instrument_id=instrument_id,
                bar_minutes=BAR_CLOCKS[paths[instrument_id]],
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"bars.costs.{instrument_id}: {error}") from None
    return BarRun(paths, costs)


def _nautilus(
    config: BacktestConfig, bars: BarRun | None, funding: FundingPlan, staging: Path | None
) -> BacktestRunConfig:
    quotes = {quote_of(config.catalog, i) for i in config.instrument_ids}
    if len(quotes) > 1:
        raise ConfigError(
            f"agents: all instruments must share one quote currency, got {', '.join(sorted(quotes))}"
        )
    return nautilus_config(
        catalog=config.catalog,
        instrument_ids=config.instrument_ids,
        quote=quotes.pop(),
        balance=config.venue.treasury + sum(a.capital for a in config.agents),
        leverage=config.venue.leverage,
        fills=config.venue.fills,
        actors=[
            *(
                hub_config(i, external=config.catalog, network=config.network)
                if bars is None
                else bar_hub_config(i, bars.paths[i], config.catalog)
                for i in config.instrument_ids
            ),
            marks_config(config.mark_s),
            *([] if staging is None else [_trade_log(config, staging)]),
        ],
        bar_paths=None if bars is None else bars.paths,
        bar_costs=None if bars is None else bars.costs,
        network=config.network,
        funding=funding,
        strategies=[agent_config(a, f"{i + 1:03d}") for i, a in enumerate(config.agents)],
    )


def _trade_log(config: BacktestConfig, staging: Path) -> ImportableActorConfig:
    session = staging.name.removeprefix(".").removesuffix(".writing")
    settings = msgspec.to_builtins(msgspec.structs.replace(config, runs=".."))
    return trade_log_config(staging, session=session, desk=config.name, settings=settings)


def _balance(engine: BacktestEngine, config: BacktestConfig) -> float:
    """Total of the venue accounts, or their starting balances before the first run."""
    venues = dict.fromkeys(InstrumentId.from_str(i).venue for i in config.instrument_ids)
    start = config.venue.treasury + sum(a.capital for a in config.agents)
    quote = Currency.from_str(quote_of(config.catalog, config.instrument_ids[0]))
    total = 0.0
    for venue in venues:
        account = engine.cache.account_for_venue(venue)
        total += start if account is None else float(account.balance_total(quote).as_decimal())
    return total


def _agent_results(engine: BacktestEngine) -> list[AgentResult]:
    (marks,) = (actor for actor in engine.trader.actors() if isinstance(actor, MarkKeeper))
    results = []
    for agent in marks.agents:
        times, equities = marks.series(agent)
        results.append(
            AgentResult(
                slot=agent.slot,
                strategy_id=agent.id.value,
                genome_id=agent.genome_id,
                instrument_id=agent.instrument_id.value,
                capital=agent.account.capital,
                balance=agent.account.balance,
                equity=agent.equity,
                fees=agent.account.fees,
                funding=agent.account.funding,
                fills=agent.fills,
                payments=agent.payments,
                trades=agent.trades,
                mark_ts_ns=times,
                mark_equity=equities,
                rows=agent.rows,
                reasons=agent.decision_counts(),
                refusals=agent.refusals,
                timeouts=agent.timeouts,
            )
        )
    return results


# -- the run's folder
# -------------------------------------------------------------------------------------------


def _run_folder(config: BacktestConfig, run_id: str | None) -> Path:
    runs = Path(config.runs)
    if run_id is None:
        return runs / next_run_id(runs, config.name)
    try:
        check_name(run_id, "run")
    except StoreError as error:
        raise ConfigError(str(error)) from None
    if (runs / run_id).exists():
        raise ConfigError(f"{runs / run_id}: this run exists already; choose another id")
    return runs / run_id


def _write_run(final: Path, config: BacktestConfig, result: BacktestResult) -> None:
    """Write everything else into the folder beside the final one, then rename it into place."""
    staging = _staging_of(final)
    (staging / "genomes").mkdir()
    (staging / "ledger").mkdir()
    (staging / "marks").mkdir()
    # Where things are on this machine does not belong to the record of a run; what they hold does.
    portable = msgspec.structs.replace(
        config,
        catalog=os.path.basename(config.catalog),
        runs="..",
        agents=[_kept(agent, staging) for agent in config.agents],
        bars=_kept_bars(config.bars, staging),
    )
    write_atomic(
        staging / "config.json", msgspec.json.format(msgspec.json.encode(portable), indent=2) + b"\n"
    )
    with LedgerWriter(staging / "ledger" / "backtest.jsonl", "backtest", group_commit=1_000_000) as ledger:
        ledger.append_many(_ledger_lines(result))
    for agent in result.agents:
        np.save(staging / "marks" / f"{agent.slot}.npy", np.rec.fromarrays(
            [agent.mark_ts_ns, agent.mark_equity], names="ts_ns,equity"
        ))  # fmt: skip
    write_atomic(
        staging / "result.json", msgspec.json.format(msgspec.json.encode(summary(result)), indent=2) + b"\n"
    )
    fsync_directory(staging)
    move(staging, final)


def _kept_bars(bars: BarsConfig | None, folder: Path) -> BarsConfig | None:
    """Copy the cost files into a run's folder; return the configuration as seen from there."""
    if bars is None or not bars.costs:
        return bars
    (folder / "costs").mkdir()
    kept = {i: f"costs/{i.replace('/', '')}.json" for i in bars.costs}
    for instrument_id, path in bars.costs.items():
        write_atomic(folder / kept[instrument_id], Path(path).read_bytes())
    return msgspec.structs.replace(bars, costs=kept)


def _kept(agent: AgentConfig, folder: Path) -> AgentConfig:
    """Copy what the agent trades by into a run's folder; return its configuration as seen from there."""
    if agent.strategy is None:
        write_atomic(folder / "genomes" / f"{agent.slot}.json", Path(str(agent.genome)).read_bytes())
        return msgspec.structs.replace(agent, genome=f"genomes/{agent.slot}.json")
    file = source_file(agent.strategy)
    if not file:
        return agent  # an installed module: its version is the package's
    (folder / "strategies").mkdir(exist_ok=True)
    write_atomic(folder / "strategies" / f"{agent.slot}.py", Path(file).read_bytes())
    name = agent.strategy.rpartition(":")[2]
    return msgspec.structs.replace(agent, strategy=f"strategies/{agent.slot}.py:{name}")


def _ledger_lines(result: BacktestResult) -> list[tuple[str, int, dict]]:
    """Births, fills, funding, trades and final states of all agents, by engine time."""
    lines: list[tuple[int, int, str, dict]] = []
    for order, agent in enumerate(result.agents):
        who = {"slot": agent.slot, "strategy_id": agent.strategy_id}
        birth = {
            **who,
            "genome_id": agent.genome_id,
            "instrument_id": agent.instrument_id,
            "capital": agent.capital,
        }
        lines.append((result.start_ns, order, "birth", birth))
        # Before the fills: a settlement comes before what is filled at its moment.
        lines.extend(
            (p.ts_ns, order, "funding", {**who, **msgspec.structs.asdict(p)}) for p in agent.payments
        )
        lines.extend((f.ts_ns, order, "fill", {**who, **msgspec.structs.asdict(f)}) for f in agent.fills)
        lines.extend(
            (t.exit_ts_ns, order, "trade", {**who, **_finite(msgspec.structs.asdict(t))})
            for t in agent.trades
        )
        lines.append((result.end_ns, order, "end", {**who, "balance": agent.balance, "equity": agent.equity}))
    lines.sort(key=lambda line: line[:2])  # stable: what one agent did at one instant stays in order
    return [(kind, ts_ns, fields) for ts_ns, _, kind, fields in lines]


def _finite(fields: dict) -> dict:
    """JSON has no NaN: a number that is not known is null."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in fields.items()}


def summary(result: BacktestResult) -> dict:
    """The result in plain JSON values: one object an agent, no series."""
    return {
        "schema": "apex.backtest-result/1",
        "run_id": result.run_id,
        "start_ns": result.start_ns,
        "end_ns": result.end_ns,
        "objects": result.objects,
        "account_change": result.account_change,
        "funding": [msgspec.to_builtins(line) for line in result.funding],
        "delays": [msgspec.to_builtins(report) for report in result.delays],
        "agents": [
            {
                "slot": a.slot,
                "strategy_id": a.strategy_id,
                "genome_id": a.genome_id,
                "instrument_id": a.instrument_id,
                "capital": a.capital,
                "balance": a.balance,
                "equity": a.equity,
                "fees": a.fees,
                **_finite({"spread": a.spread, "slippage": a.slippage}),
                "funding": a.funding,
                "fills": len(a.fills),
                "trades": len(a.trades),
                "wins": a.wins,
                "max_drawdown": a.max_drawdown,
                "rows": a.rows,
                "reasons": a.reasons,
                "refusals": a.refusals,
                "timeouts": a.timeouts,
            }
            for a in result.agents
        ],
    }
