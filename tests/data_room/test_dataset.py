"""Datasets: the same from memory and from the catalog, whole or absent, no look-ahead, splits that share
nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apex_nautilus.data import (
    BARS,
    Bracket,
    Dataset,
    DatasetError,
    bar_type_name,
    binance_instrument,
    build_dataset,
    dataset_from_bars,
    dataset_from_events,
    import_freqtrade,
    read_bars,
    read_events,
    write_bars,
    write_events,
)
from apex_nautilus.data.bars import resample
from apex_nautilus.data.dataset import DatasetWriter
from apex_nautilus.data.splits import time_splits
from apex_nautilus.features import FLAG_LAST, FeatureError, names

BTC = binance_instrument("BTCUSDT-PERP.BINANCE")
SECOND, MINUTE = 1_000_000_000, 60_000_000_000
ARRAYS = ("ts_ns", "features", "mid", "row_event", "path_ts_ns", "path_bid", "path_ask", "path_depth")


@pytest.fixture(scope="module")
def events(btc_import):
    return np.concatenate(list(read_events(btc_import[0], BTC.id)))


@pytest.fixture(scope="module")
def quick_features():
    return [n for n in names("book") if not n.endswith("60s")]


def assert_same(a: Dataset, b: Dataset) -> None:
    assert a.card == b.card
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("clock", ["book", "1s"])
def test_built_from_the_catalog_in_chunks_is_built_in_memory(
    clock, btc_import, events, quick_features, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "apex_nautilus.data.build.read_events",
        lambda *args: read_events(*args, chunk_rows=9_000),
    )  # fmt: skip
    built = build_dataset(btc_import[0], BTC.id, clock, quick_features, tmp_path / "d")
    memory = dataset_from_events(events, BTC, clock, quick_features, source=built.card.source)
    assert_same(built, memory)
    assert isinstance(built.features, np.memmap)
    assert not built.features.flags.writeable
    assert built.card.counts["rows"] == len(built) > (1_000 if clock == "book" else 50)
    assert np.isfinite(built.features).all()
    at = built.row_event
    np.testing.assert_array_equal(built.mid, 0.5 * (built.path_bid[at] + built.path_ask[at]))
    np.testing.assert_array_equal(built.path_bid, built.path_depth[:, 0, 0])
    assert (built.path_bid < built.path_ask).all()


def test_no_row_depends_on_what_came_after_it(events, quick_features):
    ends = np.flatnonzero((events["flags"] & FLAG_LAST) != 0)
    cut = int(ends[ends.size // 2]) + 1
    whole = dataset_from_events(events, BTC, "book", quick_features)
    changed = events.copy()
    later = changed[cut:]
    later["price"] += np.where(later["price"] > 0, 40, 0)
    later["size"] *= 3
    for other in (events[:cut], changed):
        past = dataset_from_events(other, BTC, "book", quick_features)
        rows = int(np.searchsorted(whole.ts_ns, events["ts_init_ns"][cut - 1], side="right"))
        assert rows > 300
        np.testing.assert_array_equal(past.features[:rows], whole.features[:rows])
        np.testing.assert_array_equal(past.row_event[:rows], whole.row_event[:rows])


def test_a_label_depends_on_nothing_after_its_exit(events, quick_features):
    dataset = dataset_from_events(events, BTC, "book", quick_features)
    bracket = Bracket("bps", 0.5, 5 * SECOND)
    labels = dataset.labels(bracket)
    cut = dataset.path_ts_ns.size // 2
    parts = {name: getattr(dataset, name) for name in ARRAYS}
    for name in ("path_bid", "path_ask"):
        parts[name] = parts[name].copy()
        parts[name][cut:] += 1_000.0
    shifted = Dataset(card=dataset.card, **parts).labels(bracket)
    settled = (labels["exit_event"] >= 0) & (labels["exit_event"] < cut)
    assert 100 < settled.sum() < settled.size
    assert (shifted[settled] == labels[settled]).all()
    # And nothing before the row's own book: labels of a later range are those of the whole.
    assert (dataset.labels(bracket, (700, 900)).tobytes()) == labels[700:900].tobytes()


def test_the_id_names_the_inputs(events, quick_features):
    def card(data=events, clock="book", features=tuple(quick_features), **options):
        return dataset_from_events(data, BTC, clock, features, **options).card

    base = card()
    assert card(source="elsewhere").id == base.id == card().id
    other = events.copy()
    other["size"][-2] += 1
    ids = {
        base.id,
        card(other).id,
        card(clock="1s").id,
        card(features=base.feature_names[:-1]).id,
        card(conflate_ms=50).id,
    }
    assert len(ids) == 5


def test_saving_is_all_or_nothing_and_damage_is_told(events, quick_features, tmp_path):
    made = dataset_from_events(events, BTC, "1s", quick_features)
    folder = tmp_path / "d"
    assert_same(made.save(folder), made)
    assert_same(made.save(folder), made)  # again, over itself
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d"]
    assert json.loads((folder / "card.json").read_text())["schema"] == "apex.dataset/1"

    with pytest.raises(DatasetError, match="no dataset here"):
        Dataset.open(tmp_path / "nothing")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(DatasetError, match="is not a dataset"):
        made.save(tmp_path / "mine")
    np.save(folder / "mid.npy", made.mid[:-1])
    with pytest.raises(DatasetError, match="mid does not have"):
        Dataset.open(folder)
    (folder / "ts_ns.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(folder)


def damaged(folder, name, array):
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(DatasetError, match=name):
        Dataset.open(folder)


def test_arrays_of_the_wrong_kind_are_refused_before_a_kernel_reads_them(events, tmp_path):
    made = dataset_from_events(events, BTC, "1s", ["imbalance"])
    for name, array in (
        ("row_event", made.row_event + made.path_ts_ns.size),
        ("row_event", -made.row_event - 1),
        ("mid", made.mid.astype(np.float32)),
        ("mid", made.mid[:, None]),
        ("features", made.features[:, 0]),
        ("path_depth", made.path_depth[:, :, 0]),
    ):
        made.save(tmp_path / "d")
        damaged(tmp_path / "d", name, array)
    made.save(tmp_path / "d")
    (tmp_path / "d" / "mid.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(tmp_path / "d")
    with pytest.raises(DatasetError, match="not a folder"):
        Dataset.open(tmp_path / "d" / "mid.npy")
    with pytest.raises(DatasetError, match="is not a dataset"):
        made.save(tmp_path / "d" / "mid.npy")


def test_a_dataset_behind_a_symbolic_link_is_replaced_where_it_lies(events, tmp_path):
    made = dataset_from_events(events, BTC, "1s", ["imbalance"])
    (tmp_path / "big_disk").mkdir()
    (tmp_path / "d").symlink_to(tmp_path / "big_disk" / "d")
    for _ in range(3):
        made.save(tmp_path / "d")
    assert (tmp_path / "d").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big_disk", "d"]
    assert [p.name for p in (tmp_path / "big_disk").iterdir()] == ["d"]


def test_two_builds_of_one_dataset_do_not_mix(events, tmp_path):
    made = dataset_from_events(events, BTC, "1s", ["imbalance"])
    with (
        DatasetWriter(tmp_path / "d", 1),
        pytest.raises(DatasetError, match="another process is building"),
    ):
        made.save(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
    assert_same(made.save(tmp_path / "d"), made)


def test_a_dataset_set_aside_by_a_killed_commit_comes_back(events, tmp_path):
    made = dataset_from_events(events, BTC, "1s", ["imbalance"])
    made.save(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / ".d.old")
    with DatasetWriter(tmp_path / "d", 1):
        pass  # a build that fails
    assert_same(Dataset.open(tmp_path / "d"), made)
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


FULL_DISK = """
import resource, sys
import numpy as np
from apex_nautilus.data import build_dataset, read_events, write_events, load_instrument
catalog, out, what = sys.argv[1:]
spec = load_instrument(catalog, "BTCUSDT-PERP.BINANCE")
events = np.concatenate(list(read_events(catalog, spec.id)))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    if what == "dataset":
        build_dataset(catalog, spec.id, "book", ["imbalance"], out)
    else:
        write_events(out, spec, events, replace=True)
except OSError as error:
    print("refused:", error.strerror or error)
"""


@pytest.mark.parametrize("what", ["dataset", "catalog"])
def test_a_disk_that_fills_up_leaves_what_was_there(what, btc_import, events, tmp_path):
    out = tmp_path / "out"
    if what == "dataset":
        dataset_from_events(events, BTC, "1s", ["imbalance"]).save(out)
    else:
        write_events(out, BTC, events[: int(np.flatnonzero(events["flags"] & FLAG_LAST)[50]) + 1])
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", FULL_DISK, btc_import[0], out, what],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("refused: ")
    assert "Exception ignored" not in done.stderr
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


KILLER = """
import os, sys
from apex_nautilus.data import build_dataset, dataset
dataset.write_atomic = lambda *args: os._exit(9)  # when only the card is missing
build_dataset(sys.argv[1], "BTCUSDT-PERP.BINANCE", "1s", ["imbalance"], sys.argv[2])
"""


def test_a_killed_build_leaves_nothing_and_can_be_run_again(btc_import, tmp_path):
    out = tmp_path / "d"
    done = subprocess.run([sys.executable, "-c", KILLER, btc_import[0], out], check=False)
    assert done.returncode == 9
    assert not out.exists()
    assert len(build_dataset(btc_import[0], BTC.id, "1s", ["imbalance"], out)) > 80
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize(
    ("clock", "features", "error", "match"),
    [
        ("2s", ["imbalance"], DatasetError, "'2s' is not one of"),
        ("book", ["imbalanc"], FeatureError, "imbalance"),
        ("5m", ["bar_return"], DatasetError, "no bars of BTCUSDT-PERP"),
    ],
)
def test_what_cannot_be_built_is_told(clock, features, error, match, btc_import, tmp_path):
    with pytest.raises(error, match=match):
        build_dataset(btc_import[0], BTC.id, clock, features, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


# ---- bars


def test_a_dataset_of_recorded_candles(samples, tmp_path):
    import_freqtrade([samples / "BTC_USDT_USDT-5m-futures.feather"], tmp_path / "c")
    five = build_dataset(tmp_path / "c", BTC.id, "5m", names("bar"), tmp_path / "five", half_spread_bps=2.0)
    assert five.is_bars
    assert five.card.counts["rows"] + five.card.counts["cold_rows"] == 2_880
    np.testing.assert_array_equal(five.ts_ns, five.path_ts_ns[five.row_event])
    assert five.path_close is not None
    before = np.concatenate([five.path_open[:1], five.path_close[:-1]])
    ticks = np.ceil(2e-4 * before / BTC.tick - 1e-6)  # the half spread, of the close before
    np.testing.assert_allclose(five.path_half_spread, ticks * BTC.tick, rtol=1e-12)
    np.testing.assert_allclose(five.path_ask - five.path_bid, 2 * five.path_half_spread, rtol=1e-9)

    # 15 minutes are made of the 5-minute bars, and traded on these.
    fifteen = build_dataset(tmp_path / "c", BTC.id, "15m", ["bar_return"], tmp_path / "fifteen")
    assert fifteen.path_ts_ns.size == 2_880
    assert (fifteen.ts_ns % (15 * MINUTE) == 0).all()
    assert fifteen.path_close is not None
    closes = fifteen.path_close[fifteen.row_event]
    np.testing.assert_allclose(
        fifteen.features[1:, 0], np.log(closes[1:] / closes[:-1]) * 1e4, rtol=1e-6, atol=1e-6
    )


def test_bars_of_a_dataset_do_not_look_ahead(samples, tmp_path):
    import_freqtrade([samples / "ETH_USDT_USDT-5m-futures.feather"], tmp_path)
    bars = read_bars(tmp_path, bar_type_name("ETHUSDT-PERP.BINANCE", 5))
    spec = binance_instrument("ETHUSDT-PERP.BINANCE")
    whole = dataset_from_bars(bars, spec, "5m", names("bar"))
    part = dataset_from_bars(bars[:1_000], spec, "5m", names("bar"))
    np.testing.assert_array_equal(part.features, whole.features[: len(part)])


def test_finer_bars_are_the_path_only_when_they_cover_the_rows(tmp_path):
    def bars(minutes, first, n):
        out = np.zeros(n, dtype=BARS)
        out["ts_ns"] = first + np.arange(1, n + 1) * minutes * MINUTE
        out["open"], out["high"], out["low"], out["close"], out["volume"] = (
            1000,
            1020,
            980,
            1000 + np.arange(n) % 7,
            5,
        )
        return out

    write_bars(tmp_path, BTC, bars(5, 0, 400), bar_type_name(BTC.id, 5))
    write_bars(tmp_path, BTC, bars(1, 4_000 * MINUTE, 300), bar_type_name(BTC.id, 1))
    apart = build_dataset(tmp_path, BTC.id, "5m", ["bar_return"], tmp_path / "d")
    assert apart.path_ts_ns.size == 400
    write_bars(tmp_path, BTC, bars(1, 0, 2_000), bar_type_name(BTC.id, 1))
    covered = build_dataset(tmp_path, BTC.id, "5m", ["bar_return"], tmp_path / "d")
    assert covered.path_ts_ns.size > 2_000
    np.testing.assert_array_equal(covered.path_ts_ns[covered.row_event], covered.ts_ns)


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(0, 20), st.randoms(use_true_random=False))
def test_resampled_bars_agree_with_a_plain_loop(n, offset, rnd):
    bars = np.zeros(n, dtype=BARS)
    bars["ts_ns"] = (offset + np.arange(1, n + 1)) * MINUTE
    for bar in bars:
        low, high = sorted(rnd.randint(900, 1100) for _ in range(2))
        bar["low"], bar["high"], bar["volume"] = low, high, rnd.randint(0, 9)
        bar["open"], bar["close"] = rnd.randint(low, high), rnd.randint(low, high)
    bars = bars[np.array([True] + [rnd.random() > 0.1 for _ in range(n - 1)])]
    got = resample(bars, 1, 5)
    expected = []
    for close in range(0, (offset + n + 5) * MINUTE, 5 * MINUTE):
        inside = [b for b in bars if close - 5 * MINUTE < b["ts_ns"] <= close]
        begun = int(bars["ts_ns"][0]) <= close - 4 * MINUTE
        if inside and begun and int(bars["ts_ns"][-1]) >= close:
            expected.append(
                (close, inside[0]["open"], max(b["high"] for b in inside), min(b["low"] for b in inside),
                 inside[-1]["close"], sum(int(b["volume"]) for b in inside))
            )  # fmt: skip
    assert got.tolist() == [tuple(int(x) for x in row) for row in expected]


# ---- splits


@given(
    st.lists(st.integers(0, 5), min_size=30, max_size=300), st.integers(0, 20), st.integers(0, 20),
    st.floats(0.2, 0.7), st.floats(0.1, 0.25),
)  # fmt: skip
def test_no_trade_of_one_part_reaches_the_next(steps, hold, embargo, train, validation):
    ts = np.cumsum(steps).astype(np.int64)
    try:
        parts = time_splits(ts, hold, train, validation, embargo_ns=embargo)
    except DatasetError:
        assume(False)
        return
    assert parts.train[0] == 0
    assert parts.test[1] == ts.size
    for (lo, hi), (after, _) in ((parts.train, parts.validation), (parts.validation, parts.test)):
        assert lo < hi <= after
        assert ts[hi - 1] + hold < ts[after]
        assert ts[after] - (ts[hi - 1] + hold) > embargo


def test_splits_of_a_dataset_and_what_is_too_short(events):
    dataset = dataset_from_events(events, BTC, "1s", ["imbalance"])
    train, validation, test = dataset.splits(2 * SECOND)
    assert train[1] <= validation[0] - 3
    assert validation[1] <= test[0] - 3
    assert sum(hi - lo for lo, hi in (train, validation, test)) > 0.8 * len(dataset)
    with pytest.raises(DatasetError, match="part would be empty: 89 rows over 88 s"):
        dataset.splits(60 * SECOND)
    with pytest.raises(DatasetError, match="positive shares"):
        dataset.splits(SECOND, train=0.9, validation=0.2)
