"""The trade logger: an audit trail made of order events and funding payments, beside whatever the strategies
and ledgers say.

It listens to the message bus, in a backtest as in a live node, and asks no cache, no portfolio and no
strategy: what it writes is what was told. What strategies tell of positions that they closed (the decision,
the split of the costs) has a file of its own. See `trade_files` for the files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, ImportableActorConfig
from nautilus_trader.model.enums import liquidity_side_to_str, order_side_to_str, order_type_to_str
from nautilus_trader.model.events import OrderEvent, OrderFilled

from apex_nautilus.engine.records import FUNDING_TOPIC, TRADES_TOPIC, FundingPayment, TradeRecord
from apex_nautilus.engine.trade_files import ClosedTrade, Execution, Payment, TradeFiles

__all__ = ["LOG_FOLDER", "TradeLogger", "TradeLoggerConfig", "trade_log_config"]

LOG_FOLDER = Path("logs", "paper_trading")
"""Where the log lies in the folder of a run."""
_TOPICS = ("events.order.*", f"{FUNDING_TOPIC}.*", f"{TRADES_TOPIC}.*")
type _Told = OrderEvent | FundingPayment | TradeRecord
_CLOSED = tuple(sorted(set(ClosedTrade.__struct_fields__) & set(TradeRecord.__struct_fields__)))
# Ids that Nautilus draws at random, and times of this process: neither belongs to what happened.
_DROPPED = frozenset(("type", "event_id", "init_id", "ts_init", "ts_event", "info", "trader_id"))


class TradeLoggerConfig(ActorConfig, frozen=True, kw_only=True):
    """Configuration of a `TradeLogger`.

    Parameters
    ----------
    folder : str
        Where the files are written.
    session : str
        Names the run.
    desk : str
        Whose trades these are.
    settings : dict
        What the session runs with.
    sync_every : int
        Lines between two flushes to the disk; 1 for money.
    """

    folder: str
    session: str
    desk: str
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    sync_every: int = 64


class TradeLogger(Actor):
    """Writes every order event and funding payment of the node, and every execution once.

    A line that a full disk refuses is kept and written before the next one; the node trades on and the log
    says so.
    """

    def __init__(self, config: TradeLoggerConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._files: TradeFiles | None = None
        self._waiting: list[_Told] = []
        self._is_half_written = False  # the first that waits is in the CSV file already

    def on_start(self) -> None:
        """Open the files and listen."""
        config = self._settings
        self._files = TradeFiles(
            config.folder, config.session, config.desk, config.settings, sync_every=config.sync_every
        )
        for topic in _TOPICS:
            self.msgbus.subscribe(topic=topic, handler=self._on_event)

    def on_stop(self) -> None:
        """Flush. What strategies do while the node stops is still written."""
        if self._files is not None:
            self._write([])
            self._files.flush()

    def on_dispose(self) -> None:
        """Close the files."""
        if self._files is not None:
            for topic in _TOPICS:
                self.msgbus.unsubscribe(topic=topic, handler=self._on_event)
            self._write([])
            self._files.close()
            self._files = None

    def _on_event(self, event: _Told) -> None:
        self._write([event])

    def _write(self, fresh: list[_Told]) -> None:
        self._waiting += fresh
        files = self._files
        while files is not None and self._waiting:
            event = self._waiting[0]
            try:
                if not self._is_half_written and not self._in_table(files, event):
                    self._waiting.pop(0)  # told again
                    continue
                if isinstance(event, FundingPayment):
                    files.event(event.ts_ns, "FundingPaid", _payment_fields(event))
                elif isinstance(event, TradeRecord):
                    files.event(event.exit_ts_ns, "TradeClosed", msgspec.structs.asdict(event))
                else:
                    files.event(event.ts_event, type(event).__name__, _fields(event))
            except OSError as error:
                self.log.error(f"{len(self._waiting)} events wait to be logged in {files.folder}: {error}")
                return
            self._is_half_written = False
            self._waiting.pop(0)

    def _in_table(self, files: TradeFiles, event: _Told) -> bool:
        """Write the line of what has a table; False where it was written before."""
        if isinstance(event, OrderFilled):
            is_new = files.execution(self._execution(event))
        elif isinstance(event, FundingPayment):
            is_new = files.payment(self._payment(event))
        elif isinstance(event, TradeRecord):
            is_new = files.closed(self._closed(event))
        else:
            return True
        self._is_half_written = is_new
        return is_new

    def _closed(self, trade: TradeRecord) -> ClosedTrade:
        told = {name: getattr(trade, name) for name in _CLOSED}
        names = {"session": self._settings.session, "desk": self._settings.desk}
        return ClosedTrade(ts_ns=trade.exit_ts_ns, **names, **told)

    def _payment(self, event: FundingPayment) -> Payment:
        numbers = {name: Decimal(repr(getattr(event, name))) for name in ("quantity", "mark", "rate")}
        return Payment(
            ts_ns=event.ts_ns,
            session=self._settings.session,
            desk=self._settings.desk,
            account_id=event.account_id,
            strategy_id=event.strategy_id,
            instrument_id=event.instrument_id,
            position_id=event.position_id,
            funding=Decimal(repr(event.amount)),
            currency=event.currency,
            **numbers,
        )

    def _execution(self, event: OrderFilled) -> Execution:
        return Execution(
            ts_ns=event.ts_event,
            session=self._settings.session,
            desk=self._settings.desk,
            account_id=_text(event.account_id),
            strategy_id=_text(event.strategy_id),
            instrument_id=_text(event.instrument_id),
            client_order_id=_text(event.client_order_id),
            venue_order_id=_text(event.venue_order_id),
            trade_id=_text(event.trade_id),
            position_id=_text(event.position_id),
            side=order_side_to_str(event.order_side),
            order_type=order_type_to_str(event.order_type),
            liquidity=liquidity_side_to_str(event.liquidity_side),
            quantity=Decimal(str(event.last_qty)),
            price=Decimal(str(event.last_px)),
            currency=event.currency.code,
            commission=event.commission.as_decimal(),
            commission_currency=event.commission.currency.code,
            reconciliation=event.reconciliation,
        )


def trade_log_config(
    folder: str | os.PathLike[str],
    *,
    session: str,
    desk: str,
    settings: Mapping[str, Any],
    sync_every: int = 64,
) -> ImportableActorConfig:
    """The logger of a run, for `nautilus_config`; paths of this machine are cut to their last part.

    Parameters
    ----------
    folder : of the run; the log is below it, in `LOG_FOLDER`.
    session, desk, settings, sync_every : see `TradeLoggerConfig`.
    """
    return ImportableActorConfig(
        actor_path=f"{__name__}:TradeLogger",
        config_path=f"{__name__}:TradeLoggerConfig",
        config={
            "component_id": "TradeLogger",
            "folder": str(Path(folder) / LOG_FOLDER),
            "session": session,
            "desk": desk,
            "settings": _portable(dict(settings)),
            "sync_every": sync_every,
        },
    )


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, str) and os.path.isabs(value):
        return os.path.basename(value.rstrip("/"))
    return value


def _text(value: Any) -> str:
    return "" if value is None else value.value


def _payment_fields(event: FundingPayment) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    del fields["ts_ns"]  # a column of every line
    return fields


def _fields(event: OrderEvent) -> dict[str, Any]:
    return {key: value for key, value in type(event).to_dict(event).items() if key not in _DROPPED}
