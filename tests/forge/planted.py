"""A small market with a known edge, and one without: datasets made by hand, row by row."""

from __future__ import annotations

import hashlib

import numpy as np

from apex_nautilus.data import Dataset, DatasetCard
from apex_nautilus.risk import InstrumentSpec

INSTRUMENT = InstrumentSpec(
    id="BTCUSDT-LINEAR.SIM",
    base="BTC",
    quote="USDT",
    price_precision=1,
    size_precision=3,
    tick=0.1,
    lot=0.001,
    min_qty=0.001,
    min_notional=5.0,
    maker_fee=0.0,
    taker_fee=0.0001,
)
#: Names of real features, so that genomes bred here decode with the registry; the numbers are made up.
FEATURES = ("imbalance", "pressure", "clv", "ofi_1")


def market(n: int = 6000, *, edge: float = 0.6, seed: int = 1) -> Dataset:
    """One row a second; a persistent state, seen as the feature `imbalance`, pushes the price by `edge` bps a
    row.

    The other features are noise. With ``edge=0`` there is nothing to be found.
    """
    rng = np.random.default_rng(seed)
    state = np.zeros(n)
    for i in range(1, n):
        state[i] = 0.98 * state[i - 1] + 0.2 * rng.normal()
    state = np.tanh(state)
    returns = 1e-4 * (edge * np.roll(state, 1) + rng.normal(size=n))
    mid = np.round(60_000.0 * np.exp(np.cumsum(returns)), 1)
    start = 1_700_000_000 * 10**9
    ts_ns = start + np.arange(n, dtype=np.int64) * 10**9
    bid, ask = mid - 0.1, mid + 0.1
    depth = np.empty((n, 4, 5))
    for level in range(5):
        depth[:, 0, level], depth[:, 2, level] = bid - 0.1 * level, ask + 0.1 * level
    depth[:, 1], depth[:, 3] = 5.0, 5.0
    features = np.column_stack([state, *(rng.normal(size=n) for _ in FEATURES[1:])])
    card = DatasetCard(
        id=hashlib.sha256(f"planted {n} {edge} {seed}".encode()).hexdigest(),
        instrument=INSTRUMENT,
        clock="1s",
        feature_names=FEATURES,
        path="book",
        source="planted",
        span_ns=(int(ts_ns[0]), int(ts_ns[-1])),
        counts={"rows": n},
    )
    return Dataset(
        card=card,
        ts_ns=ts_ns,
        features=np.ascontiguousarray(features),
        mid=mid,
        row_event=np.arange(n, dtype=np.int64),
        path_ts_ns=ts_ns,
        path_bid=bid,
        path_ask=ask,
        path_depth=depth,
    )
