"""Factors of the market as a whole or of an instrument, as venues and data services publish them."""

from __future__ import annotations

import math
from typing import Final

from apex_nautilus.features.registry import PUBLISHED, FeatureSpec, register

_HOUR: Final = 3_600_000_000_000
_DAY: Final = 24 * _HOUR


def _factor(
    name: str,
    unit: str,
    low: float,
    high: float,
    neutral: float,
    stale_after_ns: int,
    formula: str,
    source: str,
) -> None:
    register(
        FeatureSpec(
            name=name,
            kind="external",
            unit=unit,
            low=low,
            high=high,
            inputs=("published",),
            formula=formula,
            source=source,
            kernels=PUBLISHED,
            neutral=neutral,
            stale_after_ns=stale_after_ns,
        )
    )


# Three settlements may be missed: a venue that pays every 8 h is given a day.
_factor(
    "funding_rate", "share of the position", -1.0, 1.0, 0.0, _DAY,
    "funding paid by longs at the last settlement of this instrument", "the instrument's venue",
)  # fmt: skip
_factor(
    "funding_daily_mean", "share of the position", -1.0, 1.0, 0.0, 3 * _DAY,
    "mean of the day's funding rates of BTC's perpetual", "daily factors",
)  # fmt: skip
# Without a reading: calm, below every threshold that a rule is likely to set.
_factor(
    "dvol", "% a year", 0.0, math.inf, 50.0, 6 * _HOUR,
    "implied volatility of BTC over the next 30 days", "Deribit DVOL",
)  # fmt: skip
_factor(
    "fear_greed", "index", 0.0, 100.0, 50.0, 3 * _DAY,
    "crypto fear and greed index of the last whole day; 0 fear, 100 greed", "alternative.me",
)  # fmt: skip
_factor(
    "taker_ratio", "ratio", 0.0, math.inf, 1.0, 6 * _HOUR,
    "volume of taker buys / volume of taker sells", "the venue's statistics of futures",
)  # fmt: skip
# Exchanges close for a weekend and a holiday on either side of it.
_factor(
    "vix", "% a year", 0.0, math.inf, 20.0, 6 * _DAY,
    "implied volatility of the S&P 500 over the next 30 days, at the close", "Cboe VIX",
)  # fmt: skip
_factor(
    "dxy", "index", 0.0, math.inf, 100.0, 6 * _DAY,
    "US dollar against six currencies, at the close; 100 in March 1973", "ICE U.S. Dollar Index",
)  # fmt: skip
