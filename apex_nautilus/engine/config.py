"""Run configurations: one JSON file a backtest, and the Nautilus configuration it stands for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from nautilus_trader.backtest.config import (
    BacktestDataConfig,
    BacktestEngineConfig,
    BacktestRunConfig,
    BacktestVenueConfig,
    ImportableFillModelConfig,
)
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common.config import ImportableActorConfig, LoggingConfig
from nautilus_trader.model.data import Bar, OrderBookDelta
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.trading.config import ImportableControllerConfig, ImportableStrategyConfig

from apex_nautilus._field_errors import readable
from apex_nautilus.engine._agent_core import entry_timers
from apex_nautilus.engine.funding import funding_module
from apex_nautilus.engine.funding_rates import FundingPlan, FundingSetting, check_funding
from apex_nautilus.engine.network import NetworkConfig, check_network, network_controller, network_module
from apex_nautilus.engine.strategy_source import (
    StrategySourceError,
    absolute_source,
    find_strategy,
)
from apex_nautilus.risk import MAX_LEVERAGE, MAX_MONEY, BarCosts
from apex_nautilus.store import StoreError, check_name

__all__ = [
    "BACKTEST_SCHEMA",
    "AgentConfig",
    "BacktestConfig",
    "BarsConfig",
    "ConfigError",
    "VenueConfig",
    "absolute_bars",
    "bar_hub_config",
    "check_bars",
    "check_run",
    "check_run_funding",
    "check_run_network",
    "hub_config",
    "load_config",
    "marks_config",
    "nautilus_config",
    "next_run_id",
    "parse_time",
    "read_config",
]

BACKTEST_SCHEMA = "apex.backtest/1"
_STRATEGY = "apex_nautilus.strategies.genome_strategy"
_HUB = "apex_nautilus.engine.feed_hub"
_BAR_HUB = "apex_nautilus.engine.bar_hub"
_BAR_FILLS = "apex_nautilus.engine.bar_fills"
_MARKS = "apex_nautilus.engine.marks"
_FILLS = "apex_nautilus.engine.fill_model"
_QUEUE = "apex_nautilus.engine.queue_fill_model"


class ConfigError(ValueError):
    """A run configuration that cannot be used; the message names file and field."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One agent in a slot: a genome, or a strategy written by hand.

    Parameters
    ----------
    slot : str
        Its name in tables, ledgers and reports.
    instrument_id : str
        What it trades; the genome must name the same.
    genome : str, optional
        Path of a genome or champion file; relative to the configuration file.
    strategy : str, optional
        In place of a genome: ``FILE.py:Class``, relative to the configuration file, or
        ``package.module:Class``. Its code is run.
    parameters : dict
        Fields of the strategy's own configuration class.
    capital : float
        Its own money, quote units.
    legs : {"native", "emulated"}
        Where stop and take-profit live; see `ApexStrategyConfig`.
    multiplier : float
        Scales every order of a genome.
    shrink : bool
        Bet less of a genome's Kelly fraction while little is known of its edge; see `GenomeStrategyConfig`.
    entry_retries : int
        How often an entry that got no answer in time is sent again.
    reprice_s, patience_s : float
        Timers of a passive entry; see `ApexStrategyConfig`.
    """

    slot: str
    instrument_id: str
    genome: str | None = None
    strategy: str | None = None
    parameters: dict[str, Any] = {}
    capital: float = 200.0
    legs: Literal["native", "emulated"] = "native"
    multiplier: float = 1.0
    shrink: bool = False
    entry_retries: int = 2
    reprice_s: float = 1.0
    patience_s: float = 10.0


class VenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The simulated venue and the one account that all agents share.

    Parameters
    ----------
    treasury : float
        Money in the account beside the agents' capital, quote units. It only keeps the account's margin
        from binding: what an agent may lose is its own capital.
    leverage : float
        Of the account.
    fills : {"touch", "queue", "nautilus"}
        ``touch``: resting orders are filled whole when the opposite touch reaches them, as in the replay.
        ``queue``: as their turn in the queue comes, and orders larger than the displayed book at prices
        beyond it (see `queue_fill_model`). ``nautilus``: only against the size displayed beyond their price,
        which agents take from each other until the level changes.
    """

    treasury: float = 100_000.0
    leverage: float = 10.0
    fills: Literal["touch", "queue", "nautilus"] = "touch"


class BarsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run on bars in place of order books; see docs/bar-execution.md.

    Parameters
    ----------
    path : {"1m", "5m", "15m"}, optional
        Clock of the bars that orders meet; the shortest that is stored where it is left out. Agents may use
        this and longer clocks.
    costs : dict of str to str
        Instrument id to its cost file (``apex data fit-costs``), relative to the configuration file. Without
        one an instrument has a constant half spread of 0.5 bps and no slippage.
    """

    path: Literal["1m", "5m", "15m"] | None = None
    costs: dict[str, str] = {}


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backtest (schema ``apex.backtest/1``).

    Parameters
    ----------
    schema : str
        ``apex.backtest/1``.
    name : str
        Names the run's folder; letters, digits, ``-`` and ``_``.
    catalog : str
        Path of the Nautilus ParquetDataCatalog; relative to the configuration file.
    agents : list of AgentConfig
    start, end : str or int, optional
        ISO 8601 (UTC where no offset is given) or nanoseconds; start is included, end is not.
    venue : VenueConfig
    bars : BarsConfig, optional
        Run on bars; on order books where it is left out.
    network : NetworkConfig, optional
        Late and lost commands and market data; none where it is left out. Only on order books.
    funding : "stored", bool or list of str
        Which perpetuals pay and receive funding: those whose rates the catalog holds (``"stored"``), all
        (``true``), none (``false``), or the instruments of a list. ``true`` and a list need the rates to be
        there.
    mark_s : float
        Engine time between two equity marks.
    chunk_size : int
        Records read at a time.
    runs : str
        Folder of the runs; relative to the configuration file.
    """

    schema: Literal["apex.backtest/1"]
    name: str
    catalog: str
    agents: list[AgentConfig]
    start: str | int | None = None
    end: str | int | None = None
    venue: VenueConfig = VenueConfig()
    bars: BarsConfig | None = None
    network: NetworkConfig | None = None
    funding: FundingSetting = "stored"
    mark_s: float = 1.0
    chunk_size: int = 100_000
    runs: str = "runs"

    @property
    def instrument_ids(self) -> list[str]:
        """The instruments that agents trade, each once, in order of first use."""
        return list(dict.fromkeys(agent.instrument_id for agent in self.agents))


def parse_time(value: str | int | None, field: str) -> int | None:
    """Return nanoseconds since the epoch of an ISO 8601 time or an integer of nanoseconds.

    Raises
    ------
    ConfigError
        When the text is not a time; `field` names it.
    """
    if value is None:
        return value
    if isinstance(value, int):
        if not 0 <= value < 1 << 63:
            raise ConfigError(f"{field}: {value!r} are no nanoseconds since 1970")
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ConfigError(f"{field}: {value!r} is not an ISO 8601 time, as in 2024-08-08T23:54:00Z") from None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    whole = int(moment.timestamp() // 1) if moment.microsecond == 0 else math.floor(moment.timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1_000


def read_config[T: msgspec.Struct](
    path: str | os.PathLike[str], kind: type[T], check: Callable[[T], None]
) -> T:
    """Decode a configuration of `kind` and `check` it.

    Raises
    ------
    ConfigError
        When the file cannot be read, is not JSON, has an unknown field or a value out of range. The message
        names the file and the field.
    """
    source = Path(path)
    try:
        config = msgspec.json.decode(source.read_bytes(), type=kind)
        check(config)
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read ({error.strerror or error})") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {readable(str(error), kind)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{source}: not JSON ({error})") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return config


def load_config(path: str | os.PathLike[str]) -> BacktestConfig:
    """Read a run configuration; paths in it become absolute.

    Raises
    ------
    ConfigError
        See `read_config`.
    """
    config = read_config(path, BacktestConfig, _check)
    folder = Path(path).resolve().parent
    return msgspec.structs.replace(
        config,
        catalog=str((folder / config.catalog).resolve()),
        runs=str((folder / config.runs).resolve()),
        bars=absolute_bars(config.bars, folder),
        agents=[_absolute(agent, folder) for agent in config.agents],
    )


def absolute_bars(bars: BarsConfig | None, folder: Path) -> BarsConfig | None:
    """Return `bars` with the paths of its cost files made absolute against `folder`."""
    if bars is None:
        return None
    return msgspec.structs.replace(
        bars, costs={i: str((folder / path).resolve()) for i, path in bars.costs.items()}
    )


def _absolute(agent: AgentConfig, folder: Path) -> AgentConfig:
    if agent.strategy is not None:
        return msgspec.structs.replace(agent, strategy=absolute_source(agent.strategy, folder))
    return msgspec.structs.replace(agent, genome=str((folder / str(agent.genome)).resolve()))


def next_run_id(runs: str | os.PathLike[str], name: str) -> str:
    """Return the first ``<name>-<number>`` that no folder in `runs` has."""
    number = 1
    while (Path(runs) / f"{name}-{number:04d}").exists():
        number += 1
    return f"{name}-{number:04d}"


def check_run(
    *,
    name: str,
    venue: VenueConfig,
    chunk_size: int,
    start: str | int | None,
    end: str | int | None,
    instruments: Mapping[str, str],
) -> None:
    """Check what every run on order books has; `instruments` maps the field to the instrument id it holds.

    Raises
    ------
    ConfigError
        When a value is out of range; the message names the field.
    """
    if not (0 < len(name) <= 48 and name.isascii() and all(c.isalnum() or c in "-_" for c in name)):
        raise ConfigError(f"name: {name!r} may hold letters, digits, '-' and '_' only, at most 48")
    for field, instrument_id in instruments.items():
        try:
            InstrumentId.from_str(instrument_id)
        except ValueError as error:
            raise ConfigError(f"{field}: {error}") from None
    if not 0.0 < venue.leverage <= MAX_LEVERAGE:
        raise ConfigError(f"venue.leverage: must be in (0, {MAX_LEVERAGE:g}], got {venue.leverage!r}")
    if not 0.0 <= venue.treasury <= MAX_MONEY:
        raise ConfigError(f"venue.treasury: must be in [0, {MAX_MONEY:g}], got {venue.treasury!r}")
    if not 1_000 <= chunk_size <= 1_000_000_000:
        raise ConfigError(f"chunk_size: must be 1000 to 1000000000, got {chunk_size}")
    start_ns, end_ns = parse_time(start, "start"), parse_time(end, "end")
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        raise ConfigError("end: must be later than start")


def check_bars(bars: BarsConfig | None, instrument_ids: Sequence[str]) -> None:
    """Raise ConfigError where a cost file is named for an instrument that nobody trades."""
    for instrument_id in bars.costs if bars is not None else ():
        if instrument_id not in instrument_ids:
            raise ConfigError(
                f"bars.costs: nobody trades {instrument_id!r} (traded: {', '.join(instrument_ids)})"
            )


def check_run_network(network: NetworkConfig | None, bars: BarsConfig | None) -> None:
    """Raise ConfigError where a run cannot have `network`."""
    if network is None:
        return
    if bars is not None:
        raise ConfigError("network: a run on bars has none; leave it out, or run on order books")
    try:
        check_network(network)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_run_funding(setting: FundingSetting, instrument_ids: Sequence[str]) -> None:
    """Raise ConfigError where `setting` names what nobody trades."""
    try:
        check_funding(setting, instrument_ids)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check(config: BacktestConfig) -> None:
    check_run(
        name=config.name,
        venue=config.venue,
        chunk_size=config.chunk_size,
        start=config.start,
        end=config.end,
        instruments={f"agents[{i}].instrument_id": a.instrument_id for i, a in enumerate(config.agents)},
    )
    check_bars(config.bars, config.instrument_ids)
    check_run_network(config.network, config.bars)
    check_run_funding(config.funding, config.instrument_ids)
    if not config.agents:
        raise ConfigError("agents: at least one agent is needed")
    slots = [agent.slot for agent in config.agents]
    for i, agent in enumerate(config.agents):
        where = f"agents[{i}]"
        try:
            check_name(agent.slot, "slot")
        except StoreError as error:
            raise ConfigError(f"{where}.slot: {error}") from None
        if slots.index(agent.slot) != i:
            raise ConfigError(f"{where}.slot: {agent.slot!r} is taken by agents[{slots.index(agent.slot)}]")
        if (agent.genome is None) == (agent.strategy is None):
            raise ConfigError(f"{where}: name either a genome or a strategy")
        if agent.strategy is None and agent.parameters:
            raise ConfigError(f"{where}.parameters: a genome takes none; they are for a strategy")
        if agent.strategy is not None and agent.multiplier != 1.0:
            raise ConfigError(f"{where}.multiplier: scales the orders of genomes, a strategy sizes its own")
        if agent.strategy is not None and agent.shrink:
            raise ConfigError(f"{where}.shrink: is for the bets of genomes, a strategy sizes its own")
        try:
            entry_timers(agent.entry_retries, agent.reprice_s, agent.patience_s)
        except ValueError as error:
            raise ConfigError(f"{where}.{error}") from None
        _positive(agent.capital, f"{where}.capital")
        if not (math.isfinite(agent.multiplier) and agent.multiplier >= 0.0):
            raise ConfigError(
                f"{where}.multiplier: must be finite and not negative, got {agent.multiplier!r}"
            )
    if not (math.isfinite(config.mark_s) and config.mark_s >= 0.001):
        raise ConfigError(f"mark_s: must be at least 0.001, got {config.mark_s!r}")


def _positive(value: float, field: str) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ConfigError(f"{field}: must be finite and positive, got {value!r}")


# -- the Nautilus configuration
# -------------------------------------------------------------------------------


def hub_config(
    instrument_id: str,
    preload: dict[str, list[str]] | None = None,
    external: str | None = None,
    network: NetworkConfig | None = None,
) -> ImportableActorConfig:
    """The feed hub of one instrument; see `FeedHubConfig` for `preload`, `external` and `network`."""
    return ImportableActorConfig(
        actor_path=f"{_HUB}:FeedHub",
        config_path=f"{_HUB}:FeedHubConfig",
        config={
            "component_id": f"FeedHub-{instrument_id}",
            "instrument_id": instrument_id,
            "preload": preload,
            "external": external,
            "network": msgspec.to_builtins(network),
        },
    )


def bar_hub_config(instrument_id: str, path: str, external: str | None = None) -> ImportableActorConfig:
    """The feed hub of one instrument on bars; see `BarHubConfig` for `path` and `external`."""
    return ImportableActorConfig(
        actor_path=f"{_BAR_HUB}:BarHub",
        config_path=f"{_BAR_HUB}:BarHubConfig",
        config={
            "component_id": f"BarHub-{instrument_id}",
            "instrument_id": instrument_id,
            "path": path,
            "external": external,
        },
    )


def marks_config(interval_s: float) -> ImportableActorConfig:
    """The keeper of equity marks."""
    return ImportableActorConfig(
        actor_path=f"{_MARKS}:MarkKeeper",
        config_path=f"{_MARKS}:MarkKeeperConfig",
        config={"component_id": "MarkKeeper", "interval_s": interval_s},
    )


def agent_config(agent: AgentConfig, order_id_tag: str) -> ImportableStrategyConfig:
    """The strategy of one agent. The id tag must never be used again in the same node.

    Raises
    ------
    ConfigError
        When a strategy written by hand cannot be imported, or does not take its parameters.
    """
    common = {"order_id_tag": order_id_tag, "log_events": False, "log_commands": False}
    fields = ("slot", "instrument_id", "capital", "legs", "entry_retries", "reprice_s", "patience_s")
    common |= {field: getattr(agent, field) for field in fields}
    if agent.strategy is None:
        return ImportableStrategyConfig(
            strategy_path=f"{_STRATEGY}:GenomeStrategy",
            config_path=f"{_STRATEGY}:GenomeStrategyConfig",
            config={
                **common,
                "genome": agent.genome,
                "multiplier": agent.multiplier,
                "shrink": agent.shrink,
            },
        )
    try:
        found = find_strategy(agent.strategy, agent.parameters)
    except StrategySourceError as error:
        raise ConfigError(f"slot {agent.slot}: {error}") from None
    return ImportableStrategyConfig(
        strategy_path=found.strategy_path,
        config_path=found.config_path,
        config={**agent.parameters, **common},
    )


def nautilus_config(
    *,
    catalog: str,
    instrument_ids: Sequence[str],
    quote: str,
    balance: float,
    leverage: float = 10.0,
    fills: str = "touch",
    actors: Sequence[ImportableActorConfig] = (),
    strategies: Sequence[ImportableStrategyConfig] = (),
    controller: ImportableControllerConfig | None = None,
    bar_paths: Mapping[str, str] | None = None,
    bar_costs: Mapping[str, BarCosts] | None = None,
    network: NetworkConfig | None = None,
    funding: FundingPlan | None = None,
) -> BacktestRunConfig:
    """Return the Nautilus configuration of one run, on order books or on bars.

    What is set beside the arguments, and why:

    - ``book_type`` L2_MBP, ``trade_execution`` off: orders meet the recorded book, a reported trade moves
      nothing;
    - netting by strategy, one margin account a venue, no reduce-only enforcement (agents share the
      account);
    - the risk engine is bypassed: it would deny a closing order that has become smaller than the venue's
      smallest one, which venues take (reduce-only is no way out: agents share the account), and throttle at
      100 orders a second. What may be opened is decided by `risk.decide` and held by `ApexStrategy.enter`;
    - logging is bypassed, as it builds the text of every datum even at level ERROR; the portfolio analysis is
      off, as it takes quadratic time in trades (see also `open_engine`);
    - the engine is kept after the run (its cache holds orders and positions), and exceptions are raised.

    Parameters
    ----------
    catalog : path of the catalog.
    instrument_ids : what is traded; one venue account is opened for each venue among them.
    quote : currency of the account.
    balance : starting balance of each venue's account.
    leverage, fills : see `VenueConfig`.
    actors, strategies, controller : what runs in the node.
    bar_paths, bar_costs : on bars, instrument id to the clock of the bars that orders meet, and to its cost
        model. The venue is then given quotes (`bar_market`): its book is L1_MBP, a stop that lies in the
        market when it is placed is filled and not refused, and `fills` is not read.
    network : of the commands; the hubs of `actors` have the market data's. A `controller` must call
        `install_network` at its start.
    funding : settlements of the run, booked into the venue's account; see `engine.funding`.
    """
    fill_model = None
    modules: list[ImportableActorConfig] = []
    bars = bool(bar_paths)
    if bars:
        fill_model = ImportableFillModelConfig(
            fill_model_path=f"{_BAR_FILLS}:BarFillModel",
            config_path="nautilus_trader.backtest.config:FillModelConfig",
            config={},
        )
        modules.append(
            ImportableActorConfig(
                actor_path=f"{_BAR_FILLS}:BarCostModule",
                config_path=f"{_BAR_FILLS}:BarCostModuleConfig",
                config={
                    "paths": dict(bar_paths or {}),
                    "costs": msgspec.to_builtins(dict(bar_costs or {})),
                },
            )
        )
    elif fills == "touch":
        fill_model = ImportableFillModelConfig(
            fill_model_path=f"{_FILLS}:TouchFillModel",
            config_path="nautilus_trader.backtest.config:FillModelConfig",
            config={},
        )
    elif fills == "queue":
        fill_model = ImportableFillModelConfig(
            fill_model_path=f"{_QUEUE}:QueueFillModel",
            config_path="nautilus_trader.backtest.config:FillModelConfig",
            config={},
        )
        modules.append(
            ImportableActorConfig(
                actor_path=f"{_QUEUE}:QueueModule", config_path=f"{_QUEUE}:QueueModuleConfig", config={}
            )
        )
    pays = None if funding is None else funding_module(funding, on_bars=bars)
    if pays is not None:
        modules.append(pays)
    if network is not None:
        modules.append(network_module(network))
        controller = controller or network_controller()
    venues = list(dict.fromkeys(InstrumentId.from_str(i).venue.value for i in instrument_ids))
    return BacktestRunConfig(
        venues=[
            BacktestVenueConfig(
                name=venue,
                oms_type="NETTING",
                account_type="MARGIN",
                book_type="L1_MBP" if bars else "L2_MBP",
                reject_stop_orders=not bars,
                modules=modules or None,
                starting_balances=[f"{balance:.8f} {quote}"],
                default_leverage=leverage,
                fill_model=fill_model,
                trade_execution=False,
                bar_execution=False,
                use_reduce_only=False,
                liquidity_consumption=fills == "nautilus" and not bars,
            )
            for venue in venues
        ],
        data=[
            BacktestDataConfig(
                catalog_path=catalog,
                data_cls=(Bar if bars else OrderBookDelta).fully_qualified_name(),
                instrument_id=i,
            )
            for i in map(InstrumentId.from_str, instrument_ids)
        ],
        engine=BacktestEngineConfig(
            trader_id="APEX-001",
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            cache=CacheConfig(drop_instruments_on_reset=False),
            actors=list(actors),
            strategies=list(strategies),
            controller=controller,
            run_analysis=False,
        ),
        raise_exception=True,
        dispose_on_completion=False,
    )
