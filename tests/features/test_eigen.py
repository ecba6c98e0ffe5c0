"""The eigen scan: equal to its definition, live as in a batch, never locked onto the wrong mode."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_eigen import ranks, slow_scans

from apex_nautilus.features import FeatureError
from apex_nautilus.features import _eigen_leading as eigen_leading
from apex_nautilus.features._eigen_products import drift_bound
from apex_nautilus.features.eigen import (
    EIGEN_WINDOWS,
    EigenConfig,
    EigenScanner,
    external_values,
    scan_prices,
)
from apex_nautilus.features.external.eigen_outputs import EIGEN_FEATURES
from apex_nautilus.stats.marchenko_pastur import marchenko_pastur_edges

SMALL = EigenConfig(windows=(10, 20, 40, 60), regime_window=40, null_every=0)
N = 12


def walk(seed: int, t: int, n: int = N, common: float = 0.7, scale: float = 1e-3) -> np.ndarray:
    """Prices of n assets that share one factor."""
    rng = np.random.default_rng(seed)
    moves = common * rng.normal(size=(t, 1)) + np.sqrt(1 - common**2) * rng.normal(size=(t, n))
    return 100.0 * np.cumprod(1.0 + scale * moves, axis=0) * rng.uniform(0.01, 100, size=n)


def clock(t: int) -> np.ndarray:
    return 1_700_000_000_000_000_000 + 5_000_000_000 * np.arange(t)


def assert_same(found, expected, *, atol=1e-12):
    assert found.row.tolist() == [e["row"] for e in expected]
    for name, tolerance in (
        ("lambda_max", atol), ("velocity", 2 * atol), ("vel_div", 4 * atol), ("rotation", 2e-8)
    ):  # fmt: skip
        np.testing.assert_allclose(
            found.records[name], [e[name] for e in expected], rtol=0, atol=tolerance, err_msg=name
        )
    assert found.records["members"].tolist() == [e["members"].sum(axis=1).tolist() for e in expected]
    assert found.records["members_changed"].tolist() == [e["changed"] for e in expected]


@pytest.mark.parametrize("common", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("span", [1.0, 5.0])
def test_a_scan_is_what_its_definition_says(common, span):
    config = dataclasses.replace(SMALL, velocity_span=span, spectrum=True)
    prices = walk(1, 700, common=common)
    expected = slow_scans(prices, np.ones(prices.shape, dtype=bool), config)
    found = scan_prices(prices, clock(700), config, loadings=True)
    assert len(expected) == 700 - 60 - 1
    assert_same(found, expected)
    np.testing.assert_allclose(found.spectrum, [e["spectrum"] for e in expected], rtol=0, atol=1e-12)
    if common >= 0.7:  # else the leading vector is not determined to more than the root of the gap
        np.testing.assert_allclose(found.loadings, [e["loadings"] for e in expected], rtol=0, atol=1e-6)
    for k in range(4):
        np.testing.assert_array_equal(
            found.records["instability"][:, k], ranks(found.records["velocity"][:, k])
        )
    np.testing.assert_allclose(
        found.records["instability_composite"], found.records["instability"].mean(axis=1), atol=1e-15
    )
    assert (found.records["scan_number"] == np.arange(1, len(expected) + 1)).all()
    assert (found.records["timestamp_ns"] == clock(700)[found.row]).all()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    missing=st.floats(0.0, 0.3),
    outages=st.lists(st.tuples(st.integers(0, 199), st.integers(1, 30), st.integers(2, N)), max_size=4),
    constant=st.integers(0, 3),
    duplicates=st.integers(0, 3),
    shock=st.sampled_from([0.0, 0.5, 50.0, 1e4]),
)
def test_masks_holes_constants_and_duplicates_are_what_the_definition_says(
    seed, missing, outages, constant, duplicates, shock
):
    rng = np.random.default_rng(seed)
    prices = walk(seed, 200)
    fresh = rng.uniform(size=prices.shape) >= missing * 0.3
    for start, length, width in outages:
        fresh[start : start + length, :width] = False
    prices[:, :constant] = prices[0, :constant]
    if shock:
        prices[int(rng.integers(200)) :, 5] *= 1.0 + shock
    for i in range(duplicates):
        prices[:, N - 1 - i] = prices[:, 4]
    holes = rng.uniform(size=prices.shape) < 0.02
    prices[holes] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0], size=holes.sum())
    expected = slow_scans(prices, fresh, SMALL)
    scanner = EigenScanner(N, SMALL)
    found = scanner.scan_many(prices, clock(200), fresh=fresh)
    assert_same(found, expected)
    counts = scanner.counts
    assert counts["published"] == len(expected)
    assert counts["published"] + counts["warming"] + counts["stale"] + counts["thin"] == 200
    for name in found.records.dtype.names:
        assert np.isfinite(found.records[name]).all(), name


@pytest.mark.parametrize("spectrum", [False, True])
def test_live_gives_the_bits_of_the_batch(spectrum):
    config = dataclasses.replace(SMALL, null_every=50, seed=9, spectrum=spectrum, velocity_span=3.0)
    prices = walk(3, 320)
    rng = np.random.default_rng(0)
    fresh = rng.uniform(size=prices.shape) > 0.02
    fresh[200:205, :8] = False
    whole = scan_prices(prices, clock(320), config, fresh=fresh, loadings=True)
    live = EigenScanner(N, config)
    scans = [s for t in range(320) if (s := live.scan(prices[t], clock(320)[t], fresh=fresh[t])) is not None]
    parts = EigenScanner(N, config)
    pieces = [
        parts.scan_many(prices[a:b], clock(320)[a:b], fresh=fresh[a:b]).records
        for a, b in ((0, 7), (7, 7), (7, 150), (150, 320))
    ]
    assert len(scans) == len(whole.records) > 200
    assert b"".join(s.record.tobytes() for s in scans) == whole.records.tobytes()
    assert np.concatenate(pieces).tobytes() == whole.records.tobytes()
    assert np.stack([s.loadings for s in scans]).tobytes() == whole.loadings.tobytes()
    if spectrum:
        assert np.stack([s.spectrum for s in scans]).tobytes() == whole.spectrum.tobytes()


def test_the_future_moves_nothing():
    prices = walk(4, 300)
    changed = prices.copy()
    changed[200:] *= np.random.default_rng(1).uniform(0.5, 2.0, size=(100, N))
    a, b = (scan_prices(p, clock(300), SMALL) for p in (prices, changed))
    before = a.row < 200
    assert before.sum() == 200 - 61
    assert a.records[before].tobytes() == b.records[before].tobytes()
    assert a.records[~before].tobytes() != b.records[~before].tobytes()


def crossing(t: int, orthogonal: bool) -> np.ndarray:
    """Two blocks of assets; the first leads until half time, then the second."""
    rng = np.random.default_rng(11)
    f, g = rng.normal(size=(2, t))
    if orthogonal:  # as exactly as samples allow: the two factors never move in the same sample
        f[::2], g[1::2] = 0.0, 0.0
    strength = np.where(np.arange(t) < t // 2, 0.95, 0.2)
    moves = np.empty((t, N))
    for i in range(N):
        mine, load = (f, strength) if i < N // 2 else (g, 1.15 - strength)
        moves[:, i] = load * mine + np.sqrt(1 - load**2) * (0.0 if orthogonal else 1.0) * rng.normal(size=t)
    return 100.0 * np.cumprod(1.0 + 1e-3 * moves, axis=0)


@pytest.mark.parametrize("orthogonal", [False, True])
def test_a_crossing_of_two_modes_is_followed(orthogonal):
    prices = crossing(600, orthogonal)
    found = scan_prices(prices, clock(600), SMALL, loadings=True)
    assert_same(found, slow_scans(prices, np.ones(prices.shape, dtype=bool), SMALL))
    leads = np.abs(found.loadings[:, 3]).reshape(-1, 2, N // 2).sum(axis=2)
    assert (leads[:200, 0] > leads[:200, 1]).all() if not orthogonal else True
    assert (leads[-150:, 1] > leads[-150:, 0]).all() if not orthogonal else True


def test_a_start_on_the_wrong_vector_is_found_out():
    """The worst guess there is: exactly the second eigenvector, which power iteration never leaves."""
    n, columns = 12, 16
    c = np.zeros((columns, columns))
    c[:6, :6], c[6:12, 6:12] = 0.9, 0.3
    c[np.arange(n), np.arange(n)] = 1.0
    members = np.arange(columns) < n
    wrong = np.where((np.arange(columns) >= 6) & members, 1.0, 0.0)
    d, zeros, lanes, scratch = (
        members.astype(float),
        np.zeros(columns),
        np.zeros(8),
        np.zeros((columns, columns)),
    )
    value, iterations, _ = eigen_leading.leading(
        c, zeros, d, 10, n, members, 0.0, wrong, zeros.copy(), zeros.copy(), lanes, scratch
    )
    assert iterations == -1  # given to LAPACK
    assert value == pytest.approx(1 + 5 * 0.9, abs=1e-13)
    assert np.abs(wrong[:6]).min() > 0.4
    assert np.abs(wrong[6:]).max() < 1e-12


@pytest.mark.parametrize("spike", [1.0, 1e3, 9e5])
def test_a_large_return_leaves_no_trace_when_it_leaves_the_window(spike):
    prices = walk(6, 900)
    prices[300, 3] *= 1.0 + spike
    prices[301:, 3] *= 1.0 + spike
    scanner = EigenScanner(N, SMALL)
    found = scanner.scan_many(prices, clock(900))
    expected = slow_scans(prices, np.ones(prices.shape, dtype=bool), SMALL)
    error = np.abs(found.records["lambda_max"] - [e["lambda_max"] for e in expected]).max(axis=0)
    assert (error <= [drift_bound(w) for w in SMALL.windows]).all()
    assert scanner.counts["recomputations"] > 4 * (1 + 900 // 512)


def test_the_bound_of_drift_is_below_what_is_promised():
    assert max(drift_bound(w) for w in EIGEN_WINDOWS) < 1e-12


def test_drift_over_a_long_run_stays_within_its_bound():
    prices = walk(8, 6000, n=6, common=0.8)
    config = dataclasses.replace(SMALL, windows=(20, 60, 150, 400), regime_window=150)
    found = scan_prices(prices, clock(6000), config)
    returns = prices[1:] / prices[:-1] - 1.0
    for m in [*range(0, len(found.row), 431), len(found.row) - 1]:
        for k, w in enumerate(config.windows):
            part = returns[found.row[m] - w : found.row[m]]
            exact = np.linalg.eigvalsh(np.corrcoef(part.T))[-1] / 6
            assert abs(found.records["lambda_max"][m, k] - exact) < drift_bound(w)


def test_ages_mask_as_freshness_does():
    prices = walk(2, 120)
    ages = np.random.default_rng(3).integers(0, 20, size=prices.shape) * 1_000_000_000
    by_age = scan_prices(prices, clock(120), SMALL, ages_ns=ages)
    by_mask = scan_prices(prices, clock(120), SMALL, fresh=ages <= SMALL.max_age_ns)
    assert by_age.records.tobytes() == by_mask.records.tobytes()
    negative = EigenScanner(N, SMALL)
    negative.scan_many(prices[:80], clock(80), ages_ns=-np.ones((80, N), dtype=np.int64))
    assert negative.counts["stale"] == 80 - 60


def test_a_scan_with_fewer_than_half_fresh_is_held_back_and_counted():
    prices = walk(5, 100)
    scanner = EigenScanner(N, SMALL)
    assert scanner.scan_many(prices[:80], clock(80)).records.size == 80 - 61
    mask = np.zeros(N, dtype=bool)
    mask[: N // 2 - 1] = True
    assert scanner.scan(prices[80], clock(100)[80], fresh=mask) is None
    assert scanner.counts["stale"] == 1
    mask[N // 2 - 1] = True
    scan = scanner.scan(prices[81], clock(100)[81], fresh=mask)
    assert scan is not None
    assert scan.record["fresh"] == N // 2
    assert scan.record["members_changed"]


def test_constant_assets_are_left_out_and_a_market_of_them_is_thin():
    prices = walk(5, 200)
    prices[:, :4] = 7.0
    prices[:, 4] = 3.0 * 1.0001 ** np.arange(200)  # the same return always: no variance but rounding
    found = scan_prices(prices, clock(200), SMALL)
    assert (found.records["members"] == N - 5).all()
    prices[:, :8] = 7.0
    scanner = EigenScanner(N, SMALL)
    assert scanner.scan_many(prices, clock(200)).records.size == 0
    assert scanner.counts["thin"] == 200 - 60


def test_identical_assets_are_one_mode():
    prices = np.repeat(walk(5, 200, n=1), N, axis=1)
    found = scan_prices(prices, clock(200), SMALL)
    np.testing.assert_allclose(found.records["lambda_max"], 1.0, rtol=0, atol=1e-13)
    assert (found.records["lambda_max"] <= 1.0).all()
    assert (found.records["regime_signal"] == 1.0).all()


def test_the_regime_of_noise_is_calm_and_of_one_mode_stressed():
    config = dataclasses.replace(SMALL, windows=(20, 60, 150, 200), regime_window=150, null_every=100, seed=3)
    noise = scan_prices(walk(7, 800, common=0.0), clock(800), config).records
    edge = marchenko_pastur_edges(N, 150)[1]
    assert (noise["regime_signal"] == -1.0).all()
    assert (noise["noise_ceiling"] >= edge - 1e-12).all()
    assert noise["excess"].max() < 0.1
    together = scan_prices(walk(7, 800, common=0.97), clock(800), config).records
    assert (together["regime_signal"] == 1.0).all()
    between = scan_prices(walk(7, 800, common=0.68), clock(800), config).records
    assert (between["regime_signal"] == 0.0).mean() > 0.9
    for records in (noise, together, between):
        largest = records["lambda_max"][:, 2] * N
        expected = (largest - records["noise_ceiling"]) / (N - records["noise_ceiling"])
        np.testing.assert_allclose(records["excess"], expected, rtol=0, atol=1e-14)


def test_the_null_knows_fat_tails_and_is_drawn_from_its_seed():
    """Shuffled returns of assets with rare jumps have larger eigenvalues than the edge says."""
    rng = np.random.default_rng(2)
    moves = 1e-4 * rng.standard_t(1.5, size=(700, N)).clip(-50, 50)
    prices = 100.0 * np.cumprod(1.0 + moves, axis=0)
    config = dataclasses.replace(SMALL, windows=(20, 60, 150, 200), regime_window=200, null_every=100, seed=1)
    edge = marchenko_pastur_edges(N, 200)[1]
    one = scan_prices(prices, clock(700), config).records
    assert one["noise_ceiling"].max() > edge
    assert (np.diff(one["noise_ceiling"]) != 0).sum() <= len(one) // 100
    again = scan_prices(prices, clock(700), config).records
    other = scan_prices(prices, clock(700), dataclasses.replace(config, seed=2)).records
    assert one.tobytes() == again.tobytes()
    assert one["noise_ceiling"].tobytes() != other["noise_ceiling"].tobytes()
    assert one["lambda_max"].tobytes() == other["lambda_max"].tobytes()


def test_the_null_ceiling_is_passed_by_one_in_twenty():
    """Of independent assets the unshuffled window is one more draw: it tops 19 others in 5 % of cases."""
    config = dataclasses.replace(SMALL, windows=(10, 20, 30, 60), regime_window=60, null_every=1)
    above, scans = 0, 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 77])
        prices = 100.0 * np.cumprod(1.0 + 1e-4 * rng.standard_t(2.0, size=(62 + 60 * 5, N)), axis=0)
        records = scan_prices(prices, clock(len(prices)), config).records[::60]
        above += int((records["lambda_max"][:, 3] * N > records["noise_ceiling"]).sum())
        scans += len(records)
    assert scans == 240
    assert above <= 24  # 5 % are 12; the edge, which is part of the ceiling, only makes it fewer


def test_scans_become_external_features():
    prices = walk(9, 1000)
    records = scan_prices(prices, clock(1000), EigenConfig(null_every=0)).records
    values = external_values(records)
    assert set(values) == set(EIGEN_FEATURES)
    assert values["eigen_lambda_max_750"].tobytes() == records["lambda_max"][:, 3].tobytes()
    assert values["eigen_vel_div"].tobytes() == records["vel_div"].tobytes()
    assert len(records) == 1000 - 751


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": (10, 20, 40)}, "four increasing"),
        ({"windows": (10, 20, 20, 60)}, "four increasing"),
        ({"windows": (5, 20, 40, 60)}, "four increasing"),
        ({"regime_window": 41}, "regime_window = 41"),
        ({"min_coverage": 0.0}, "min_coverage"),
        ({"velocity_span": 0.5}, "velocity_span"),
        ({"calm_below": 0.9}, "calm_below"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(FeatureError, match=message):
        dataclasses.replace(SMALL, **change)


def test_input_that_does_not_fit_is_refused_and_nothing_is_taken():
    scanner = EigenScanner(N, SMALL)
    scanner.scan(np.ones(N), 10)
    for prices, time, extra, message in (
        (np.ones(N - 1), 11, {}, f"{N} columns"),
        (np.ones(N), 10, {}, "time must grow"),
        (np.ones(N), 11, {"fresh": np.ones(N - 1, dtype=bool)}, f"{N} columns"),
        (np.ones(N), 11, {"fresh": np.ones(N, dtype=bool), "ages_ns": np.ones(N)}, "not both"),
    ):
        with pytest.raises(FeatureError, match=message):
            scanner.scan(prices, time, **extra)
    with pytest.raises(FeatureError, match=r"sample 1 at 12 comes after 12"):
        scanner.scan_many(np.ones((2, N)), [12, 12])
    assert scanner.counts["warming"] == 1
    scanner.scan(np.ones(N), 11)
    with pytest.raises(FeatureError, match="at least two assets"):
        EigenScanner(1)


def test_real_prices_of_fifty_pairs_give_the_scan_of_the_definition(shared_data):
    pl = pytest.importorskip("polars")
    files = sorted((shared_data / "spot-candles-2024").glob("*-5m.feather"))
    prices = np.column_stack([pl.read_ipc(f, n_rows=1100)["close"].to_numpy() for f in files])
    assert prices.shape == (1100, 50)
    scanner = EigenScanner(50, EigenConfig(null_every=0))
    found = scanner.scan_many(prices, clock(1100), loadings=True)
    assert_same(found, slow_scans(prices, np.ones(prices.shape, dtype=bool), scanner.config))
    assert scanner.counts["lapack"] == 0
    assert scanner.counts["iterations"] < 8 * 4 * len(found.row)
