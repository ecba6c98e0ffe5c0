"""A backtest of the whole arena: recorded books in, a run folder with its ledger out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from nautilus_trader.common.config import ImportableActorConfig
from nautilus_trader.trading.config import ImportableControllerConfig

from apex_nautilus.actors.allocator import AllocatorRules
from apex_nautilus.actors.arena import ArenaController
from apex_nautilus.actors.arena_config import ArenaConfig, SlotConfig, check_settings
from apex_nautilus.actors.contest import ContestRules
from apex_nautilus.actors.result import ArenaResult, read_result
from apex_nautilus.actors.roster import Roster, Slot
from apex_nautilus.actors.runs import Run, open_run
from apex_nautilus.actors.watchtower import Limits
from apex_nautilus.engine import (
    TEARSHEET,
    BarsConfig,
    ConfigError,
    FundingCoverage,
    FundingPlan,
    FundingSetting,
    NetworkConfig,
    TearsheetKeeper,
    VenueConfig,
    absolute_bars,
    bar_batches,
    bar_hub_config,
    bar_run,
    batches,
    check_bars,
    check_preload,
    check_run,
    check_run_funding,
    check_run_network,
    hub_config,
    nautilus_config,
    next_run_id,
    open_engine,
    parse_time,
    plan_funding,
    purge_config,
    quote_of,
    read_config,
    run_market,
    run_span,
    trade_log_config,
)
from apex_nautilus.risk import MAX_MONEY

__all__ = ["ARENA_SCHEMA", "ArenaRunConfig", "load_arena_config", "run_arena"]

ARENA_SCHEMA = "apex.arena/1"
_ACTORS = "apex_nautilus.actors"


class ArenaRunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backtest of the arena (schema ``apex.arena/1``).

    Parameters
    ----------
    schema : str
        ``apex.arena/1``.
    name : str
        Names the run's folder; letters, digits, ``-`` and ``_``.
    market : str
        Path of the Nautilus ParquetDataCatalog.
    strategies : str
        The catalog whose strategies the run copies, or the folder of an earlier run to go on from.
    runs : str
        Folder of the runs. Paths are relative to the configuration file.
    slots : list of SlotConfig
    quote : str
        Currency of the account.
    start, end : str or int, optional
        ISO 8601 (UTC where no offset is given) or nanoseconds; start is included, end is not.
    venue : VenueConfig
        `treasury` must pay for every birth that is to happen while others hold positions.
    bars : BarsConfig, optional
        Run on bars; on order books where it is left out. Hubs of bars keep all history and need no `preload`.
    network : NetworkConfig, optional
        Late and lost commands and market data; none where it is left out. Only on order books.
    funding : "stored", bool or list of str
        Which perpetuals pay and receive funding; see `BacktestConfig`.
    preload : dict of str to list of str, optional
        Features that the hubs compute from the first event on; see `FeedHubConfig`.
    capital, limits, allocator, shrink, entry_retries, reprice_s, patience_s, contest, mark_s, intake_s,
    ledger_mark_s, worker_wait_s, ask_for_empty_slots
        See `ArenaConfig`.
    chunk_size : int
        Records read at a time.
    """

    schema: Literal["apex.arena/1"]
    name: str
    market: str
    strategies: str
    slots: list[SlotConfig]
    runs: str = "runs"
    quote: str = "USDT"
    start: str | int | None = None
    end: str | int | None = None
    venue: VenueConfig = VenueConfig()
    bars: BarsConfig | None = None
    network: NetworkConfig | None = None
    funding: FundingSetting = "stored"
    preload: dict[str, list[str]] | None = None
    capital: float = 200.0
    limits: Limits = Limits()
    allocator: AllocatorRules | None = AllocatorRules()
    shrink: bool = False
    entry_retries: int = 2
    reprice_s: float = 1.0
    patience_s: float = 10.0
    contest: ContestRules = ContestRules()
    mark_s: float = 1.0
    intake_s: float = 5.0
    ledger_mark_s: float = 60.0
    worker_wait_s: float = 0.0
    ask_for_empty_slots: bool = False
    chunk_size: int = 100_000

    @property
    def instrument_ids(self) -> list[str]:
        """The instruments of the slots, each once, in order of first use."""
        return list(dict.fromkeys(slot.instrument_id for slot in self.slots))


def load_arena_config(path: str | os.PathLike[str]) -> ArenaRunConfig:
    """Read an arena configuration; paths in it become absolute.

    Raises
    ------
    ConfigError
        When the file cannot be read, has an unknown field or a value out of range; the message names file and
        field.
    """
    config = read_config(path, ArenaRunConfig, _check)
    folder = Path(path).resolve().parent
    return msgspec.structs.replace(
        config,
        market=str((folder / config.market).resolve()),
        strategies=str((folder / config.strategies).resolve()),
        bars=absolute_bars(config.bars, folder),
        runs=str((folder / config.runs).resolve()),
    )


def run_arena(
    config: ArenaRunConfig,
    *,
    run_id: str | None = None,
    opened: Callable[[], None] | None = None,
    tearsheet: bool = False,
) -> ArenaResult:
    """Run the arena on recorded books, on a copy of the strategies; return what came of it.

    The run's folder is ``<runs>/<run id>/``. The catalog named by `strategies` is only read, except that an
    aborted run that is taken up is brought in order first. An error marks the run as aborted.

    Parameters
    ----------
    config : ArenaRunConfig
    run_id : str, optional
        Name of the folder; default is the configuration's name and the next free number.
    opened : callable, optional
        Called once the run's folder is there, before the first event: the moment to start a worker on it.
    tearsheet : bool
        Keep Nautilus's tearsheet in the run's folder too.

    Raises
    ------
    ConfigError
        When the configuration is not possible.
    StoreError
        When the folder exists, or there are no strategies to copy.
    MarketDataError
        When the market catalog lacks an instrument or its book.
    """
    _check(config)
    bars = None if config.bars is None else bar_run(config.market, config.instrument_ids, config.bars)
    start_ns, end_ns = parse_time(config.start, "start"), parse_time(config.end, "end")
    lo, hi = run_span(config.market, config.instrument_ids, bars, start_ns, end_ns)
    for instrument_id in config.instrument_ids:
        quote = quote_of(config.market, instrument_id)
        if quote != config.quote:
            raise ConfigError(f"quote: is {config.quote!r}, but {instrument_id} is quoted in {quote!r}")
    funding = plan_funding(config.market, config.instrument_ids, config.funding, start_ns=lo, end_ns=hi)
    runs = Path(config.runs)
    run = open_run(config.strategies, runs, run_id or next_run_id(runs, config.name))
    keeper = None
    try:
        if opened is not None:
            opened()
        nautilus = nautilus_config(
            catalog=config.market,
            instrument_ids=config.instrument_ids,
            quote=config.quote,
            balance=config.venue.treasury + len(config.slots) * config.capital,
            leverage=config.venue.leverage,
            fills=config.venue.fills,
            actors=[
                hub_config(i, config.preload, config.market, config.network)
                if bars is None
                else bar_hub_config(i, bars.paths[i], config.market)
                for i in config.instrument_ids
            ]
            + [_trade_log(config, run), purge_config()],
            bar_paths=None if bars is None else bars.paths,
            bar_costs=None if bars is None else bars.costs,
            network=config.network,
            funding=funding,
            controller=_controller(config, run.layout.root, funding),
        )
        with open_engine(nautilus) as engine:
            keeper = TearsheetKeeper(engine, config.quote) if tearsheet else None
            span = {"start_ns": start_ns, "end_ns": end_ns, "chunk_size": config.chunk_size}
            if bars is None:
                market = batches(config.market, config.instrument_ids, **span)
            else:
                market = bar_batches(config.market, bars.paths, costs=bars.costs, **span)
            try:
                run_market(engine, market)
            except BaseException:
                for actor in engine.trader.actors():
                    if isinstance(actor, ArenaController):
                        actor.abandon()
                raise
    except BaseException:
        run.abort()
        raise
    run.finish()
    if keeper is not None:
        title = f"Nautilus: {run.run_id}, all agents and the treasury on one account"
        keeper.write(run.layout.root / TEARSHEET, title)
    return read_result(run.layout.root)


def _trade_log(config: ArenaRunConfig, run: Run) -> ImportableActorConfig:
    settings = msgspec.to_builtins(config)
    return trade_log_config(run.layout.root, session=run.run_id, desk=config.name, settings=settings)


def _controller(config: ArenaRunConfig, root: Path, funding: FundingPlan) -> ImportableControllerConfig:
    return ImportableControllerConfig(
        controller_path=f"{_ACTORS}.arena:ArenaController",
        config_path=f"{_ACTORS}.arena_config:ArenaConfig",
        config=msgspec.to_builtins(_settings(config, root, funding.coverage)),
    )


def _settings(config: ArenaRunConfig, root: Path, funding: Sequence[FundingCoverage] = ()) -> ArenaConfig:
    return ArenaConfig(
        catalog=str(root),
        slots=config.slots,
        capital=config.capital,
        currency=config.quote,
        limits=config.limits,
        allocator=config.allocator,
        shrink=config.shrink,
        entry_retries=config.entry_retries,
        reprice_s=config.reprice_s,
        patience_s=config.patience_s,
        contest=config.contest,
        mark_s=config.mark_s,
        intake_s=config.intake_s,
        ledger_mark_s=config.ledger_mark_s,
        worker_wait_s=config.worker_wait_s,
        ask_for_empty_slots=config.ask_for_empty_slots,
        bars=config.bars is not None,
        funding=tuple(funding),
    )


def _check(config: ArenaRunConfig) -> None:
    check_run(
        name=config.name,
        venue=config.venue,
        chunk_size=config.chunk_size,
        start=config.start,
        end=config.end,
        instruments={f"slots[{i}].instrument_id": s.instrument_id for i, s in enumerate(config.slots)},
    )
    venues = sorted({i.rpartition(".")[2] for i in config.instrument_ids})
    if len(venues) > 1:
        raise ConfigError(f"slots: one arena has one account, but these trade on {', '.join(venues)}")
    account = config.venue.treasury + len(config.slots) * config.capital
    if not account <= MAX_MONEY:
        raise ConfigError(f"capital: the account would hold {account:g}; at most {MAX_MONEY:g} is possible")
    try:
        Roster([Slot(s.slot, s.instrument_id) for s in config.slots], config.capital)
        check_settings(_settings(config, Path()))
        check_bars(config.bars, config.instrument_ids)
        check_run_network(config.network, config.bars)
        check_run_funding(config.funding, config.instrument_ids)
        if config.bars is not None and config.preload:
            raise ConfigError("preload: hubs of bars keep all history; leave it out")
        check_preload(config.preload or {})
    except ValueError as error:
        raise ConfigError(str(error)) from None
