"""What goes wrong with market data, by kind."""

from __future__ import annotations

__all__ = ["DataError", "DatasetError", "ImportRefused"]


class DataError(Exception):
    """Base of all errors of this room; the message says what, where and how to mend it."""


class ImportRefused(DataError):
    """A source that cannot be imported: unreadable, or with more bad rows than the caller allows."""


class DatasetError(DataError):
    """A dataset that cannot be built, opened or split as asked."""
