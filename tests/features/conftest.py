"""Real and made-up markets for the tests of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from market_data import load_bars, load_book, rough_market

DATA = Path(__file__).resolve().parents[1] / "data" / "features"


@pytest.fixture(scope="session")
def real_events() -> np.ndarray:
    """96 s of a Binance perpetual: EVENT records at price precision 1, size precision 3."""
    return load_book(DATA / "btcusdt_perp_book.npz")


@pytest.fixture(scope="session")
def real_bars() -> dict[str, np.ndarray]:
    """4,000 one-minute candles by column, `ts_ns` the closing times."""
    return load_bars(DATA / "btcusdt_perp_1m.npz")


@pytest.fixture(scope="session")
def rough_events() -> np.ndarray:
    """A market with every irregularity: crossed, one-sided and emptied books, silence, time going back."""
    return rough_market(np.random.default_rng(11), 20_000)
