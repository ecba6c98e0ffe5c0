"""The replay against a slow twin of the trading rules, against itself in other cuts, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_replay import same, slow_bar_trades, slow_book_trades

from apex_nautilus.forge.replay import (
    EXIT_KINDS,
    bar_market,
    book_market,
    replay,
    replay_curves,
    replay_trades,
)
from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    Genome,
    Platt,
    Sizing,
    VolatilityStop,
    call,
    compile_trees,
    constant,
    evaluate_block,
    feature,
    pack,
    random_tree,
)
from apex_nautilus.risk import (
    PASSIVE_TIMERS,
    InstrumentSpec,
    PassiveTimers,
    register_entry_policy,
    rules_array,
    trading_rules,
)
from apex_nautilus.stats import max_drawdown, moments

SPEC = InstrumentSpec(
    id="XUSDT-PERP.TEST",
    base="X",
    quote="USDT",
    price_precision=1,
    size_precision=2,
    tick=0.1,
    lot=0.01,
    min_qty=0.01,
    max_qty=50.0,
    min_notional=5.0,
    maker_fee=0.0001,
    taker_fee=0.0003,
)
OUTPUTS = pack([compile_trees([feature(0), feature(1), feature(2)], 3)])
SECOND = 1_000_000_000


def genome(
    stop=None, *, hold=20.0, threshold=0.5, spec=SPEC, execution="aggressive", timers=PASSIVE_TIMERS, **sizing
):
    return trading_rules(
        Genome(
            instrument_id=spec.id,
            entry_threshold=threshold,
            bracket=Bracket(stop=stop or BpsStop(40.0), max_hold_s=hold),
            calibration=Platt(1.0, 0.0),
            sizing=Sizing(**sizing),
            execution=execution,
        ),
        spec,
        timers=timers,
    )


RULES_TO_TRY = [
    genome(),
    genome(VolatilityStop(4.0, 5), hold=7.0),
    genome(BpsStop(15.0), hold=3.0, stake="notional"),
    genome(mode="evolved", lo=0.1, hi=0.9, min_qty=0.05, max_qty=4.0),
    genome(BpsStop(25.0), hold=1e6, kelly_fraction=1.0),
]


def random_book(rng, n, *, rows_every=1, step_s=1.0):
    """A walk of the touch in ticks, thin levels behind it, and events that share a time now and then."""
    bid_units = 10_000 + np.cumsum(rng.integers(-12, 13, n))
    spread = rng.integers(1, 4, n)
    depth = np.zeros((n, 4, 5))
    for level in range(5):
        depth[:, 0, level] = (bid_units - level * 2) / 10
        depth[:, 2, level] = (bid_units + spread + level * 3) / 10
        depth[:, 1, level] = rng.integers(0 if level else 1, 6, n)
        depth[:, 3, level] = rng.integers(0 if level else 1, 6, n)
    gaps = rng.integers(0, 3, n) * int(step_s * SECOND)
    row_event = np.flatnonzero(rng.random(n) < 1.0 / rows_every)
    if row_event.size == 0:
        row_event = np.array([0])
    outputs = np.column_stack(
        [
            rng.normal(0, 0.6, row_event.size),
            rng.normal(0.2, 1.0, row_event.size),
            rng.normal(0, 1, row_event.size),
        ]
    )
    return {
        "features": outputs,
        "row_event": row_event,
        "ts_ns": np.cumsum(gaps),
        "bid": bid_units / 10,
        "ask": (bid_units + spread) / 10,
        "depth": depth,
    }


def frozen(array):
    """Read-only, as all arrays of a market are: to numba another type, compiled anew."""
    array.flags.writeable = False
    return array


def check_trades(fast, slow):
    assert len(fast) == len(slow)
    for a, b in zip(fast, slow):
        for ours, theirs in (("entry_row", "row"), ("entry_event",) * 2, ("exit_event",) * 2, ("side",) * 2):
            assert a[ours] == b[theirs]
        assert EXIT_KINDS[a["exit_kind"]] == b["kind"]
        assert a["quantity"] == b["quantity"]
        assert (a["take_profit"], a["stop"]) == (b["take_profit"], b["stop"])
        assert same(a["entry_price"], b["entry_price"])
        assert same(a["exit_price"], b["exit_price"])
        assert same(a["equity_after"], b["equity"])


@settings(max_examples=120)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 400),
    st.sampled_from([1, 3, 10]),
    st.sampled_from(range(len(RULES_TO_TRY))),
    st.sampled_from([0, 0, SECOND // 2, 3 * SECOND]),
    st.floats(0.0, 0.9),
)
def test_trades_on_a_book_are_those_of_the_slow_twin(seed, n, rows_every, which, latency, start):
    book = random_book(np.random.default_rng(seed), n, rows_every=rows_every)
    rules = RULES_TO_TRY[which]
    count = book["row_event"].size
    rows = (int(start * count), count)
    fast = replay_trades(book_market(**book), OUTPUTS, rules, rows, latency_ns=latency)
    slow, _ = slow_book_trades(
        book["features"],
        book["row_event"],
        book["ts_ns"],
        book["bid"],
        book["ask"],
        book["depth"],
        rules,
        rows,
        latency=latency,
    )
    check_trades(fast, slow)


PASSIVE_TO_TRY = [
    genome(execution="passive"),
    genome(BpsStop(60.0), hold=9.0, execution="passive", timers=PassiveTimers(SECOND // 2, 3 * SECOND)),
    genome(VolatilityStop(4.0, 5), hold=7.0, execution="passive", timers=PassiveTimers(1, 2 * SECOND)),
    genome(BpsStop(15.0), hold=0.5, execution="passive", timers=PassiveTimers(4 * SECOND, 40 * SECOND)),
    genome(threshold=0.05, execution="passive", timers=PassiveTimers(SECOND, 6 * SECOND), mode="evolved"),
]


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 400),
    st.sampled_from([1, 3, 10]),
    st.sampled_from(range(len(PASSIVE_TO_TRY))),
    st.sampled_from([0, 0, SECOND // 3, SECOND, 3 * SECOND]),
    st.floats(0.0, 0.9),
    st.booleans(),
)
def test_trades_that_rest_first_are_those_of_the_slow_twin(seed, n, rows_every, which, latency, start, calm):
    book = random_book(np.random.default_rng(seed), n, rows_every=rows_every)
    if calm:  # signals that last, so that patience has time to end
        book["features"][:, 0] = np.repeat(book["features"][::20, 0], 20)[: len(book["features"])]
    rules = PASSIVE_TO_TRY[which]
    count = book["row_event"].size
    rows = (int(start * count), count)
    market = book_market(**book)
    slow, ends = slow_book_trades(
        book["features"], book["row_event"], book["ts_ns"], book["bid"], book["ask"], book["depth"], rules,
        rows, latency=latency,
    )  # fmt: skip
    check_trades(replay_trades(market, OUTPUTS, rules, rows, latency_ns=latency), slow)
    result = replay(market, OUTPUTS, rules, rows, latency_ns=latency)[0]
    assert (result["n_rested"], result["n_crossed"], result["n_given_up"]) == tuple(ends.values())
    assert result["n_rested"] + result["n_crossed"] == result["n_trades"]


@settings(max_examples=120)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 300),
    st.sampled_from(range(len(RULES_TO_TRY))),
    st.floats(0.0, 0.9),
)
def test_trades_on_bars_are_those_of_the_slow_twin(seed, n, which, start):
    rng = np.random.default_rng(seed)
    close = 1000.0 + np.cumsum(rng.normal(0, 2.0, n))
    opened = np.concatenate([[1000.0], close[:-1]]) + rng.normal(0, 0.5, n)
    high = np.maximum(opened, close) + rng.exponential(1.5, n)
    low = np.minimum(opened, close) - rng.exponential(1.5, n)
    half = rng.uniform(0.05, 0.5, n)
    outputs = np.column_stack([rng.normal(0, 0.6, n), rng.normal(0.2, 1.0, n), rng.normal(0, 1, n)])
    ts = np.arange(1, n + 1) * SECOND
    rules, rows = RULES_TO_TRY[which], (int(start * n), n)
    market = bar_market(
        features=outputs, ts_ns=ts, open=opened, high=high, low=low, close=close, half_spread=half
    )
    slow = slow_bar_trades(outputs, ts, np.column_stack([opened, high, low, close]), half, rules, rows)
    check_trades(replay_trades(market, OUTPUTS, rules, rows), slow)


def test_the_random_paths_meet_every_way_out():
    kinds = set()
    for seed, rules in enumerate(RULES_TO_TRY):
        book = random_book(np.random.default_rng(seed), 400)
        kinds |= {EXIT_KINDS[k] for k in replay_trades(book_market(**book), OUTPUTS, rules)["exit_kind"]}
    assert kinds == {"stop", "take_profit", "max_hold", "end"}


def path(prices, *, spread=0.1, depth=None):
    """A book path one second a step; `prices` are bids, every event a row that wants to buy at p = 0.6."""
    bid = np.asarray(prices, dtype=float)
    n = bid.size
    outputs = np.column_stack([np.ones(n), np.full(n, math.log(0.6 / 0.4)), np.zeros(n)])
    return book_market(
        features=outputs,
        row_event=np.arange(n),
        ts_ns=np.arange(n) * SECOND,
        bid=bid,
        ask=bid + spread,
        depth=depth,
    )


LONG = genome(BpsStop(100.0), hold=3.0, kelly_fraction=0.2)
#: Bids after an entry at ask 1000.1 (stop 990.0, take-profit 1030.2), what must come of it.
CASES = [
    ("the stop fills at the bid that met it", [1000.0, 995.0, 989.0, 1000.0], "stop", 2, 989.0),
    ("the stop is met at its own price", [1000.0, 990.0, 1000.0], "stop", 1, 990.0),
    ("a tick above the stop is not the stop", [1000.0, 990.1, 990.1, 990.1, 995.0], "max_hold", 3, 990.1),
    ("the take-profit fills at its limit", [1000.0, 1040.0, 1000.0], "take_profit", 1, 1030.2),
    ("the bid must reach the take-profit", [1000.0, 1030.1, 1030.2, 1000.0], "take_profit", 2, 1030.2),
    ("the time-out closes at the bid", [1000.0, 1001.0, 1002.0, 1003.0, 1004.0], "max_hold", 3, 1003.0),
    ("the stop comes before the time-out", [1000.0, 1001.0, 1002.0, 980.0, 1004.0], "stop", 3, 980.0),
    ("what is open at the end is closed there", [1000.0, 1001.0, 1002.0], "end", 2, 1002.0),
]


@pytest.mark.parametrize(
    ("prices", "kind", "event", "price"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_exits(prices, kind, event, price):
    trade = replay_trades(path(prices), OUTPUTS, LONG)[0]
    assert trade["entry_price"] == 1000.1
    assert (EXIT_KINDS[trade["exit_kind"]], trade["exit_event"]) == (kind, event)
    assert trade["exit_price"] == pytest.approx(price, abs=1e-9)


RESTING = genome(
    BpsStop(100.0), hold=30.0, kelly_fraction=0.2, execution="passive",
    timers=PassiveTimers(2 * SECOND, 5 * SECOND),
)  # fmt: skip
MAKER, TAKER = SPEC.maker_fee, SPEC.taker_fee
#: Bids one second apart, asks a tick above; a decision to buy at the first, signalled while the flag says so.
#: What must come of it: event and price of the entry, its fee, and how it ended.
ENTRIES = [
    ("an ask at its price fills it there", [1000.0, 999.9, 1000.0], "111", (1, 1000.0, MAKER, "rested")),
    ("so does one beyond it", [1000.0, 997.0, 1000.0], "111", (1, 1000.0, MAKER, "rested")),
    ("an ask a tick above does not", [1000.0, 1000.0, 1000.0], "111", None),
    ("it stays when the bid leaves", [1000.0, 1000.5, 999.9, 999], "1111", (2, 1000, MAKER, "rested")),
    ("then it follows", [1000.0, 1000.5, 1000.5, 1000.4, 1000], "11111", (3, 1000.5, MAKER, "rested")),
    ("it does not follow a falling bid", [1000.0] * 4 + [999.9, 999], "111111", (4, 1000, MAKER, "rested")),
    ("patience ends at market", [1000.0, 1001, 1002, 1003, 1004, 1005, 1006], "1111111",
     (5, 1005.1, TAKER, "crossed")),
    ("a signal that is gone ends it", [1000.0, 1000.0, 999.9, 999.9], "1000", "given_up"),
    ("a fill at the event of that row is first", [1000.0, 999.9, 1000.0], "100", (1, 1000, MAKER, "rested")),
    ("a signal gone as patience ends ends it", [1000.0, 1001, 1002, 1003, 1004, 1005, 1006], "1111100",
     "given_up"),
    ("filled beyond its stop it leaves at once", [1000.0, 980, 995, 995], "1111", (1, 1000, MAKER, "rested")),
    ("the end of its bracket is reached first", [1000.0, 1029.9, 999.9, 999.9], "1100", "given_up"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("prices", "wanted", "expected"), [c[1:] for c in ENTRIES], ids=[c[0] for c in ENTRIES]
)
def test_entries_that_rest(prices, wanted, expected):
    market = path(prices)
    outputs = np.array(market.features)
    outputs[:, 0] = [float(flag) for flag in wanted]
    market = market._replace(features=frozen(np.asfortranarray(outputs)))
    trades = replay_trades(market, OUTPUTS, RESTING)
    result = replay(market, OUTPUTS, RESTING)[0]
    ends = {name: int(result[f"n_{name}"]) for name in ("rested", "crossed", "given_up")}
    if not isinstance(expected, tuple):
        assert trades.size == 0
        assert ends == {"rested": 0, "crossed": 0, "given_up": int(expected == "given_up")}
        return
    event, price, fee, how = expected
    trade = trades[0]
    assert (trade["entry_event"], trade["entry_row"]) == (event, 0)
    assert trade["entry_price"] == pytest.approx(price, abs=1e-9)
    assert ends[how] >= 1
    paid = trade["quantity"] * (trade["entry_price"] * fee + trade["exit_price"] * TAKER)
    assert trade["fees"] == pytest.approx(paid)
    assert (trade["take_profit"], trade["stop"]) == (1030.0, 990.0)  # of the bid at which it was to rest
    if prices[1] < 990.0:
        # The venue takes no stop that is passed: it is sold on the book of the fill.
        assert (trade["exit_event"], trade["exit_price"]) == (1, 980.0)
        assert EXIT_KINDS[trade["exit_kind"]] == "stop"


@pytest.mark.parametrize(
    ("prices", "event", "price"),
    [
        # It arrives at event 2, whose ask is at its price, and is sent anew from event 3.
        ([1000, 1000, 999, 999, 999, 999, 998, 998], 6, 999.0),
        # It rests from event 2 on, is taken back at 3 as the bid has left, and filled before that arrives.
        ([1000, 1000, 1000, 1003, 999, 1000, 1000], 4, 1000.0),
    ],
    ids=["refused where it would trade", "filled while its cancellation travels"],
)
def test_a_command_under_way_meets_what_it_finds(prices, event, price):
    trade = replay_trades(path(prices), OUTPUTS, RESTING, latency_ns=2 * SECOND)[0]
    assert (trade["entry_event"], trade["entry_price"]) == (event, price)


class _Patient:
    def choose(self, state):
        return 0


def test_entries_that_the_replay_cannot_make_are_refused():
    register_entry_policy("test-replay-patient", _Patient())
    learned = genome(execution="test-replay-patient")
    with pytest.raises(ValueError, match=r"rules\[0\].*aggressive and passive"):
        replay(path([1000.0] * 3), OUTPUTS, learned)
    bars = bar_market(
        features=np.zeros((3, 3)), ts_ns=np.arange(3), open=np.ones(3), high=np.ones(3), low=np.ones(3),
        close=np.ones(3), half_spread=0.1,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"rules\[0\].*passive.*bars have none"):
        replay(bars, OUTPUTS, RESTING)


def test_an_agent_may_enter_again_on_the_row_of_its_exit():
    trades = replay_trades(path([1000.0, 980.0, 981.0]), OUTPUTS, LONG)
    assert trades["entry_event"].tolist() == [0, 1]


def test_an_entry_beyond_the_touch_pays_the_levels_behind_it():
    depth = np.zeros((3, 4, 2))
    depth[:, 0], depth[:, 1] = [1000.0, 999.0], [9.0, 9.0]
    depth[:, 2], depth[:, 3] = [1000.1, 1000.5], [0.5, 9.0]
    trade = replay_trades(path([1000.0] * 3, depth=depth), OUTPUTS, LONG)[0]
    q = trade["quantity"]
    assert q > 0.5
    assert trade["entry_price"] == pytest.approx((0.5 * 1000.1 + (q - 0.5) * 1000.5) / q)
    assert trade["fees"] == pytest.approx(q * (trade["entry_price"] + trade["exit_price"]) * SPEC.taker_fee)


def test_a_bar_over_both_barriers_is_a_stop():
    n = 3
    outputs = np.column_stack([np.ones(n), np.full(n, 0.4), np.zeros(n)])
    market = bar_market(
        features=outputs,
        ts_ns=np.arange(1, n + 1) * SECOND,
        open=[1000.0] * n,
        high=[1000.0, 1100.0, 1000.0],
        low=[1000.0, 900.0, 1000.0],
        close=[1000.0] * n,
        half_spread=0.1,
    )
    trade = replay_trades(market, OUTPUTS, LONG)[0]
    assert EXIT_KINDS[trade["exit_kind"]] == "stop"
    assert trade["exit_price"] == trade["stop"] < 1000.0


def test_an_agent_that_cannot_pay_the_smallest_order_is_ruined():
    poor = InstrumentSpec(
        id="X.TEST",
        base="X",
        quote="USDT",
        price_precision=1,
        size_precision=2,
        tick=0.1,
        lot=0.01,
        min_notional=1900.0,
    )
    rules = genome(BpsStop(100.0), hold=3.0, kelly_fraction=1.0, spec=poor)
    prices = [1000.0, 900.0, 1000.0, 1000.0]
    result = replay(path(prices), OUTPUTS, rules)[0]
    assert result["ruin_ts_ns"] == SECOND
    assert result["n_trades"] == 1
    assert result["fitness"] == pytest.approx(-1.0 - 2.0 / 3.0)


def test_a_doubled_agent_is_worth_more_the_sooner():
    rules = genome(BpsStop(100.0), hold=30.0, kelly_fraction=1.0, max_leverage=100.0)
    slow = replay(path([1000.0] * 20 + [1040.0, 1000.0]), OUTPUTS, rules)[0]
    soon = replay(path([1000.0, 1040.0] + [1000.0] * 20), OUTPUTS, rules, target=1.5)[0]
    assert soon["target_ts_ns"] == SECOND
    assert 1.0 <= slow["fitness"] < soon["fitness"] <= 2.0


@pytest.fixture(scope="module")
def population():
    rng = np.random.default_rng(3)
    n = 20_000
    book = random_book(rng, n, step_s=0.2)
    book["features"] = rng.normal(0, 1, (n, 4))
    book["row_event"] = np.arange(n)
    trees = [
        [
            random_tree(rng, 4, depth=4),
            random_tree(rng, 4, depth=3),
            *([random_tree(rng, 4, depth=2)] if i % 3 else []),
        ]
        for i in range(24)
    ]
    ways = [*RULES_TO_TRY, *PASSIVE_TO_TRY]
    rules = np.array([ways[i % len(ways)] for i in range(24)])
    return book_market(**book), [compile_trees(t, 4) for t in trees], rules


def test_results_do_not_depend_on_threads_or_on_the_company(population):
    market, programs, rules = population
    one = replay(market, pack(programs), rules, threads=1)
    assert replay(market, pack(programs), rules, threads=3).tobytes() == one.tobytes()
    for g in (0, 7, 23):
        assert (
            replay(market, pack([programs[g]]), rules[g : g + 1], threads=1).tobytes()
            == one[g : g + 1].tobytes()
        )
    assert (one["n_trades"] > 0).sum() > 5


def test_evaluating_the_signal_first_changes_nothing(population):
    market, programs, rules = population
    results = replay(market, pack(programs), rules)
    for g in (1, 4, 8):
        outputs, _ = evaluate_block([programs[g]], np.asarray(market.features))
        plain = np.zeros((outputs.shape[2], 3))
        plain[:, : outputs.shape[1]] = outputs[0].T
        again = replay(market._replace(features=frozen(np.asfortranarray(plain))), OUTPUTS, rules[g])
        for name in ("final_equity", "n_trades", "fitness", "sharpe", "fees", "costs"):
            assert again[name][0] == results[name][g]


def test_a_feature_without_a_value_is_nothing_to_a_plain_output():
    outputs = np.column_stack([[np.nan, 1.0, 1.0, 1.0], [0.4, np.nan, 0.4, 0.4], [0.0] * 4])
    market = path([1000.0] * 4)._replace(features=frozen(np.asfortranarray(outputs)))
    computed = pack([compile_trees([call("add", feature(i), constant(0.0)) for i in range(3)], 3)])
    for programs in (OUTPUTS, computed):
        # A NaN score reads as 0, which is p = 0.5; a NaN signal as 0, which is no signal.
        trades = replay_trades(market, programs, LONG)
        assert trades["entry_row"].tolist() == [1]
        assert trades["p"][0] == 0.5


def test_marks_do_not_change_the_trades(population):
    market, programs, rules = population
    plain = replay(market, pack(programs), rules)
    for marks in (1, 17, 400):
        results, curves = replay_curves(market, pack(programs), rules, marks=marks)
        assert curves.shape == (24, marks)
        for name in ("final_equity", "n_trades", "fitness", "sum_return2", "ruin_ts_ns"):
            assert (results[name] == plain[name]).all()
        assert np.isfinite(curves).all()


def test_the_summary_is_that_of_the_trades(population):
    market, programs, rules = population
    batch = pack(programs)
    results = replay(market, batch, rules)
    for g in np.argsort(results["n_trades"])[-5:]:
        trades = replay_trades(market, programs[g], rules[g])
        row = results[g]
        assert row["n_trades"] == trades.size > 1
        before = np.concatenate([[200.0], trades["equity_after"][:-1]])
        m = moments(trades["profit"] / before)
        assert row["sharpe"] == pytest.approx(m.sharpe, rel=1e-6)
        assert row["skew"] == pytest.approx(m.skew, rel=1e-4, abs=1e-6)
        assert row["kurtosis"] == pytest.approx(m.kurtosis, rel=1e-4)
        assert row["final_equity"] == trades["equity_after"][-1]
        assert row["fees"] == pytest.approx(trades["fees"].sum())
        assert row["gross_profit"] - row["fees"] == pytest.approx(row["final_equity"] - 200.0)
        assert row["n_wins"] == (trades["profit"] > 0).sum()
        assert row["n_stops"] == (trades["exit_kind"] == EXIT_KINDS.index("stop")).sum()
        assert row["max_drawdown"] >= max_drawdown(np.concatenate([[200.0], trades["equity_after"]])) - 1e-12
        assert row["costs"] >= row["fees"]


def test_the_curve_marks_an_open_position_at_the_touch_it_would_close_on():
    market = path([1000.0, 1001.0, 1002.0, 1001.5])
    rules = genome(BpsStop(100.0), hold=60.0, kelly_fraction=0.2)
    trade = replay_trades(market, OUTPUTS, rules)[0]
    _, curves = replay_curves(market, OUTPUTS, rules, marks=4)
    entry_fee = trade["quantity"] * 1000.1 * SPEC.taker_fee
    expected = [
        200.0 - entry_fee + trade["quantity"] * (bid - 1000.1) for bid in (1000.0, 1001.0, 1002.0, 1001.5)
    ]
    assert curves[0] == pytest.approx(expected)


def test_what_comes_after_the_last_row_is_not_seen(population):
    market, programs, rules = population
    half = 10_000
    changed = {}
    for name in ("bid", "ask", "low_bid", "high_bid", "low_ask", "high_ask", "open_bid", "open_ask"):
        array = np.array(getattr(market, name))
        array[half:] *= 3.0
        changed[name] = frozen(array)
    full = replay(market, pack(programs), rules, (0, half))
    assert replay(market._replace(**changed), pack(programs), rules, (0, half)).tobytes() == full.tobytes()


def test_a_thousand_trades_are_all_returned():
    prices = np.where(np.arange(3000) % 2 == 0, 1000.0, 1000.2)
    trades = replay_trades(path(prices), OUTPUTS, genome(BpsStop(100.0), hold=0.5, kelly_fraction=0.01))
    assert trades.size > 1024
    assert (trades["entry_price"] > 0).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ts_ns": np.array([0, 2, 1])}, "back in time"),
        ({"row_event": np.array([0, 1, 3])}, "point into the path"),
        ({"row_event": np.array([0, 1])}, "3 rows of features, 2 of row_event"),
        ({"bid": np.ones(2)}, "bid has 2"),
        ({"depth": np.zeros((3, 2, 5))}, r"shape \(M, 4, K\)"),
        ({"features": np.zeros(3)}, "shape"),
    ],
)
def test_a_path_that_does_not_fit_is_refused(change, says):
    good = {
        "features": np.zeros((3, 3)),
        "row_event": np.arange(3),
        "ts_ns": np.arange(3),
        "bid": np.ones(3),
        "ask": np.full(3, 1.1),
    }
    with pytest.raises(ValueError, match=says):
        book_market(**good | change)


def test_parameters_that_do_not_fit_are_refused():
    market = path([1000.0] * 3)
    rules = rules_array([Genome(instrument_id="x", bracket=Bracket(stop=BpsStop(1.0), max_hold_s=1.0))], SPEC)
    wide = pack([compile_trees([feature(5), feature(5)], 6)])
    single = pack([compile_trees([call("add", feature(0), constant(1.0))], 3)])
    for args, says in [
        ((market, OUTPUTS, rules[:0]), "as many records"),
        ((market, OUTPUTS, np.zeros(1)), "as many records"),
        ((market, wide, rules), "6 features"),
        ((market, single, rules), "signal and confidence"),
        ((market, OUTPUTS, rules, (2, 2)), "rows must satisfy"),
        ((market, OUTPUTS, rules, (0, 4)), "rows must satisfy"),
    ]:
        with pytest.raises(ValueError, match=says):
            replay(*args)
    with pytest.raises(ValueError, match="latency_ns"):
        replay(market, OUTPUTS, rules, latency_ns=-1)
    with pytest.raises(ValueError, match="batch of 2"):
        replay_trades(market, pack([compile_trees([feature(0)] * 2, 3)] * 2), rules)
    with pytest.raises(ValueError, match="half_spread must be positive"):
        bar_market(
            features=np.zeros((1, 3)), ts_ns=[1], open=[1], high=[1], low=[1], close=[1], half_spread=0.0
        )


def test_no_genomes_give_no_results():
    assert replay(path([1000.0] * 3), pack([]), rules_array([], SPEC)).shape == (0,)


def test_columns_too_large_for_the_memory_lie_in_a_file_and_give_the_same(monkeypatch, tmp_path):
    from apex_nautilus.forge import _replay_market

    features = np.random.default_rng(2).normal(size=(1000, 3))
    plain = _replay_market._columns(features)
    monkeypatch.setattr(_replay_market, "_memory_limit", lambda: 1000)
    monkeypatch.setattr(_replay_market, "_BLOCK", 64)
    monkeypatch.setattr(_replay_market.tempfile, "tempdir", str(tmp_path))
    mapped = _replay_market._columns(features)
    assert isinstance(mapped.base.base, np.memmap) or isinstance(mapped.base, np.memmap)
    assert mapped.flags.f_contiguous
    assert not mapped.flags.writeable
    assert type(mapped) is np.ndarray
    np.testing.assert_array_equal(mapped, plain)
    assert list(tmp_path.iterdir()) == []

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_replay_market.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="set TMPDIR to a folder with room"):
        _replay_market._columns(features)


def test_the_first_crossing_is_the_first_that_a_plain_search_finds():
    from apex_nautilus.forge._replay_fills import EXTREMES, first_crossing

    rng = np.random.default_rng(6)
    for _ in range(300):
        n = int(rng.integers(1, 600))
        low = 100.0 + np.cumsum(rng.normal(size=n)) * 0.1
        high = low + rng.exponential(0.05, n)
        low[rng.random(n) < 0.05] = np.nan
        cuts = np.arange(0, n, EXTREMES)
        lowest, highest = np.fmin.reduceat(low, cuts), np.fmax.reduceat(high, cuts)
        start, end = np.sort(rng.integers(0, n, 2))
        floor, ceiling = 100.0 - rng.exponential(1.0), 100.0 + rng.exponential(1.0)
        crossed = np.flatnonzero((low[start : end + 1] <= floor) | (high[start : end + 1] >= ceiling))
        wanted = start + crossed[0] if crossed.size else end + 1
        found = first_crossing(low, lowest, floor, high, highest, ceiling, int(start), int(end))
        assert found == wanted
