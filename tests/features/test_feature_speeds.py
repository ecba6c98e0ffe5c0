"""One definition, three speeds: live, batch and inside numba give the same bits; none looks ahead."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numba import njit

from apex_nautilus.features import (
    EVENT,
    FLAG_LAST,
    KIND_CLEAR,
    KIND_LEVEL,
    KIND_TRADE,
    STATUS_PATH,
    STATUS_ROW,
    BookFeatures,
    BookRows,
    FeatureError,
    Ladder,
    apply_event,
    batch_book,
    empty_events,
    get,
    names,
)

CLOCKS = [("book", 0), ("book", 100), ("1s", 0)]
FEATURES = names("book")


@pytest.fixture(params=["real", "rough"])
def market(request, real_events, rough_events):
    """Events, and the settings that fit them."""
    if request.param == "real":
        return real_events, {"price_precision": 1, "size_precision": 3}
    return rough_events, {"price_precision": 2, "size_precision": 2}


def assert_same_bits(a: BookRows, b: BookRows) -> None:
    for name in BookRows.__dataclass_fields__:
        ours, theirs = getattr(a, name), getattr(b, name)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape, name
        assert ours.tobytes() == theirs.tobytes(), name


@pytest.mark.parametrize(("clock", "conflate_ms"), CLOCKS)
def test_live_equals_batch_to_the_last_bit(market, clock, conflate_ms):
    events, precision = market
    settings = {**precision, "clock": clock, "conflate_ms": conflate_ms}
    batch = batch_book(events, FEATURES, **settings, depth=10)
    live = BookFeatures(FEATURES, **settings)
    ends = np.flatnonzero(events["flags"] & FLAG_LAST) + 1
    rows, times, warm, prices, tops, paths = [], [], [], [], [], []
    start = 0
    for end in [*ends.tolist(), len(events)]:
        chunk = events[start:end]
        start = end
        if live.apply(chunk):
            rows.append(live.row.copy())
            times.append(live.row_ts_ns)
            warm.append(live.is_warm)
            prices.append((live.bid, live.ask))
            tops.append(live.top.copy())
            paths.append(live.path_count - 1)
    assert len(rows) == len(batch.ts_ns) == live.row_count
    assert np.array(rows).tobytes() == batch.features.tobytes()
    assert times == batch.ts_ns.tolist()
    assert warm == batch.warm.tolist()
    assert paths == batch.row_event.tolist()
    at = batch.row_event
    assert np.array(prices).tobytes() == np.column_stack([batch.path_bid[at], batch.path_ask[at]]).tobytes()
    np.testing.assert_array_equal(np.array(tops), batch.path_depth[at])


@njit
def _simulate(memory, events, row, rows):
    """What a simulator's loop does: single events, and a look at the row where one is released."""
    n_rows = 0
    n_path = 0
    for event in events:
        status = apply_event(
            memory, event.ts_init_ns, event.price, event.size, event.kind, event.side, event.flags
        )
        if status & STATUS_PATH:
            n_path += 1
        if status & STATUS_ROW:
            rows[n_rows] = row
            n_rows += 1
    return n_rows, n_path


@pytest.mark.parametrize(("clock", "conflate_ms"), CLOCKS)
def test_the_simulators_loop_equals_batch_to_the_last_bit(market, clock, conflate_ms):
    events, precision = market
    settings = {**precision, "clock": clock, "conflate_ms": conflate_ms}
    batch = batch_book(events, FEATURES, **settings)
    machine = BookFeatures(FEATURES, **settings)
    rows = np.empty((len(batch.path_ts_ns), len(FEATURES)))
    n_rows, n_path = _simulate(machine.memory, events, machine.row, rows)
    assert n_path == len(batch.path_ts_ns)
    assert rows[:n_rows].tobytes() == batch.features.tobytes()


def test_the_buffer_equals_batch_to_the_last_bit(rough_events):
    events = rough_events[:5_000]
    settings = {"price_precision": 2, "size_precision": 2}
    batch = batch_book(events, FEATURES, **settings)
    live = BookFeatures(FEATURES, **settings, buffer_size=1)
    rows = []
    for k in range(len(events)):
        live.buffer[0] = events[k]
        if live.apply_buffer(1):
            rows.append(live.row.copy())
    assert np.array(rows).tobytes() == batch.features.tobytes()


@pytest.mark.parametrize(("clock", "conflate_ms"), CLOCKS)
def test_chunks_equal_one_pass(market, clock, conflate_ms):
    events, precision = market
    settings = {**precision, "clock": clock, "conflate_ms": conflate_ms}
    whole = batch_book(events, FEATURES, **settings)
    machine = BookFeatures(FEATURES, **settings)
    cuts = np.random.default_rng(5).integers(0, len(events), 40)
    parts = [machine.run(chunk) for chunk in np.split(events, np.sort(cuts))]
    assert_same_bits(BookRows.concatenate(parts), whole)


def test_an_array_that_is_strided_or_read_only_gives_the_same_rows(real_events):
    settings = {"price_precision": 1, "size_precision": 3}
    events = real_events[:20_000]
    wide = np.zeros(2 * len(events), dtype=EVENT)
    wide[::2] = events
    frozen = events.copy()
    frozen.flags.writeable = False
    expected = batch_book(events, FEATURES, **settings)
    assert_same_bits(batch_book(wide[::2], FEATURES, **settings), expected)
    assert_same_bits(batch_book(frozen, FEATURES, **settings), expected)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("clock", ["book", "1s"])
def test_a_feature_does_not_depend_on_its_company(market, name, clock):
    events, precision = market
    settings = {**precision, "clock": clock}
    together = batch_book(events, FEATURES, **settings)
    alone = batch_book(events, [name], **settings)
    assert alone.features[:, 0].tobytes() == together.features[:, FEATURES.index(name)].tobytes()


@pytest.mark.parametrize(("clock", "conflate_ms"), CLOCKS)
def test_perturbing_the_future_moves_no_past_value(market, clock, conflate_ms):
    events, precision = market
    settings = {**precision, "clock": clock, "conflate_ms": conflate_ms}
    full = batch_book(events, FEATURES, **settings)
    rng = np.random.default_rng(3)
    for cut in rng.integers(len(events) // 10, len(events), 6):
        cut = int(cut)
        other = events.copy()
        future = other[cut:]
        future["price"] += rng.integers(-50, 50, len(future))
        future["size"] = rng.integers(0, 9_999, len(future))
        future["side"] = rng.choice([-1, 1], len(future))
        future["ts_init_ns"] += np.sort(rng.integers(0, 10**10, len(future)))
        past = batch_book(events[:cut], FEATURES, **settings)
        changed = batch_book(other, FEATURES, **settings)
        n, m = len(past.ts_ns), len(past.path_ts_ns)
        assert n > 5
        for rows in (full, changed):
            assert rows.features[:n].tobytes() == past.features.tobytes()
            assert rows.ts_ns[:n].tobytes() == past.ts_ns.tobytes()
            assert rows.path_depth[:m].tobytes() == past.path_depth.tobytes()
        if len(changed.ts_ns) > n + 5 and len(full.ts_ns) > n + 5:
            assert changed.features[n : n + 5].tobytes() != full.features[n : n + 5].tobytes()


@pytest.mark.parametrize("clock", ["book", "1s"])
def test_values_are_never_nan_and_keep_their_range(market, clock):
    events, precision = market
    rows = batch_book(events, FEATURES, **precision, clock=clock)
    assert np.isfinite(rows.features).all()
    for column, name in enumerate(FEATURES):
        spec = get(name)
        assert spec.low <= rows.features[:, column].min()
        assert rows.features[:, column].max() <= spec.high


def snapshot(ladder: Ladder, ts: int) -> np.ndarray:
    """Events that rebuild a book from nothing."""
    bids, asks = ladder.bids(10**6), ladder.asks(10**6)
    events = empty_events(1 + len(bids) + len(asks))
    events["ts_init_ns"] = ts
    events["kind"][1:] = KIND_LEVEL
    events["kind"][0] = KIND_CLEAR
    events["side"][1:] = np.repeat([1, -1], [len(bids), len(asks)])
    events["price"][1:] = np.concatenate([bids[:, 0], asks[:, 0]])
    events["size"][1:] = np.concatenate([bids[:, 1], asks[:, 1]])
    events["flags"][-1] = FLAG_LAST
    return events


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("clock", ["book", "1s"])
def test_once_warm_a_feature_does_not_know_where_the_data_began(real_events, name, clock):
    settings = {"price_precision": 1, "size_precision": 3, "clock": clock}
    full = batch_book(real_events, [name], **settings)
    ends = np.flatnonzero(real_events["flags"] & FLAG_LAST)
    start = int(ends[len(ends) // 4]) + 1
    ladder = Ladder()
    for event in real_events[:start]:
        if event["kind"] == KIND_CLEAR:
            ladder.clear(event["side"])
        elif event["kind"] == KIND_LEVEL:
            ladder.set(int(event["side"]), int(event["price"]), int(event["size"]))
    begin = snapshot(ladder, int(real_events["ts_init_ns"][start - 1]))
    late = batch_book(np.concatenate([begin, real_events[start:]]), [name], **settings)
    n = int(late.warm.sum())
    assert 5 < n < len(full.ts_ns)
    assert late.warm[-n:].all()  # once warm, warm for good
    assert full.warm[-n:].all()
    assert late.ts_ns[-n:].tobytes() == full.ts_ns[-n:].tobytes()
    assert late.features[-n:].tobytes() == full.features[-n:].tobytes()
    spec = get(name)
    if spec.warmup_ns and clock == "book":
        first_warm = int(late.ts_ns[-n])
        assert first_warm - int(begin["ts_init_ns"][0]) >= spec.warmup_ns
        assert first_warm - int(begin["ts_init_ns"][0]) < spec.warmup_ns + 1_000_000_000


@pytest.mark.parametrize(("clock", "conflate_ms"), CLOCKS)
def test_the_age_of_a_row_tells_for_each_feature_whether_it_is_warm(market, clock, conflate_ms):
    events, precision = market
    settings = {**precision, "clock": clock, "conflate_ms": conflate_ms}
    alone = {name: batch_book(events, [name], **settings).warm for name in FEATURES}
    together = BookFeatures(FEATURES, **settings)
    k = 0
    for event in events.reshape(-1, 1):
        if together.apply(event):
            warm = [spec.is_warm(together.row_age) for spec in together.specs]
            assert warm == [bool(alone[name][k]) for name in FEATURES]
            assert together.is_warm == all(warm)
            k += 1
    assert k == len(alone["clv"])
    assert any(alone["imbalance"])


def test_a_book_can_be_carried_into_another_machine(market):
    events, precision = market
    cut = len(events) // 2
    one = BookFeatures(["imbalance"], **precision)
    one.apply(events[:cut])
    other = BookFeatures(["pressure"], **precision)
    book = one.book_events(123)
    assert not other.apply(book)
    assert (book["ts_init_ns"] == 123).all()
    assert other.row_count == 0
    np.testing.assert_array_equal(other.top, one.top)
    assert len(book) > 20
    assert np.sort(other.book_events(123), order="price").tobytes() == np.sort(book, order="price").tobytes()
    full = batch_book(events, ["pressure"], **precision)
    rows = other.run(events[cut:])
    n = len(rows.ts_ns)
    assert n > 100
    assert rows.features.tobytes() == full.features[-n:].tobytes()


def test_before_any_trade_clv_is_neutral_and_not_warm(real_events):
    settings = {"price_precision": 1, "size_precision": 3}
    no_trades = real_events[real_events["kind"] != KIND_TRADE]
    rows = batch_book(no_trades, ["clv"], **settings)
    assert (rows.features == get("clv").neutral).all()
    assert not rows.warm.any()


def test_realised_volatility_keeps_its_range_when_the_price_jumps_a_thousandfold():
    events = empty_events(400)
    events["ts_init_ns"] = 10**18 + np.arange(400) // 4 * 15_625_000  # one jump a bucket
    events["kind"] = KIND_LEVEL
    events["side"] = np.tile([1, 1, -1, -1], 100)
    low, high = 1_000, 1_000_000
    for step in range(100):
        here, there = (low, high) if step % 2 else (high, low)
        events["price"][4 * step : 4 * step + 4] = there - 1, here - 1, there + 1, here + 1
        events["size"][4 * step : 4 * step + 4] = 0, 5, 0, 5
    events["flags"][3::4] = FLAG_LAST
    spec = get("realised_volatility_1s")
    rows = batch_book(events, [spec.name], price_precision=0, size_precision=0)
    assert len(rows.ts_ns) == 100
    assert rows.features.max() <= spec.high
    assert rows.features.max() == pytest.approx(spec.high)


@pytest.mark.parametrize("price", [-500, 0])
def test_prices_at_or_below_zero_keep_every_range(price):
    events = empty_events(400)
    events["ts_init_ns"] = 10**18 + np.arange(400) * 30_000_000
    events["kind"] = np.where(np.arange(400) % 5 == 4, KIND_TRADE, KIND_LEVEL)
    events["side"] = np.where(np.arange(400) % 2, 1, -1)
    rng = np.random.default_rng(1)
    events["price"] = price - events["side"] * rng.integers(1, 9, 400)
    events["size"] = rng.integers(1, 9, 400)
    events["flags"] = FLAG_LAST
    rows = batch_book(events, FEATURES, price_precision=0, size_precision=0)
    assert len(rows.ts_ns) > 200
    assert np.isfinite(rows.features).all()
    for column, name in enumerate(FEATURES):
        assert get(name).low <= rows.features[:, column].min()
        assert rows.features[:, column].max() <= get(name).high


def test_a_row_is_not_whole_while_the_book_is_crossed(rough_events):
    rows = batch_book(rough_events, ["imbalance"], price_precision=2, size_precision=2)
    assert (rows.path_bid < rows.path_ask).all()
    assert (
        len(rows.path_ts_ns)
        < ((rough_events["flags"] == FLAG_LAST) & (rough_events["kind"] != KIND_TRADE)).sum()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["imbalanse"]}, "did you mean imbalance"),
        ({"names": ["imbalance", "imbalance"]}, "asked for twice"),
        ({"names": ["bar_return"]}, "is a bar feature"),
        ({"names": []}, "no feature was named"),
        ({"names": "imbalance"}, "sequence of strings"),
        ({"clock": "2s"}, "clock '2s'"),
        ({"clock": "1s", "conflate_ms": 5}, "conflate_ms thins the book clock"),
        ({"conflate_ms": -1}, "conflate_ms must lie in"),
        ({"price_precision": 19}, "precision must lie in"),
        ({"size_precision": 0.5}, "precision must be an integer"),
        ({"capacity": 3}, "capacity must lie in"),
        ({"buffer_size": 0}, "buffer_size must be at least 1"),
    ],
)
def test_bad_settings_are_refused_by_name(change, message):
    settings = {"names": ["imbalance"], "price_precision": 1, "size_precision": 3} | change
    with pytest.raises(FeatureError, match=message):
        BookFeatures(settings.pop("names"), **settings)


def test_bad_input_is_refused_by_name():
    machine = BookFeatures(["imbalance"], price_precision=1, size_precision=3)
    with pytest.raises(FeatureError, match="array of EVENT, got float64"):
        machine.run(np.zeros(3))
    with pytest.raises(FeatureError, match="array of EVENT, got list"):
        machine.run([])
    with pytest.raises(FeatureError, match="depth must lie in"):
        machine.run(empty_events(0), depth=11)
    with pytest.raises(FeatureError, match="buffer holds 64 events"):
        machine.apply_buffer(65)
    with pytest.raises(FeatureError, match="nothing to concatenate"):
        BookRows.concatenate([])
    with pytest.raises(TypeError, match="build it anew"):
        pickle.dumps(machine)


def test_no_events_give_no_rows():
    rows = batch_book(empty_events(0), ["imbalance", "ofi_1"], price_precision=1, size_precision=3)
    assert rows.features.shape == (0, 2)
    assert rows.path_depth.shape == (0, 4, 5)
    machine = BookFeatures(["imbalance"], price_precision=1, size_precision=3)
    assert machine.apply(empty_events(0)) is False
