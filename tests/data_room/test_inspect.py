"""`inspect` says what a plain look at the whole data says, and damage stops nothing but itself."""

from __future__ import annotations

import json
import math
import shutil

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.serialization.arrow.serializer import ArrowSerializer

from apex_nautilus.cli._progress_line import progress_text
from apex_nautilus.cli.apex_commands.data import command
from apex_nautilus.data import (
    BARS,
    DataError,
    bar_type_name,
    binance_instrument,
    inspect_catalog,
    read_events,
    write_bars,
    write_events,
)
from apex_nautilus.data.catalog_writer import CatalogWriter
from apex_nautilus.data.external import write_external
from apex_nautilus.data.inspect_bars import inspect_bars
from apex_nautilus.data.inspect_page import write_inspect_page
from apex_nautilus.data.inspect_report import CatalogSummary
from apex_nautilus.data.inspect_stream import LongestGaps, inspect_stream
from apex_nautilus.data.ladder import Ladder
from apex_nautilus.data.log_histogram import LogHistogram
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE, NO_ASK, NO_BID, scale
from apex_nautilus.features.external import ExternalSeries

BTC = binance_instrument("BTCUSDT-PERP.BINANCE")
MINUTE = 60_000_000_000


@pytest.fixture(scope="module")
def events(btc_import):
    return np.concatenate(list(read_events(btc_import[0], BTC.id)))


@pytest.fixture(scope="module")
def ends(events):
    """The end of each whole batch or trade."""
    return np.flatnonzero((events["kind"] == KIND_TRADE) | ((events["flags"] & FLAG_LAST) != 0)) + 1


def inspect(*args, ok=True):
    result = CliRunner().invoke(command, ["inspect", *map(str, args)], catch_exceptions=False)
    assert (result.exit_code == 0) == ok, result.output
    return result


def test_a_stream_is_summed_up_as_a_plain_look_at_it_says(btc_import, events):
    (stream,) = inspect_catalog(btc_import[0], gap_s=0.05, timeline=True).streams
    ts = events["ts_init_ns"]
    silences = np.diff(ts)
    assert stream.span_ns == (ts[0], ts[-1])
    assert stream.gaps == (silences > 50_000_000).sum() > 0
    longest = np.argsort(-silences, kind="stable")[: min(stream.gaps, 10)]
    assert [(g.start_ns, g.seconds) for g in stream.longest_gaps] == [
        (int(ts[i]), silences[i] / 1e9) for i in longest
    ]
    book = events[events["kind"] != KIND_TRADE]
    touches = Ladder().apply(book)
    bid, ask = touches[:, 2], touches[:, 3]
    whole = (bid > NO_BID) & (ask < NO_ASK) & (bid < ask)
    spread = ((ask - bid) / (0.5 * (bid + ask)) * 1e4)[whole]
    assert stream.spread_bps is not None
    assert stream.spread_bps.count == whole.sum()
    assert stream.spread_bps.mean == pytest.approx(spread.mean())
    assert (stream.spread_bps.least, stream.spread_bps.most) == (spread.min(), spread.max())
    assert stream.spread_bps.p99 == pytest.approx(np.quantile(spread, 0.99, method="lower"), rel=0.02)
    trades = events[events["kind"] == KIND_TRADE]
    units = scale(BTC.size_precision)
    assert stream.traded == pytest.approx(trades["size"].sum() / units)
    assert stream.bought_share == pytest.approx(
        trades["size"][trades["side"] > 0].sum() / trades["size"].sum()
    )
    skew = (ts - events["ts_event_ns"])[events["ts_event_ns"] > 0] / 1e6
    assert stream.skew is not None
    assert stream.skew.p50 == pytest.approx(np.quantile(skew, 0.5, method="lower"), rel=0.02)

    timeline = stream.timeline
    assert timeline is not None
    assert sum(timeline.batches) == stream.batches
    assert sum(timeline.trades) == stream.trades == len(trades)
    mids = [m for m in timeline.mid if m is not None]
    assert mids[-1] == 0.5 * (bid[whole][-1] + ask[whole][-1]) / scale(BTC.price_precision)
    lows, highs = ([v for v in side if v is not None] for side in (timeline.mid_low, timeline.mid_high))
    middle = 0.5 * (bid + ask)[whole] / scale(BTC.price_precision)
    assert (min(lows), max(highs)) == (middle.min(), middle.max())
    assert all(lo <= m <= hi for lo, m, hi in zip(lows, mids, highs, strict=True))
    assert stream.depth is not None
    assert stream.depth.samples > 100
    assert all(size > 0 for size in stream.depth.bid_sizes)


def test_the_summary_does_not_depend_on_how_the_stream_is_cut(events, ends):
    span = (int(events["ts_init_ns"][0]), int(events["ts_init_ns"][-1]))

    def summed(chunks):
        return inspect_stream(BTC, chunks, span, gap_s=0.1, refused={}, timeline=True)

    whole = summed([events])
    cut = summed(np.split(events, ends[:-1:37]))
    exact, parts = (json.loads(msgspec.json.encode(s)) for s in (whole, cut))
    for summary in (exact, parts):  # means are summed in another order
        for name in ("skew", "spread_bps"):
            summary[name]["mean"] = round(summary[name]["mean"], 9)
        summary["skew_ms"] = [round(v, 6) for v in summary["skew_ms"]]
        for name in ("skew_ms", "spread_bps"):
            summary["timeline"][name] = [v and round(v, 6) for v in summary["timeline"][name]]
    assert exact == parts


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 50))
def test_quantiles_are_right_to_a_part_in_a_hundred(values, size):
    array = np.array(values)
    histogram = LogHistogram()
    for lo in range(0, array.size, size):
        histogram.add(array[lo : lo + size])
    assert (histogram.count, histogram.least, histogram.most) == (array.size, array.min(), array.max())
    assert histogram.mean == pytest.approx(array.mean(), rel=1e-9, abs=1e-9)
    ordered = np.sort(array)
    for share in (0.01, 0.5, 0.95, 0.99):
        exact = ordered[min(int(share * array.size), array.size - 1)]
        assert histogram.quantile(share) == pytest.approx(exact, rel=0.0101, abs=1.01e-9)


def test_a_histogram_of_nothing_is_none():
    histogram = LogHistogram()
    histogram.add(np.array([np.nan]))
    assert histogram.count == 0
    assert math.isnan(histogram.quantile(0.5))
    assert math.isnan(histogram.mean)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=80), st.lists(st.integers(1, 79), max_size=6))
def test_the_longest_gaps_are_those_of_sorting_them_all(steps, cuts):
    times = np.cumsum(steps).astype(np.int64)
    gaps = LongestGaps(20e-9, longest=3)
    for part in np.split(times, sorted(set(cuts))):
        gaps.add(part)
    every = sorted(
        ((int(d), -int(t)) for d, t in zip(np.diff(times), times[:-1], strict=True) if d > 20), reverse=True
    )
    assert gaps.count == len(every)
    assert [(round(g.seconds * 1e9), -g.start_ns) for g in gaps.longest] == every[:3]


# ---- bars


def bars(n: int) -> np.ndarray:
    out = np.zeros(n, dtype=BARS)
    out["ts_ns"] = np.arange(1, n + 1) * MINUTE
    close = 10_000 + np.random.default_rng(1).integers(-3, 4, n).cumsum()
    out["close"], out["open"] = close, np.concatenate([[10_000], close[:-1]])
    out["high"], out["low"] = np.maximum(out["open"], close) + 2, np.minimum(out["open"], close) - 2
    out["volume"] = 5
    return out


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_what_is_wrong_with_bars_is_counted(cut):
    data = bars(600)
    data["volume"][[5, 300]] = 0
    data["low"][77] = data["close"][77] + 1
    data["close"][450], data["high"][450] = 13_000, 13_000
    data = np.delete(data, [*range(100, 130), 200])
    data = np.insert(data, 350, data[349])
    chunks = [data[lo : lo + cut] for lo in range(0, data.size, cut)]
    found = inspect_bars(
        bar_type_name(BTC.id, 1), chunks, (int(data["ts_ns"][0]), int(data["ts_ns"][-1])), timeline=True
    )
    assert (found.bars, found.missing, found.duplicates) == (570, 31, 1)
    assert [(h.start_ns // MINUTE, h.seconds / 60) for h in found.holes] == [(100, 31), (200, 2)]
    assert (found.zero_volume, found.outside_range) == (2, 1)
    assert found.outliers == 2  # there and back
    assert [at // MINUTE for at, _ in found.worst] == [451, 452]
    assert found.worst[0][1] == pytest.approx(2_600, rel=0.05)
    assert found.timeline is not None
    assert found.timeline.count(0.0) == 31
    assert set(found.timeline) == {0.0, 1.0}


# ---- whole catalogs


@pytest.fixture
def market(btc_import, tmp_path, events, ends):
    """Two files of book events and trades, bars, a published series."""
    half = int(ends[ends.size // 2])
    while events["ts_init_ns"][half] == events["ts_init_ns"][half - 1]:
        half = int(ends[np.searchsorted(ends, half, side="right")])
    catalog = tmp_path / "market"
    for part in (events[:half], events[half:]):
        write_events(catalog, BTC, part)
    write_bars(catalog, BTC, bars(600), bar_type_name(BTC.id, 1))
    times = np.arange(1, 20) * MINUTE
    write_external(catalog, ExternalSeries("funding_rate", times, np.full(19, 1e-4), 2 * MINUTE), BTC.id)
    return catalog


def test_a_catalog_is_shown_whole(market):
    summary = inspect_catalog(market)
    assert [s.instrument_id for s in summary.streams] == [BTC.id]
    assert [b.bars for b in summary.bars] == [600]
    (series,) = summary.external
    assert (series.name, series.instrument_id, series.values, series.stale) == ("funding_rate", BTC.id, 19, 0)
    assert summary.problems == []
    shown = inspect("--catalog", market)
    for text in ("spread 1/50/95/99/100 %", "funding_rate", "1-MINUTE-LAST-EXTERNAL"):
        assert text in shown.output
    assert json.loads(inspect("--catalog", market, "--json").output)["problems"] == []


@pytest.mark.parametrize("damage", ["cut", "garbled", "name"])
@pytest.mark.parametrize("folder", ["trade_tick", "order_book_deltas", "bar"])
def test_a_damaged_file_is_named_and_the_rest_is_inspected(damage, folder, market):
    whole = inspect_catalog(market)
    victim = sorted((market / "data" / folder).rglob("*.parquet"))[-1]
    content = victim.read_bytes()
    if damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "garbled":
        middle = len(content) // 3
        victim.write_bytes(content[:middle] + bytes(range(256)) * 2 + content[middle + 512 :])
    else:
        victim = victim.rename(victim.with_name("backup.parquet"))
    summary = inspect_catalog(market)
    assert [p.file for p in summary.problems] == [str(victim)]
    before, after = whole.streams[0], summary.streams[0]
    if folder == "bar":
        assert after == before
    else:
        lost = "trades" if folder == "trade_tick" else "batches"
        kept = "batches" if lost == "trades" else "trades"
        assert 0 < getattr(after, lost) < getattr(before, lost)
        assert getattr(after, kept) == getattr(before, kept)
    result = inspect("--catalog", market, ok=False)
    assert result.exit_code == 1
    assert victim.name in result.stderr
    assert BTC.id in result.stdout


def test_files_that_overlap_are_named_and_one_of_them_is_read(market):
    whole = inspect_catalog(market).streams[0]
    first, _ = sorted((market / "data" / "trade_tick").rglob("*.parquet"))
    copy = first.with_name(first.name.replace("_2024", "_2025"))
    shutil.copy(first, copy)
    summary = inspect_catalog(market)
    overlapping = {p.file for p in summary.problems}
    assert str(copy) in overlapping
    assert all("overlaps" in p.what for p in summary.problems)
    assert summary.streams[0].batches == whole.batches
    assert summary.streams[0].trades > 0
    inspect("--catalog", market, ok=False)


def test_a_damaged_published_series_is_named(market):
    (file,) = (market / "external").iterdir()
    file.write_bytes(b"PAR1")
    summary = inspect_catalog(market)
    assert [p.file for p in summary.problems] == [str(file)]
    assert summary.external == []
    assert summary.streams


def test_data_that_nothing_reads_are_listed(market):
    source = sorted((market / "data" / "trade_tick").rglob("*.parquet"))[0]
    folder = market / "data" / "order_book_depths" / BTC.id
    folder.mkdir(parents=True)
    shutil.copy(source, folder / source.name)
    (other,) = inspect_catalog(market).other
    assert (other.kind, other.identifier, other.files) == ("order_book_depths", BTC.id, 1)
    assert other.rows > 0


def store_quotes(table, path):
    """Store quotes (bid, ask, bid size, ask size, venue time, receive time)."""
    ticks = [
        QuoteTick(
            InstrumentId.from_str(BTC.id), Price(bid / 10, 1), Price(ask / 10, 1),
            Quantity(bids / 1000, 3), Quantity(asks / 1000, 3), event, init,
        )
        for bid, ask, bids, asks, event, init in table
    ]  # fmt: skip
    with CatalogWriter(path, BTC) as writer:
        writer.append_quotes(ArrowSerializer.serialize_batch(ticks, QuoteTick))
        writer.commit()


def test_quotes_are_summed_up_as_by_hand(tmp_path):
    second = 10**9
    start = 1_700_000_000 * second
    table = [
        (600_000, 600_010, 1000, 1000, 0, 0),
        (600_000, 600_010, 1000, 1000, 1, 1),  # repeated
        (600_020, 600_010, 1000, 1000, 2, 2),  # crossed
        (600_010, 600_010, 1000, 1000, 9, 9),  # locked, after seven seconds
        (600_000, 600_010, 0, 1000, 5, 10),  # one-sided, and of an earlier venue time
        (599_990, 600_010, 1000, 2000, 11, 11),
    ]
    store_quotes([(*q, start + e * second, start + i * second) for *q, e, i in table], tmp_path)
    summary = inspect_catalog(tmp_path, timeline=True)
    assert summary.other == []
    (found,) = summary.quotes
    assert (found.instrument_id, found.quotes) == (BTC.id, 6)
    assert found.span_ns == (start, start + 11 * second)
    assert (found.crossed, found.locked, found.one_sided) == (1 / 6, 1 / 6, 1 / 6)
    assert (found.repeated, found.event_time_backwards) == (1, 1)
    assert (found.gaps, found.longest_gap_s) == (1, 7.0)
    assert [(g.start_ns, g.seconds) for g in found.longest_gaps] == [(start + 2 * second, 7.0)]
    spreads = [10 / 600_005 * 1e4] * 2 + [20 / 600_000 * 1e4]
    assert found.spread_bps.mean == pytest.approx(np.mean(spreads), rel=1e-12)
    assert (found.spread_bps.count, found.spread_bps.most) == (3, max(spreads))
    assert (found.skew.least, found.skew.most) == (0.0, 5000.0)
    assert sum(found.timeline.batches) == 6
    assert [m for m in found.timeline.mid if m is not None] == [60_000.5, 60_000.5, 60_000.0]
    page = tmp_path / "page.html"
    shown = inspect("--catalog", tmp_path, "--html", page).output
    assert "repeated" in shown
    assert "16.667%" in shown
    assert f"Quotes of {BTC.id}" in page.read_text()


def test_a_folder_of_quotes_that_holds_something_else_is_named(market):
    source = sorted((market / "data" / "trade_tick").rglob("*.parquet"))[0]
    folder = market / "data" / "quote_tick" / BTC.id
    folder.mkdir(parents=True)
    shutil.copy(source, folder / source.name)
    summary = inspect_catalog(market)
    assert [p.file for p in summary.problems] == [str(folder / source.name)]
    assert "quotes must have the columns" in summary.problems[0].what
    assert summary.streams
    assert summary.quotes == []


def test_the_line_of_bars_holds_every_extreme():
    some = bars(2000)
    span = (int(some["ts_ns"][0]), int(some["ts_ns"][-1]))
    cuts = np.array_split(some, 7)
    name = bar_type_name(BTC.id, 1)
    line = inspect_bars(name, cuts, span, timeline=True, price_units=10.0).prices
    places = (some["ts_ns"] - line.start_ns) // line.width_ns
    for place in np.unique(places):
        here = some[places == place]
        assert line.last[place] == here["close"][-1] / 10
        assert (line.low[place], line.high[place]) == (here["low"].min() / 10, here["high"].max() / 10)
    assert sum(x is not None for x in line.last) == len(np.unique(places))
    assert inspect_bars(name, cuts, span, timeline=False).prices is None


def test_progress_ends_at_the_total(market):
    seen = []
    inspect_catalog(market, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 600
    assert progress_text(25, 100, 5.0, "rows") == "25 of 100 rows   25%  5 rows/s  ETA 0:15"
    assert "ETA" not in progress_text(0, 0, 0.0, "rows")


def test_bad_arguments_are_told(market, tmp_path):
    with pytest.raises(DataError, match="gap_s must be positive"):
        inspect_catalog(market, gap_s=float("nan"))
    with pytest.raises(DataError, match="no instrument"):
        inspect_catalog(market, "ETHUSDT-PERP.BINANCE")
    with pytest.raises(DataError, match="not a market catalog"):
        inspect_catalog(tmp_path / "none")


# ---- the page


def test_the_page_stands_by_itself_and_repeats_to_the_byte(market, tmp_path):
    page = tmp_path / "page.html"
    inspect("--catalog", market, "--html", page, "--gap", "0.05")
    text = page.read_text("utf-8")
    body = text[text.rindex("</script>", 0, text.index("chart2")) :]
    assert text.count("plotly.js v") == 1
    for outside in ('src="http', "src='http", 'href="http'):
        assert outside not in body
    for told in (BTC.id, "Longest silences", "receive - venue time", "funding_rate", "mid price"):
        assert told in text
    inspect("--catalog", market, "--html", tmp_path / "again.html", "--gap", "0.05")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


@settings(max_examples=5)
@given(st.text(alphabet="<>&\"'/x", min_size=1, max_size=8))
def test_names_cannot_break_the_page(tmp_path_factory, name):
    page = tmp_path_factory.mktemp("page") / "p.html"
    problem = {"file": f"<script>{name}", "what": name}
    summary = msgspec.convert({"streams": [], "bars": [], "problems": [problem]}, CatalogSummary)
    write_inspect_page(page, summary, title=f"<b>{name}")
    text = page.read_text("utf-8")
    assert f"<script>{name}" not in text
    assert f"<b>{name}" not in text


def test_an_empty_side_and_a_lost_book_are_counted(events):
    cleared = events[events["kind"] == KIND_LEVEL][:2].copy()
    cleared["kind"], cleared["side"], cleared["flags"] = KIND_CLEAR, 0, FLAG_LAST
    span = (int(cleared["ts_init_ns"][0]), int(cleared["ts_init_ns"][-1]))
    summary = inspect_stream(BTC, [cleared], span, gap_s=1.0, refused={}, timeline=False)
    assert summary is not None
    assert (summary.clears, summary.one_sided, summary.spread_bps, summary.depth) == (2, 1.0, None, None)
    assert inspect_stream(BTC, [], (0, 0), gap_s=1.0, refused={}, timeline=False) is None
