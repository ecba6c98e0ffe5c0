"""Funding in a Nautilus backtest: at each settlement every open position of a perpetual pays or receives.

Nautilus has no funding of its own. A `FundingModule` among a venue's simulation modules books it into the
venue's account and tells each strategy its part (`FundingPayment`, on the message bus below `FUNDING_TOPIC`).

Who pays: whoever holds a position just before the settlement. On order books the module is woken in the last
nanosecond before it, ahead of all data, timers and commands of that moment and later. On bars (`on_bars`) the
settlement lies between two bars, as the opening of the next one has the time of its predecessor's close: what
a bar does counts, and what is entered at the next open does not.

At which price: the settlement's own mark where one was recorded, else the middle of the venue's book, or its
only side. Where the book is empty at that moment a position counts at its average entry.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec
from nautilus_trader.backtest.config import SimulationModuleConfig
from nautilus_trader.backtest.engine import SimulatedExchange
from nautilus_trader.backtest.modules import SimulationModule
from nautilus_trader.common.config import ImportableActorConfig
from nautilus_trader.common.events import TimeEvent
from nautilus_trader.core.data import Data
from nautilus_trader.model.data import Bar, QuoteTick
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Money
from nautilus_trader.model.position import Position

from apex_nautilus.engine.funding_rates import FundingPlan, Settlement
from apex_nautilus.engine.records import FUNDING_TOPIC, FundingPayment
from apex_nautilus.risk.funding import funding_payment

__all__ = ["BarFundingModule", "FundingModule", "FundingModuleConfig", "funding_module"]


class FundingModuleConfig(SimulationModuleConfig, frozen=True, kw_only=True):
    """Configuration of a `FundingModule`.

    Parameters
    ----------
    settlements : dict of str to list of Settlement
        Instrument id to its settlements, in order of time. Those of other venues are passed over.
    """

    settlements: dict[str, list[Settlement]]


class FundingModule(SimulationModule):
    """Books the funding of one venue's perpetuals, where orders meet recorded books."""

    _lead_ns = 1

    def __init__(self, config: FundingModuleConfig) -> None:
        super().__init__(config)
        self._all = config.settlements
        self._due: dict[InstrumentId, deque[Settlement]] = {}
        self._is_armed = False
        self._alerts = 0

    def register_venue(self, exchange: SimulatedExchange) -> None:
        """Take the settlements of this venue's instruments."""
        super().register_venue(exchange)
        self._due = {
            instrument_id: deque(settlements)
            for instrument_id, settlements in ((InstrumentId.from_str(i), s) for i, s in self._all.items())
            if instrument_id.venue == exchange.id
        }

    def process(self, ts_now: int) -> None:
        """Set the first alert, when the clock stands at the data's beginning; called after every datum."""
        if not self._is_armed:
            self._is_armed = True
            for settlements in self._due.values():
                while settlements and settlements[0].ts_ns <= ts_now:
                    settlements.popleft()
            self._arm()

    def _arm(self) -> None:
        first = min((s[0].ts_ns for s in self._due.values() if s), default=None)
        if first is not None:
            self._alerts += 1
            self.clock.set_time_alert_ns(
                f"funding-{self.exchange.id}-{self._alerts}",
                first - self._lead_ns,
                self._on_alert,
                allow_past=True,
            )

    def _on_alert(self, event: TimeEvent) -> None:
        for instrument_id in self._due:
            self._settle_due(instrument_id, event.ts_event + self._lead_ns)
        self._arm()

    def _settle_due(self, instrument_id: InstrumentId, now_ns: int) -> None:
        settlements = self._due[instrument_id]
        while settlements and settlements[0].ts_ns <= now_ns:
            self._settle(instrument_id, settlements.popleft())

    def _settle(self, instrument_id: InstrumentId, settlement: Settlement) -> None:
        held = self.exchange.cache.positions_open(venue=self.exchange.id, instrument_id=instrument_id)
        payments = []
        for position in sorted(held, key=lambda p: p.id.value):
            currency = position.settlement_currency
            quantity = float(position.signed_decimal_qty())
            mark = self._mark(settlement, position)
            amount = funding_payment(
                quantity,
                mark,
                settlement.rate,
                decimals=currency.precision,
                multiplier=float(position.multiplier.as_decimal()),
            )
            if amount != 0.0:
                payments.append(
                    FundingPayment(
                        ts_ns=settlement.ts_ns,
                        account_id=position.account_id.value,
                        strategy_id=position.strategy_id.value,
                        instrument_id=instrument_id.value,
                        position_id=position.id.value,
                        quantity=quantity,
                        mark=mark,
                        rate=settlement.rate,
                        amount=amount,
                        currency=currency.code,
                    )
                )
        if not payments:
            return
        currency = held[0].settlement_currency
        # Each is a whole number of the currency's units: their sum in decimals is exact.
        total = sum(Decimal(f"{p.amount:.{currency.precision}f}") for p in payments)
        if total:
            self.exchange.adjust_account(Money(total, currency))
        for payment in payments:
            self.msgbus.publish(topic=f"{FUNDING_TOPIC}.{payment.strategy_id}", msg=payment)

    def _mark(self, settlement: Settlement, position: Position) -> float:
        if settlement.mark is not None:
            return settlement.mark
        book = self.exchange.get_book(position.instrument_id)
        sides = [] if book is None else [book.best_bid_price(), book.best_ask_price()]
        there = [float(price.as_decimal()) for price in sides if price is not None]
        return sum(there) / len(there) if there else position.avg_px_open

    def log_diagnostics(self, logger: object) -> None:
        """Nothing to say: every payment was published."""

    def reset(self) -> None:
        """Begin again at the first settlement."""
        self.register_venue(self.exchange)
        self._is_armed = False


class BarFundingModule(FundingModule):
    """The same where the venue is given the quotes of `bar_market`."""

    _lead_ns = 0

    def __init__(self, config: FundingModuleConfig) -> None:
        super().__init__(config)
        self._closed: set[InstrumentId] = set()

    def pre_process(self, data: Data) -> None:
        """Settle between a bar and the opening of the next, before the venue sees the opening."""
        kind = type(data)
        if kind is QuoteTick:
            if data.instrument_id in self._closed:
                self._closed.discard(data.instrument_id)
                self._settle_due(data.instrument_id, data.ts_init)
        elif kind is Bar and data.bar_type.instrument_id in self._due:
            self._closed.add(data.bar_type.instrument_id)


def funding_module(plan: FundingPlan, *, on_bars: bool) -> ImportableActorConfig | None:
    """The module of a run's venues; None where no settlement is due."""
    if not any(plan.settlements.values()):
        return None
    return ImportableActorConfig(
        actor_path=f"{__name__}:{'BarFundingModule' if on_bars else 'FundingModule'}",
        config_path=f"{__name__}:FundingModuleConfig",
        config={"settlements": msgspec.to_builtins(plan.settlements)},
    )
