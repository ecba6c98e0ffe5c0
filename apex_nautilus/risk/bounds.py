"""The largest numbers of money that a configuration may ask for: beyond them something was mistyped."""

from __future__ import annotations

__all__ = ["MAX_LEVERAGE", "MAX_MONEY"]

MAX_LEVERAGE = 1_000.0
"""Notional over equity."""

MAX_MONEY = 1e12
"""Quote units in one account: doubles still tell cents apart there, and Nautilus can count it (to 1.7e13)."""
