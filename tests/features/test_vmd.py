"""Mode decomposition: as the published code has it, and without repainting the past."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vmdpy import VMD

from apex_nautilus.features import FeatureError, batch_bars, get
from apex_nautilus.features.registry import place_states
from apex_nautilus.features.vmd import ALPHA, MAX_ITERATIONS, TOLERANCE, last_values

FAMILY = tuple(
    f"vmd_{mode}_{what}" for mode, what in (("trend", "bps"), ("slow", "bps"), ("fast", "bps"))
) + tuple(f"vmd_{mode}_energy" for mode in ("trend", "slow", "fast"))
WINDOW = 64
MINUTE = 60_000_000_000


def bars_of(closes):
    closes = np.asarray(closes, dtype=float)
    ts = 1_700_000_040_000_000_000 + MINUTE * np.arange(len(closes))
    return [ts, closes, closes, closes, closes, np.ones(len(closes))]


def walk(seed, n):
    steps = np.random.default_rng(seed).normal(0.0, 1.0, n)
    signal = np.cumsum(steps)
    return (signal - signal.mean()) / signal.std()


def peer(signal, modes, tolerance):
    """Last values and centre frequencies by vmdpy, slow modes first."""
    u, _, omega = VMD(signal, ALPHA, 0.0, modes, 0, 1, tolerance)
    order = np.argsort(omega[-1], kind="stable")
    return u[order, -1], omega[-1][order]


@pytest.mark.parametrize(("n", "modes"), [(64, 3), (32, 2), (50, 4), (128, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_the_modes_are_those_of_the_published_code(n, modes, seed):
    signal = walk(seed, n)
    # It stops after 499 rounds and gives the modes of the one before the last.
    ours = last_values(signal, modes, ALPHA, 0.0, 498)
    values, centres = peer(signal, modes, 0.0)
    np.testing.assert_allclose(ours[:, 0], values, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours[:, 2], centres, rtol=1e-4, atol=1e-6)


def test_the_features_are_those_of_the_published_code_on_real_bars(real_bars):
    columns = [real_bars[c] for c in ("ts_ns", "open", "high", "low", "close", "volume")]
    rows = batch_bars(*columns, FAMILY, "1m").features
    logs = np.log(real_bars["close"])
    for k in range(WINDOW - 1, len(logs), 131):
        window = logs[k - WINDOW + 1 : k + 1]
        spread = window.std()
        values, _ = peer((window - window.mean()) / spread, 3, TOLERANCE)
        expected = 1e4 * spread * values
        expected[0] -= 1e4 * (window[-1] - window.mean())
        # It settles to a squared change of 1e-7 a sample and leaves out its last step.
        np.testing.assert_allclose(rows[k, :3], expected, atol=1e4 * spread * 0.02)
        assert rows[k, 3:].sum() == pytest.approx(1.0)


def test_a_series_decomposed_whole_repaints_its_past_and_the_features_do_not(real_bars):
    logs = np.log(real_bars["close"][:600])
    shorter, _, _ = VMD(logs[:500], ALPHA, 0.0, 3, 0, 1, 1e-7)
    longer, _, _ = VMD(logs, ALPHA, 0.0, 3, 0, 1, 1e-7)
    repainted = 1e4 * np.abs(longer[0, :500] - shorter[0, :500])
    assert repainted[-1] > 1.0  # basis points, of the value that would have been traded on
    columns = [real_bars[c][:600] for c in ("ts_ns", "open", "high", "low", "close", "volume")]
    part = batch_bars(*(c[:500] for c in columns), FAMILY, "1m").features
    whole = batch_bars(*columns, FAMILY, "1m").features
    assert whole[:500].tobytes() == part.tobytes()


def test_a_swing_of_known_period_is_found():
    t = np.arange(WINDOW)
    signal = np.cos(np.pi * (2 * t + 1) / 128) + 0.5 * np.cos(np.pi * 16 * (2 * t + 1) / 128)
    modes = last_values(signal, 2, ALPHA, 1e-12, 5_000)
    # Both are bins of the mirrored window: half a period, and eight of them, in 64 samples.
    assert modes[1, 2] == pytest.approx(8 / 64, rel=1e-3)
    assert modes[1, 0] == pytest.approx(0.5 * np.cos(np.pi * 16 * 127 / 128), rel=0.02)
    assert modes[0, 1] / modes[:, 1].sum() == pytest.approx(4 / 5, rel=0.1)


def test_a_price_above_its_trend_has_a_trend_below_it():
    flat = np.full(200, 100.0)
    jump = flat.copy()
    jump[-1] = 101.0
    rows = batch_bars(*bars_of(jump), FAMILY, "1m").features
    assert (rows[:-1] == 0.0).all()  # a flat window has no modes
    assert -100.0 < rows[-1, 0] < -50.0


@settings(max_examples=30)
@given(st.floats(1e-6, 1e6), st.integers(0, 1_000))
def test_the_features_do_not_depend_on_the_price_level(factor, seed):
    closes = np.exp(1e-3 * np.cumsum(np.random.default_rng(seed).normal(size=WINDOW)))
    one = batch_bars(*bars_of(closes), FAMILY, "1m").features[-1]
    other = batch_bars(*bars_of(closes * factor), FAMILY, "1m").features[-1]
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_the_family_is_computed_once_and_alone_gives_the_same_bits(real_bars):
    columns = [real_bars[c][:400] for c in ("ts_ns", "open", "high", "low", "close", "volume")]
    together = batch_bars(*columns, FAMILY, "1m").features
    backwards = batch_bars(*columns, FAMILY[::-1], "1m").features
    assert together[:, ::-1].tobytes() == backwards.tobytes()
    for column, name in enumerate(FAMILY):
        alone = batch_bars(*columns, [name], "1m").features
        assert alone[:, 0].tobytes() == together[:, column].tobytes()
    specs = [get(name) for name in FAMILY]
    places, end = place_states(specs, 100)
    assert places == [100] * len(specs)
    assert end == 100 + specs[0].kernels.state_size


def test_features_that_share_a_state_must_agree_on_it():
    spec = get(FAMILY[0])
    larger = dataclasses.replace(spec.kernels, state_size=spec.kernels.state_size + 1)
    odd = dataclasses.replace(spec, name="odd", kernels=larger)
    with pytest.raises(FeatureError, match="'vmd_trend_bps' and 'odd' share the state 'vmd' but differ"):
        place_states([spec, odd], 0)


def test_it_stops_where_it_is_told():
    signal = walk(1, WINDOW)
    few = last_values(signal, 3, ALPHA, TOLERANCE, 2)
    many = last_values(signal, 3, ALPHA, TOLERANCE, MAX_ITERATIONS)
    assert np.isfinite(few).all()
    assert not np.allclose(few[:, 0], many[:, 0])
