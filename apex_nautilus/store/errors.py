"""What can go wrong with files that last."""

from __future__ import annotations

__all__ = ["LedgerError", "StoreError"]


class StoreError(Exception):
    """A file or name of the catalog is not what it must be; the message says which and how to mend it."""


class LedgerError(StoreError):
    """A ledger is damaged beyond a torn last line, or two processes write to one file."""
