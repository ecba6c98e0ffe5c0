"""Whether the agents' ledgers and the venue's account tell the same story.

Nautilus keeps one account a venue. The arena's ledgers are ours, so at every mark they are held against it:
``account = treasury + agents + shadows`` in cash, and, instrument by instrument, the sum of the agents'
positions = the venue's net position. Cash is the capital plus realised profit and loss less fees; what is
unrealised is in no account balance, and the equality of positions covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

__all__ = ["CENT", "Balance", "Reconciliation", "reconcile"]

CENT = 0.01


class Balance(msgspec.Struct, frozen=True):
    """One ledger at a mark: cash in USD, net position (signed base units) in `instrument_id`."""

    name: str
    cash: float
    instrument_id: str
    position: float


class Reconciliation(msgspec.Struct, frozen=True):
    """The comparison at a mark. `differences` is empty where everything agrees, one sentence a difference
    elsewhere."""

    account_cash: float
    ledger_cash: float
    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether cash agrees to the cent and every position exactly (to a millionth of a lot)."""
        return not self.differences


def reconcile(
    account_cash: float,
    treasury: float,
    balances: Iterable[Balance],
    venue_positions: Mapping[str, float],
    *,
    lots: Mapping[str, float],
) -> Reconciliation:
    """Compare the ledgers with the venue.

    Parameters
    ----------
    account_cash : float
        Total balance of the venue's account, USD.
    treasury : float
        Cash that belongs to no agent, USD.
    balances : iterable of Balance
        The ledger of every agent and shadow alive or closing.
    venue_positions : mapping of instrument id to signed base units
        The venue's net positions; instruments that are missing are flat.
    lots : mapping of instrument id to the lot in base units
        The unit in which positions are compared.

    Returns
    -------
    Reconciliation
        Cash differs when it is half a cent or more apart, a position when it is a millionth of a lot or more
        apart.
    """
    listed = list(balances)
    ledger_cash = treasury + sum(b.cash for b in listed)
    differences = []
    # Compared by "not less" so that a NaN on either side is a difference and not a silent pass.
    if not abs(account_cash - ledger_cash) < CENT / 2:
        parts = ", ".join(f"{b.name} {b.cash:.4f}" for b in listed)
        differences.append(
            f"cash: account {account_cash:.4f}, ledgers {ledger_cash:.4f} (treasury {treasury:.4f}"
            + (f", {parts})" if parts else ")")
        )
    held: dict[str, float] = {}
    for balance in listed:
        held[balance.instrument_id] = held.get(balance.instrument_id, 0.0) + balance.position
    for instrument_id in sorted(held.keys() | venue_positions.keys()):
        ours = held.get(instrument_id, 0.0)
        venue = venue_positions.get(instrument_id, 0.0)
        lot = lots.get(instrument_id, 1e-9)
        if not abs(ours - venue) < 1e-6 * lot:
            parts = ", ".join(
                f"{b.name} {b.position:.9g}"
                for b in listed
                if b.instrument_id == instrument_id and b.position != 0.0
            )
            differences.append(
                f"position {instrument_id}: venue {venue:.9g}, ledgers {ours:.9g}"
                + (f" ({parts})" if parts else "")
            )
    return Reconciliation(account_cash, ledger_cash, tuple(differences))
