"""Keys in the environment: which are there, by name alone."""

from __future__ import annotations

from collections.abc import Iterator

from apex_nautilus.cli._configs.secrets import is_secret_name
from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]

_VENUES = ("BINANCE", "BYBIT", "COINBASE", "KRAKEN", "OKX", "HYPERLIQUID", "DERIBIT", "APEX")


def check(place: Place) -> Iterator[Finding]:
    names = sorted(n for n in place.environment if n.upper().startswith(_VENUES) and is_secret_name(n))
    empty = [name for name in names if not place.environment[name].strip()]
    if empty:
        yield Finding("keys", "warn", f"set, but empty: {', '.join(empty)}", "set them, or unset them")
    held = [name for name in names if name not in empty]
    if held or not empty:
        yield Finding(
            "keys", "ok", ", ".join(held) or "none in the environment; data and backtests need none"
        )
