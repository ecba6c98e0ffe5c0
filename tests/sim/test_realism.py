"""The realism table: distances against independent ones, and verdicts on markets whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from apex_nautilus.data import import_binance_capture, load_instrument, read_events
from apex_nautilus.sim import Market, observe, observe_tape, profile
from apex_nautilus.sim.realism import RealismError, realism, total_variation, wasserstein
from apex_nautilus.sim.zero_intelligence import zero_intelligence

SECOND = 1_000_000_000
WINDOW = 30 * SECOND
BITCOIN = profile("BTCUSDT-LINEAR.SIM")


def simulated(population, seed, seconds=330):
    return observe_tape(Market(population, seed).run(seconds * SECOND))


@pytest.fixture(scope="module")
def real():
    """A simulated market in the part of the real one."""
    return simulated(BITCOIN, 1)


@pytest.fixture(scope="module")
def excerpt(root, tmp_path_factory):
    catalog = tmp_path_factory.mktemp("market") / "catalog"
    name = "BTCUSDT-PERP.BINANCE"
    import_binance_capture([root / "tests" / "data" / "btcusdt_usdm_20240808.gz"], catalog, name)
    return observe(read_events(catalog, name), load_instrument(catalog, name))


samples = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=30).map(np.sort)


@given(samples, samples)
def test_wasserstein_is_scipys(x, y):
    assert wasserstein(x, y) == pytest.approx(wasserstein_distance(x, y), abs=1e-9)


@given(samples, samples, samples)
def test_both_distances_are_distances(x, y, z):
    edges = np.linspace(-90, 90, 7)

    def l1(a, b):
        return total_variation(a, b, edges)

    for d in (wasserstein, l1):
        assert d(x, x) == 0.0
        assert d(x, y) == pytest.approx(d(y, x), abs=1e-12)
        assert d(x, z) <= d(x, y) + d(y, z) + 1e-9
    assert 0.0 <= l1(x, y) <= 1.0 + 1e-12


def test_golden_distances():
    x, y = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 3.0])
    assert wasserstein(x, y) == 0.75  # a quarter goes from 0 to 1, another from 1 to 3
    assert total_variation(x, y, np.array([0.5, 2.0])) == 0.25


def test_a_market_passes_for_another_seed_of_itself(real):
    lines = realism(real.windows(WINDOW), {"same": simulated(BITCOIN, 2).windows(WINDOW)})
    assert len(lines) > 12
    verdicts = {line.fact.name: line.verdicts["same"].passes for line in lines}
    assert None not in verdicts.values()
    # One mood of the market stands for all of it: now and then a fact lies outside by chance.
    assert sum(not passes for passes in verdicts.values()) <= 2, verdicts


def test_the_real_market_passes_for_itself_in_every_fact(real):
    windows = real.windows(WINDOW)
    for line in realism(windows, {"itself": windows}):
        assert line.verdicts["itself"].passes, line.fact.name


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"maker_half_spread_bps": 4.0, "limit_rate": 2.0}, {"spread"}),
        ({"market_rate": 20.0, "limit_rate": 40.0}, {"order_pause", "activity"}),
        ({"size_usd": 20_000.0}, {"order_worth", "depth"}),
        ({"value_volatility_bps": 8.0}, {"volatility"}),
    ],
)
def test_what_is_changed_in_a_market_is_what_fails(real, changes, fails):
    other = simulated(BITCOIN.replace(**changes), 3)
    lines = {line.fact.name: line for line in realism(real.windows(WINDOW), {"other": other.windows(WINDOW)})}
    for name in fails:
        verdict = lines[name].verdicts["other"]
        assert verdict.passes is False, name
        assert verdict.wasserstein > lines[name].wasserstein_limit


def test_agents_with_opinions_are_nearer_to_themselves_than_a_market_without(real):
    candidates = {
        "full": simulated(BITCOIN, 4).windows(WINDOW),
        "zero": simulated(zero_intelligence(BITCOIN), 4).windows(WINDOW),
    }
    lines = realism(real.windows(WINDOW), candidates)
    passed = {name: sum(line.verdicts[name].passes is True for line in lines) for name in candidates}
    assert passed["full"] >= passed["zero"] + 4


def test_the_default_market_is_told_from_a_recording_by_what_is_not_calibrated(excerpt):
    """90 s of BTCUSDT at Binance in windows of 10 s: a tick's spread and ten times the depth."""
    window = 10 * SECOND
    candidate = simulated(BITCOIN, 1, seconds=90).windows(window)
    lines = {line.fact.name: line for line in realism(excerpt.windows(window), {"sim": candidate})}
    for name in ("spread", "ofi_slope", "cancel_to_limit"):
        assert lines[name].verdicts["sim"].passes is False, name
    assert lines["spread"].verdicts["sim"].l1 > 0.9
    # Ten returns are too few for a tail: that is said, not guessed.
    assert lines["tail_index"].verdicts["sim"].passes is None


def test_too_few_windows_and_unequal_ones_are_refused(real):
    windows = real.windows(WINDOW)
    with pytest.raises(RealismError, match="3 windows of the real market are too few"):
        realism(windows[:3], {"x": windows})
    with pytest.raises(RealismError, match="x: no whole window; simulate longer"):
        realism(windows, {"x": []})
    with pytest.raises(RealismError, match=r"one length, got \[20\.0, 30\.0\] s"):
        realism(windows, {"x": real.windows(20 * SECOND)})
