"""What can go wrong in the Forge."""

from __future__ import annotations

__all__ = ["ForgeError"]


class ForgeError(Exception):
    """A study cannot be run as asked; the message says what is wrong and how to mend it."""
