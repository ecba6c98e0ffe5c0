"""What can go wrong with files that last."""

from __future__ import annotations

import msgspec

__all__ = ["NOT_JSON", "LedgerError", "StoreError"]

NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that are not the JSON expected may raise; nesting too deep to follow among them."""


class StoreError(Exception):
    """A file or name of the catalog is not what it must be; the message says which and how to mend it."""


class LedgerError(StoreError):
    """A ledger is damaged beyond a torn last line, or two processes write to one file."""
