"""Stylised facts: golden values on hand-made markets, independent oracles, and both kinds of markets."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.data import import_binance_capture, load_instrument, read_events, to_catalog
from apex_nautilus.data.order_flow import order_flow
from apex_nautilus.features import (
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    make_events,
)
from apex_nautilus.risk import InstrumentSpec
from apex_nautilus.sim import Market, ObservationError, observe, observe_tape, profile, stylized_facts
from apex_nautilus.sim.bootstrap import block_length, bootstrap_errors, stationary_rows
from apex_nautilus.sim.facts import facts
from apex_nautilus.sim.facts.fact import Fact, correlations, lagged, quartiles, register
from apex_nautilus.stats.ofi_regression import ofi_regression

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
SPEC = InstrumentSpec(
    id="T.SIM", base="T", quote="USDT", price_precision=1, size_precision=0, tick=0.1, lot=1.0
)

GOLDEN = {
    "spread": [0.016177, 0.016179, 0.01618],
    "imbalance": [-0.521557, 0.010403, 0.517433],
    "order_worth": [309.0195, 1298.0688, 6120.18],
    "sign_memory": [0.204126, 0.187447, 0.142401, 0.102613, -0.02308, -0.005782],
    "cancel_to_limit": [0.985902],
    "ofi_slope": [0.803362],
    "first_fill": [0.582559, 2.132837, 6.406423],
    "tail_index": [2.785141],
}


def event(seconds, kind, price, size, side, *, last=False, venue_s=None):
    """One event; price in quote units, size in lots."""
    return make_events(
        ts_event_ns=round((seconds if venue_s is None else venue_s) * 1e9),
        ts_init_ns=round(seconds * 1e9),
        price=round(price * 10),
        size=size,
        kind=kind,
        side=side,
        flags=FLAG_LAST if last else 0,
    )


def level(seconds, side, price, size, *, last=True):
    return event(seconds, KIND_LEVEL, price, size, side, last=last)


def trade(seconds, side, price, size, *, venue_s=None):
    return event(seconds, KIND_TRADE, price, size, side, venue_s=venue_s)


def book(seconds=0.0, bid=100.0, ask=100.2, size=10):
    return [
        event(seconds, KIND_CLEAR, 0, 0, 0),
        level(seconds, 1, bid, size, last=False),
        level(seconds, -1, ask, size),
    ]


def observed(*events, end_s=20.0):
    return observe(np.concatenate(events), SPEC, end_ns=round(end_s * 1e9))


@pytest.fixture(scope="module")
def tape():
    return Market(profile("BTCUSDT-LINEAR.SIM"), 3).run(6 * MINUTE)


@pytest.fixture(scope="module")
def recording(root, tmp_path_factory):
    """(catalog, id) of the BTCUSDT excerpt."""
    catalog = tmp_path_factory.mktemp("market") / "catalog"
    name = "BTCUSDT-PERP.BINANCE"
    import_binance_capture([root / "tests" / "data" / "btcusdt_usdm_20240808.gz"], catalog, name)
    return catalog, name


# ------------------------------------------------------------------ the door


def test_a_tape_and_the_catalog_it_was_written_to_have_the_same_facts(tape, tmp_path):
    to_catalog(tape, tape.instrument, tmp_path)
    name = tape.instrument.id
    stored = observe(read_events(tmp_path, name), load_instrument(tmp_path, name), end_ns=tape.end_ns)
    from_tape = stylized_facts(observe_tape(tape), np.random.default_rng(1), resamples=5)
    from_catalog = stylized_facts(stored, np.random.default_rng(1), resamples=5)
    for fact, measured in from_tape.items():
        np.testing.assert_array_equal(measured.values, from_catalog[fact].values, err_msg=fact)
        np.testing.assert_array_equal(measured.errors, from_catalog[fact].errors, err_msg=fact)


def test_chunks_of_any_size_give_what_the_whole_gives(tape):
    whole = observe(tape.events, tape.instrument)
    ends = np.flatnonzero(tape.events["flags"] & FLAG_LAST) + 1
    cuts = np.concatenate([[0], ends[::37], [len(tape.events)]])
    chunks = [tape.events[a:b] for a, b in pairwise(cuts) if b > a]
    parts = observe(chunks, tape.instrument)
    for name in ("path_ns", "touch", "trade", "order", "change_ns", "change", "depth_ns"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name), err_msg=name)


def test_every_fact_of_a_simulated_market_and_of_a_recording_is_known_with_an_error(tape, recording):
    catalog, name = recording
    real = observe(read_events(catalog, name), load_instrument(catalog, name))
    for observation in (observe_tape(tape), real):
        measured = stylized_facts(observation, np.random.default_rng(0), resamples=20)
        assert set(measured) == set(facts())
        for fact, m in measured.items():
            assert np.isfinite(m.values[0]), fact
            assert 0.0 < m.errors[0] < np.inf, fact
            assert m.count > 0


def test_facts_of_the_excerpt_keep_their_golden_values(recording):
    """90 s of BTCUSDT perpetual at Binance. A change here changes every comparison with real markets."""
    catalog, name = recording
    observation = observe(read_events(catalog, name), load_instrument(catalog, name))
    measured = stylized_facts(observation, np.random.default_rng(0), resamples=0)
    assert {k: [round(float(v), 6) for v in m.values] for k, m in measured.items() if k in GOLDEN} == GOLDEN


def test_what_has_no_whole_book_is_refused():
    one_sided = np.concatenate([level(0.0, 1, 100.0, 5), level(1.0, 1, 100.1, 5)])
    with pytest.raises(ObservationError, match=r"T\.SIM: no whole, two-sided book"):
        observe(one_sided, SPEC)


def test_an_unknown_fact_is_refused_by_name(tape):
    with pytest.raises(KeyError, match="no fact 'spraed'"):
        stylized_facts(observe_tape(tape), np.random.default_rng(0), only=["spraed"])


def test_a_fact_cannot_take_anothers_name():
    spread = facts()["spread"]
    with pytest.raises(ValueError, match="'spread' is registered already"):
        register(spread)


def test_the_error_of_a_fact_does_not_depend_on_which_others_are_asked_for(tape):
    observation = observe_tape(tape)
    alone = stylized_facts(observation, np.random.default_rng(4), resamples=10, only=["impact"])
    among = stylized_facts(observation, np.random.default_rng(4), resamples=10)
    np.testing.assert_array_equal(alone["impact"].errors, among["impact"].errors)


def test_a_window_begins_with_the_book_that_stood_then():
    observation = observed(*book(), level(7.0, 1, 100.1, 3))
    window = observation.between(10 * SECOND, 15 * SECOND)
    assert window.touch[:, 0].tolist() == [100.1]
    assert window.grid(SECOND)[0].tolist() == [10 * SECOND + k * SECOND for k in range(5)]


# ------------------------------------------------------------------ hand-made markets


def test_spread_and_imbalance_are_read_at_even_times_not_at_updates():
    # A tenth of the time at 0.2, and many updates then; the rest at 0.4.
    noise = [level(0.5 + k / 100, 1, 99.0, 5 + k) for k in range(50)]
    wide = level(2.0, -1, 100.2, 0, last=False), level(2.0, -1, 100.4, 30)
    measured = stylized_facts(observed(*book(), *noise, *wide), np.random.default_rng(0), resamples=0)
    assert measured["spread"].values[1] == pytest.approx(1e4 * 0.4 / 100.2)
    assert measured["imbalance"].values[1] == pytest.approx((10 - 30) / (10 + 30))


def test_trades_of_one_instant_and_side_are_one_order():
    events = [
        *book(),
        trade(1.0, 1, 100.2, 4, venue_s=1.0),
        trade(1.001, 1, 100.3, 6, venue_s=1.0),
        trade(1.002, -1, 100.0, 1, venue_s=1.0),
        trade(2.0, -1, 100.0, 2),
    ]
    observation = observed(*events)
    assert observation.order[:, 1].tolist() == [10.0, 1.0, 2.0]
    assert observation.order[:, 2].tolist() == [1.0, -1.0, -1.0]
    assert observation.order[0, 0] == pytest.approx(4 * 100.2 + 6 * 100.3)


def test_what_was_traded_does_not_count_as_withdrawn():
    events = [*book()]
    for k in range(12):  # each second 8 come; 3 are traded away, 4 are cancelled, 1 stays
        size = 10 + k
        events += [
            level(1.0 + k, 1, 100.0, size + 8),
            trade(1.2 + k, -1, 100.0, 3),
            level(1.2 + k, 1, 100.0, size + 5),
            level(1.5 + k, 1, 100.0, size + 1),
        ]
    measured = stylized_facts(observed(*events), np.random.default_rng(0), resamples=0)
    assert measured["cancel_to_limit"].values[0] == pytest.approx(4 / 8)


def test_the_snapshot_that_begins_a_book_is_no_limit_order_and_far_levels_do_not_count():
    far = level(3.0, 1, 99.0, 1000)  # 111 bps away
    observation = observed(*book(), far, *book(5.0, size=20), level(6.0, -1, 100.2, 25))
    assert observation.change.tolist() == [5.0]
    assert observation.restarts.tolist() == [2]


def fill_times(*events, end_s=20.0):
    rows = facts()["first_fill"].rows(observed(*book(), *events, end_s=end_s))
    return rows.reshape(-1, 2).T  # buyers, sellers; one a second


def test_an_order_that_joins_is_filled_once_those_ahead_are_traded_away():
    buyers, sellers = fill_times(trade(2.5, -1, 100.0, 6), trade(3.5, -1, 100.0, 5))
    assert buyers[:3].tolist() == [3.5, 2.5, 1.5]  # ten ahead: 6 and 5 are one more
    assert buyers[3] == np.inf  # joined after the first trade: only 5 of its 10 were traded
    assert np.isinf(sellers).all()


@pytest.mark.parametrize(
    ("events", "first"),
    [
        ([trade(2.5, -1, 100.0, 10)], np.inf),  # exactly those ahead
        ([trade(2.5, -1, 99.9, 1)], 2.5),  # through its price
        ([trade(2.5, 1, 100.0, 50)], np.inf),  # its own side's trade
        ([trade(2.5, 0, 100.0, 11)], 2.5),  # side unknown: counts against it
        # Those ahead cancel: never more ahead than the queue shows.
        ([level(1.5, 1, 100.0, 2), trade(2.5, -1, 100.0, 3)], 2.5),
        # The level goes away: nobody is ahead any more.
        (
            [level(1.2, 1, 99.9, 5), level(1.5, 1, 100.0, 0), trade(2.5, -1, 100.0, 1)],
            2.5,
        ),
        # The other side comes to its price.
        ([level(1.2, 1, 99.9, 5), level(1.5, 1, 100.0, 0), level(2.0, -1, 100.0, 4)], 2.0),
        # Better bids do not move it.
        ([level(1.5, 1, 100.1, 1), trade(2.5, -1, 100.1, 50)], np.inf),
    ],
)
def test_first_fill_cases(events, first):
    assert fill_times(*events)[0, 0] == first


def test_no_order_is_watched_beyond_the_end():
    assert fill_times(trade(2.5, -1, 100.0, 6), end_s=13.0).shape[1] == 3


def test_impact_is_signed_by_the_taker_and_begins_before_the_trade():
    events = [*book()]
    for k in range(20):
        up = level(1.0 + 2 * k, -1, 100.2, 0, last=False), level(1.0 + 2 * k, -1, 100.4, 10)
        down = level(2.0 + 2 * k, -1, 100.2, 10)
        events += [trade(1.0 + 2 * k, 1, 100.2, 10), *up, trade(2.0 + 2 * k, -1, 100.0, 1), down]
    measured = stylized_facts(observed(*events, end_s=45.0), np.random.default_rng(0), resamples=0)
    expected = 1e4 * np.log(100.2 / 100.1)
    assert measured["impact"].values[0] == pytest.approx(expected)


# ------------------------------------------------------------------ oracles


def test_the_ofi_regression_is_that_of_the_statistics_room(tape, tmp_path):
    to_catalog(tape, tape.instrument, tmp_path)
    (intervals,) = order_flow(tmp_path, tape.instrument.id, [1])
    fit = ofi_regression(intervals.mid_change, intervals.ofi).ofi
    measured = stylized_facts(observe_tape(tape), np.random.default_rng(0), resamples=0)
    assert measured["ofi_r2"].values[0] == pytest.approx(fit.r2, abs=0.01)
    mid = tape.instrument.tick / 60_000.0 * 1e4  # a tick in basis points, about
    in_bps = fit.slope * mid / (60_000.0 * 1e-6)
    assert measured["ofi_slope"].values[0] == pytest.approx(in_bps, rel=0.02)


def test_hills_estimator_finds_the_exponent_of_a_pareto_law():
    x = np.random.default_rng(5).pareto(3.0, 40_000) + 1.0
    (index,) = facts()["tail_index"].statistic(x[:, None])
    assert index == pytest.approx(3.0, abs=3 * 3.0 / np.sqrt(2000))


@given(st.lists(st.floats(-5, 5), min_size=12, max_size=40), st.integers(1, 3))
def test_correlations_are_numpys(values, lag):
    x = np.round(np.array(values), 3)
    (found,) = correlations(lagged(x, (lag,)))
    a, b = x[:-lag], x[lag:]
    if len(a) < 10:
        assert np.isnan(found)
    elif a.std() > 1e-6 and b.std() > 1e-6:
        assert found == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)


def test_quartiles_take_infinite_waits_and_leave_out_unknown_ones():
    rows = np.array([[1.0], [np.inf], [2.0], [np.nan], [np.inf]])
    assert quartiles(rows).tolist() == [1.0, 2.0, np.inf]
    assert np.isnan(quartiles(rows[:2])).all()


# ------------------------------------------------------------------ the bootstrap


def autoregressive(rng, n, phi):
    x = np.empty(n)
    x[0] = rng.normal() / np.sqrt(1.0 - phi * phi)
    for t in range(1, n):
        x[t] = phi * x[t - 1] + rng.normal()
    return x


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, -0.5])
def test_block_length_is_near_that_of_arch(phi):
    bootstrap = pytest.importorskip("arch.bootstrap")
    x = autoregressive(np.random.default_rng(11), 3000, phi)
    theirs = float(bootstrap.optimal_block_length(x)["stationary"].iloc[0])
    # Theirs counts the last lag that matters one higher than Politis & White do.
    assert block_length(x) == pytest.approx(theirs, rel=0.35)


def test_the_error_of_a_dependent_mean_is_that_of_theory_not_of_independence():
    phi, n, errors = 0.7, 2000, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = autoregressive(rng, n, phi)[:, None]
        errors.append(bootstrap_errors(rows, lambda r: r.mean(axis=0), rng, resamples=150)[0])
    theory = 1.0 / ((1.0 - phi) * np.sqrt(n))
    naive = 1.0 / np.sqrt((1.0 - phi**2) * n)
    assert np.mean(errors) == pytest.approx(theory, rel=0.15)
    assert min(errors) > 1.3 * naive


def test_the_error_of_a_correlation_covers_the_truth():
    """Of forty series with a known autocorrelation nearly all lie within two errors of it."""
    within = 0
    for seed in range(40):
        rng = np.random.default_rng([7, seed])
        rows = lagged(autoregressive(rng, 600, 0.4), (1,))
        (value,) = correlations(rows)
        (error,) = bootstrap_errors(rows, correlations, rng, resamples=100)
        within += abs(value - 0.4) <= 2.0 * error
    assert 33 <= within <= 40


def test_blocks_have_the_mean_length_asked_for_and_wrap_around():
    rng = np.random.default_rng(2)
    joins, n = 0, 1000
    for _ in range(50):
        rows = stationary_rows(n, 20.0, rng)
        assert 0 <= rows.min() <= rows.max() < n
        joins += int(np.sum((np.diff(rows) % n) != 1))
    assert 50 * n / joins == pytest.approx(20.0, rel=0.1)
    assert sorted(np.diff(stationary_rows(5, 1e9, rng)) % 5) == [1, 1, 1, 1]


@pytest.mark.parametrize(("n", "length"), [(0, 2.0), (5, 0.5), (5, float("nan"))])
def test_blocks_that_make_no_sense_are_refused(n, length):
    with pytest.raises(ValueError, match="n must be positive"):
        stationary_rows(n, length, np.random.default_rng(0))


def test_a_constant_series_has_no_error_and_blocks_of_one():
    rows = np.ones((50, 1))
    assert block_length(rows) == 1.0
    errors = bootstrap_errors(rows, lambda r: r.mean(axis=0), np.random.default_rng(0), resamples=10)
    assert errors.tolist() == [0.0]


def test_every_fact_says_what_it_is():
    for name, fact in facts().items():
        assert isinstance(fact, Fact)
        assert fact.name == name
        assert len(fact.doc) > 20
        assert fact.points


@pytest.mark.parametrize("end_s", [0.0000001, 0.5, 20.0, 100.0])
def test_a_market_in_which_nothing_happens_has_facts_that_are_unknown_not_wrong(end_s):
    measured = stylized_facts(observed(*book(), end_s=end_s), np.random.default_rng(0), resamples=5)
    for name in ("order_worth", "order_pause", "sign_memory", "impact", "tail_index", "ofi_slope", "ofi_r2"):
        assert np.isnan(measured[name].values).all(), name
        assert np.isnan(measured[name].errors).all(), name
    if end_s >= 1.0:
        assert measured["spread"].values[1] == pytest.approx(1e4 * 0.2 / 100.1)
        assert measured["spread"].errors[1] == 0.0
    if end_s > 30.0:
        assert measured["volatility"].values[0] == 0.0
        assert np.isnan(measured["volatility_clustering"].values).all()
        assert np.isposinf(measured["first_fill"].values).all()


def test_a_span_that_ends_before_the_first_book_is_refused():
    with pytest.raises(ObservationError, match="end_ns: 0 is not after the first book"):
        observed(*book(1.0), end_s=0.0)


@given(st.integers(0, 2**32 - 1))
def test_any_stream_of_levels_and_trades_can_be_measured(seed):
    """Crossed books, one-sided ones, clears in the middle, trades without books: no fact fails."""
    rng = np.random.default_rng(seed)
    n = 120
    kinds = rng.choice([KIND_LEVEL, KIND_TRADE, KIND_CLEAR], n, p=[0.75, 0.2, 0.05])
    events = make_events(
        ts_event_ns=np.sort(rng.integers(0, 20 * SECOND, n)),
        ts_init_ns=np.sort(rng.integers(0, 20 * SECOND, n)),
        price=rng.integers(995, 1006, n),
        size=rng.integers(0, 5, n),
        kind=kinds,
        side=rng.choice([-1, 1], n),
        flags=np.where(rng.random(n) < 0.5, FLAG_LAST, 0) * (kinds == KIND_LEVEL),
    )
    try:
        observation = observe(events, SPEC, end_ns=20 * SECOND)
    except ObservationError:
        return  # it never had two sides
    measured = stylized_facts(observation, np.random.default_rng(0), resamples=3)
    assert 0.0 <= np.nan_to_num(measured["ofi_r2"].values[0]) <= 1.0 + 1e-12
    assert np.nan_to_num(measured["cancel_to_limit"].values[0]) >= 0.0
    bid, _, ask, _ = observation.touch.T
    assert (bid < ask).all()
