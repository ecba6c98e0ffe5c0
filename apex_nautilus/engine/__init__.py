"""Everything that is tied to one Nautilus version: feeds, the base of agents, run configurations,
backtests.

In: a Nautilus catalog and a run configuration (JSON), or a running node. Out: rows of features served to
agents, orders with their brackets, fills and trades as records, a result and a folder that keeps it.
Decisions are made elsewhere (`risk`, `genome`); this room translates. A new Nautilus version must cost a
change here and nowhere else.

- `FeedHub` decodes the market once an instrument and serves every agent.
- `ApexStrategy` is what every agent is built on; `spawn` and `remove_if_flat` bring agents into a running
  node and out.
- `load_config` and `run_backtest` run agents over recorded books; `nautilus_config`, `open_engine`,
  `run_market` and `batches` are the parts of it, for runs of another kind.
- `plan_funding` reads the rates of a run, `funding_module` books them at their settlements.
- `network` makes commands late and lossy for any strategy, and the hubs' market data late.
- `write_report` turns series, trades and events into one HTML file.
- `recording` (imported by its own name, as the venues' adapters take a while to load) listens to live feeds.
"""

from apex_nautilus.engine._agent_core import entry_timers
from apex_nautilus.engine.backtest import (
    AgentResult,
    BacktestResult,
    BarRun,
    bar_run,
    open_engine,
    run_backtest,
    run_market,
    run_span,
    summary,
)
from apex_nautilus.engine.bar_fills import BarCostModule, BarCostModuleConfig, BarFillModel
from apex_nautilus.engine.bar_hub import TOUCH_CLOCK, BarFeed, BarHub, BarHubConfig
from apex_nautilus.engine.bar_market import BAR_CLOCKS, bar_batches
from apex_nautilus.engine.base_strategy import AGENT_TOPIC, ApexStrategy, ApexStrategyConfig, Entry, Phase
from apex_nautilus.engine.config import (
    AgentConfig,
    BacktestConfig,
    BarsConfig,
    ConfigError,
    VenueConfig,
    absolute_bars,
    agent_config,
    bar_hub_config,
    check_bars,
    check_run,
    check_run_funding,
    check_run_network,
    hub_config,
    load_config,
    marks_config,
    nautilus_config,
    next_run_id,
    parse_time,
    read_config,
)
from apex_nautilus.engine.decode import EventDecoder
from apex_nautilus.engine.delays import DelayCounts, DelayReport, collect_delays, tell_delays
from apex_nautilus.engine.feed_hub import (
    Feed,
    FeedAgent,
    FeedHub,
    FeedHubConfig,
    Subscribe,
    Subscription,
    check_preload,
)
from apex_nautilus.engine.fill_model import TouchFillModel
from apex_nautilus.engine.funding import BarFundingModule, FundingModule, FundingModuleConfig, funding_module
from apex_nautilus.engine.funding_rates import (
    FundingCoverage,
    FundingPlan,
    FundingSetting,
    Settlement,
    plan_funding,
)
from apex_nautilus.engine.instruments import spec_of
from apex_nautilus.engine.lifecycle import remove_if_flat, spawn
from apex_nautilus.engine.market_data import MarketDataError, batches, data_span, quote_of
from apex_nautilus.engine.marks import MarkKeeper, MarkKeeperConfig
from apex_nautilus.engine.network import (
    NETWORK_TIMEOUT,
    Delay,
    FeedLink,
    NetworkConfig,
    NetworkController,
    NetworkModule,
    check_network,
    install_network,
    with_network,
)
from apex_nautilus.engine.order_guard import NOT_ITS_OWN, Refusal, install_guard
from apex_nautilus.engine.purge import purge_config
from apex_nautilus.engine.queue_fill_model import QueueFillModel, QueueModule, QueueModuleConfig
from apex_nautilus.engine.records import (
    FUNDING_TOPIC,
    FillRecord,
    FundingPayment,
    FundingRecord,
    TradeRecord,
)
from apex_nautilus.engine.report import Curve, Happening, ReportTable, write_report
from apex_nautilus.engine.tearsheet import TEARSHEET, TearsheetKeeper
from apex_nautilus.engine.trade_files import (
    Execution,
    Payment,
    read_events,
    read_executions,
    read_payments,
    read_settings,
    sessions,
)
from apex_nautilus.engine.trade_log import LOG_FOLDER, TradeLogger, TradeLoggerConfig, trade_log_config

__all__ = [
    "AGENT_TOPIC",
    "BAR_CLOCKS",
    "FUNDING_TOPIC",
    "LOG_FOLDER",
    "NETWORK_TIMEOUT",
    "NOT_ITS_OWN",
    "TEARSHEET",
    "TOUCH_CLOCK",
    "AgentConfig",
    "AgentResult",
    "ApexStrategy",
    "ApexStrategyConfig",
    "BacktestConfig",
    "BacktestResult",
    "BarCostModule",
    "BarCostModuleConfig",
    "BarFeed",
    "BarFillModel",
    "BarFundingModule",
    "BarHub",
    "BarHubConfig",
    "BarRun",
    "BarsConfig",
    "ConfigError",
    "Curve",
    "Delay",
    "DelayCounts",
    "DelayReport",
    "Entry",
    "EventDecoder",
    "Execution",
    "Feed",
    "FeedAgent",
    "FeedHub",
    "FeedHubConfig",
    "FeedLink",
    "FillRecord",
    "FundingCoverage",
    "FundingModule",
    "FundingModuleConfig",
    "FundingPayment",
    "FundingPlan",
    "FundingRecord",
    "FundingSetting",
    "Happening",
    "MarkKeeper",
    "MarkKeeperConfig",
    "MarketDataError",
    "NetworkConfig",
    "NetworkController",
    "NetworkModule",
    "Payment",
    "Phase",
    "QueueFillModel",
    "QueueModule",
    "QueueModuleConfig",
    "Refusal",
    "ReportTable",
    "Settlement",
    "Subscribe",
    "Subscription",
    "TearsheetKeeper",
    "TouchFillModel",
    "TradeLogger",
    "TradeLoggerConfig",
    "TradeRecord",
    "VenueConfig",
    "absolute_bars",
    "agent_config",
    "bar_batches",
    "bar_hub_config",
    "bar_run",
    "batches",
    "check_bars",
    "check_network",
    "check_preload",
    "check_run",
    "check_run_funding",
    "check_run_network",
    "collect_delays",
    "data_span",
    "entry_timers",
    "funding_module",
    "hub_config",
    "install_guard",
    "install_network",
    "load_config",
    "marks_config",
    "nautilus_config",
    "next_run_id",
    "open_engine",
    "parse_time",
    "plan_funding",
    "purge_config",
    "quote_of",
    "read_config",
    "read_events",
    "read_executions",
    "read_payments",
    "read_settings",
    "remove_if_flat",
    "run_backtest",
    "run_market",
    "run_span",
    "sessions",
    "spawn",
    "spec_of",
    "summary",
    "tell_delays",
    "trade_log_config",
    "with_network",
    "write_report",
]
