"""The venue's side of the reconciliation: what Nautilus says of the account, and since when it disagrees."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nautilus_trader.cache.base import CacheFacade
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Currency

from apex_nautilus.actors import records
from apex_nautilus.actors.reconciliation import reconcile
from apex_nautilus.actors.roster import Roster

__all__ = ["Audit"]


class Audit:
    """Holds the roster's ledgers against the venue's account.

    Parameters
    ----------
    cache : CacheFacade
        Of the node.
    roster : Roster
        All its instruments trade on one venue.
    currency : Currency
        Of the account.
    lots : mapping of instrument id to the lot in base units

    Attributes
    ----------
    agrees : bool
        What the latest look found; True before the first.
    mismatches : int
        How often agreement was lost.
    """

    def __init__(
        self, cache: CacheFacade, roster: Roster, currency: Currency, *, lots: Mapping[str, float]
    ) -> None:
        self._cache = cache
        self._roster = roster
        self._currency = currency
        self._lots = lots
        self._venue = InstrumentId.from_str(roster.instruments[0]).venue
        self.agrees = True
        self.mismatches = 0

    def look(self) -> records.Mismatch | records.Reconciled | None:
        """Compare now; return a line where agreement was lost or came back, else None."""
        found = reconcile(
            self.account_cash(),
            self._roster.treasury,
            (a.balance for a in self._roster.living()),
            self._venue_positions(),
            lots=self._lots,
        )
        if found.agrees == self.agrees:
            return None
        self.agrees = found.agrees
        if found.agrees:
            return records.Reconciled(account_cash=found.account_cash, ledger_cash=found.ledger_cash)
        self.mismatches += 1
        return records.Mismatch(
            account_cash=found.account_cash, ledger_cash=found.ledger_cash, differences=found.differences
        )

    def account_cash(self) -> float:
        """Total balance of the venue's account; nan while there is none."""
        account = self._cache.account_for_venue(self._venue)
        balance = None if account is None else account.balance_total(self._currency)
        return math.nan if balance is None else balance.as_double()

    def _venue_positions(self) -> dict[str, float]:
        held: dict[str, float] = {}
        for position in self._cache.positions_open():
            key = position.instrument_id.value
            held[key] = held.get(key, 0.0) + float(position.signed_decimal_qty())
        return held
