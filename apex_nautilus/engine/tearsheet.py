"""Nautilus's own tearsheet of a run: the venue's account and all positions closed on it, whoever traded them.

Nautilus makes it from the positions in its cache and from every state of the account, adding them to pandas
series one by one, which takes quadratic time. Here the few numbers that it needs are kept while the engine
runs (24 bytes a position, whether or not the cache lets go of it), the analyzer is given all of them at once,
and the page is made by Nautilus's `create_tearsheet_from_stats`. Two runs alike write the same bytes: times
of the process and random ids are left out.
"""

from __future__ import annotations

import os
import re
from array import array
from types import SimpleNamespace

import pandas as pd
from nautilus_trader.analysis import (
    PortfolioAnalyzer,
    TearsheetConfig,
    TearsheetDistributionChart,
    TearsheetDrawdownChart,
    TearsheetEquityChart,
    TearsheetRunInfoChart,
    TearsheetStatsTableChart,
)
from nautilus_trader.analysis.tearsheet import create_tearsheet_from_stats
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import AccountState, PositionClosed
from nautilus_trader.model.objects import AccountBalance, Currency, Money

from apex_nautilus.store.atomic import write_atomic

__all__ = ["TEARSHEET", "TearsheetKeeper"]

TEARSHEET = "tearsheet.html"
"""Name of the file beside a run's report."""

_DAY_NS = 86_400_000_000_000
_POINTS = 2_000
_INTRADAY = [TearsheetRunInfoChart(), TearsheetStatsTableChart(), TearsheetEquityChart(),
             TearsheetDrawdownChart(), TearsheetDistributionChart()]  # fmt: skip
"""Charts of a run within one day: the others speak of days, months and years."""

_DIV = re.compile(r'<div id="([0-9a-f-]{36})" class="plotly-graph-div"')
_LONG, _SHORT = SimpleNamespace(entry=OrderSide.BUY), SimpleNamespace(entry=OrderSide.SELL)


class TearsheetKeeper:
    """Listens to a backtest and writes its tearsheet.

    Life cycle: made before the engine runs, `write` after it ended, also when it was disposed of.

    Parameters
    ----------
    engine : BacktestEngine
    quote : str
        Currency of the account.
    """

    def __init__(self, engine: BacktestEngine, quote: str) -> None:
        self._engine = engine
        self._analyzer = PortfolioAnalyzer()
        for statistic in engine.portfolio.analyzer._statistics.values():
            self._analyzer.register_statistic(statistic)
        self._currency = Currency.from_str(quote)
        self._closed_ns, self._profits, self._returns = array("q"), array("d"), array("d")
        self._longs = 0
        # Of each account: the total at first, and the last balance told on each day. Not its number: Nautilus
        # changes the balance of an event that it has published, with the fee of the fill that follows.
        self._balances: dict[str, tuple[float, dict[int, AccountBalance]]] = {}
        msgbus = engine.kernel.msgbus
        msgbus.subscribe(topic="events.position.*", handler=self._on_position)
        msgbus.subscribe(topic="events.account.*", handler=self._on_account)

    def _on_position(self, event: object) -> None:
        if not isinstance(event, PositionClosed) or event.realized_pnl.currency != self._currency:
            return
        self._closed_ns.append(event.ts_event)
        self._profits.append(event.realized_pnl.as_double())
        self._returns.append(event.realized_return)
        self._longs += event.entry == OrderSide.BUY

    def _on_account(self, event: AccountState) -> None:
        for balance in event.balances:
            if balance.currency == self._currency:
                first = (balance.total.as_double(), {})
                _, days = self._balances.setdefault(event.account_id.value, first)
                days[event.ts_event // _DAY_NS] = balance

    def analyzer(self) -> PortfolioAnalyzer:
        """Nautilus's analyzer with all that was kept: as `calculate_statistics` leaves it when it is given
        the closed positions one by one."""
        analyzer = self._analyzer
        start, end = (Money(total, self._currency) for total in self._totals())
        analyzer._account_balances_starting = {self._currency: start}
        analyzer._account_balances = {self._currency: end}
        analyzer._realized_pnls = {self._currency: pd.Series(self._profits, dtype="float64")}
        analyzer._realized_pnl_timestamps = {self._currency: pd.Series(self._closed_ns, dtype="object")}
        analyzer._positions = [_LONG] * self._longs + [_SHORT] * (len(self._profits) - self._longs)
        analyzer._position_returns = self._position_returns()
        analyzer._portfolio_returns = self._daily_returns()
        analyzer._sync_returns_alias()
        return analyzer

    def write(self, path: str | os.PathLike[str], title: str) -> None:
        """Write the page; the file appears when it is complete and needs no network."""
        analyzer, engine = self.analyzer(), self._engine
        start, end = analyzer._account_balances_starting, analyzer._account_balances
        daily = analyzer.portfolio_returns()
        page = create_tearsheet_from_stats(
            run_info={
                "Backtest start": str(engine.backtest_start),
                "Backtest end": str(engine.backtest_end),
                "Backtest range": str(engine.backtest_end - engine.backtest_start),
                "Total positions": f"{len(self._profits):_}",
                "Returns are of": "the account, by day" if len(daily) else "positions, on their entry price",
            },
            account_info={
                f"Starting balance ({self._currency})": start[self._currency].to_formatted_str(),
                f"Ending balance ({self._currency})": end[self._currency].to_formatted_str(),
            },
            stats_pnls={str(self._currency): analyzer.get_performance_stats_pnls(self._currency)},
            stats_returns=analyzer.get_performance_stats_returns(),
            stats_general=analyzer.get_performance_stats_general(),
            returns=daily if len(daily) else _compounded(analyzer.position_returns()),
            title=title,
            config=TearsheetConfig(charts=TearsheetConfig().charts if len(daily) else _INTRADAY),
            output_path=None,
        )
        found = _DIV.search(page or "")
        if page is None or found is None:
            raise RuntimeError("Nautilus's tearsheet holds no plot; is plotly 6 installed?")
        write_atomic(path, page.replace(found.group(1), "tearsheet").encode())

    def _totals(self) -> tuple[float, float]:
        starts = sum(first for first, _ in self._balances.values())
        return starts, sum(days[max(days)].total.as_double() for _, days in self._balances.values())

    def _daily_returns(self) -> pd.Series:
        """Of the account, from one day's last balance to the next one's; empty within one day."""
        totals: pd.Series | None = None
        for _, days in self._balances.values():
            index = pd.DatetimeIndex([pd.Timestamp(d * _DAY_NS, tz="UTC") for d in sorted(days)])
            totals_of_days = [days[d].total.as_double() for d in sorted(days)]
            series = pd.Series(totals_of_days, index=index).resample("D").last().ffill()
            totals = series if totals is None else totals.add(series, fill_value=0.0)
        if totals is None:
            return pd.Series(dtype="float64")
        return totals.pct_change().replace([float("inf"), float("-inf")], float("nan")).dropna()

    def _position_returns(self) -> pd.Series:
        index = pd.to_datetime(self._closed_ns, utc=True)
        returns = pd.Series(self._returns, index=index, dtype="float64")
        return pd.Series(returns.groupby(level=0).sum())


def _compounded(returns: pd.Series) -> pd.Series:
    """At most `_POINTS` returns, neighbours taken together: more would only make the page large."""
    step = -(-len(returns) // _POINTS)
    if step <= 1:
        return returns
    group = pd.RangeIndex(len(returns)) // step
    compounded = (1.0 + returns).groupby(group).prod() - 1.0
    compounded.index = returns.index[step - 1 :: step].append(
        returns.index[-1:] if len(returns) % step else returns.index[:0]
    )
    return compounded
