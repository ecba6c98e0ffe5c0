"""Streams of Nautilus's writer become catalog data; what is torn or broken is cut where it breaks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.data import (
    Bar,
    BarType,
    BookOrder,
    OrderBookDelta,
    OrderBookDeltas,
    QuoteTick,
    TradeTick,
)
from nautilus_trader.model.enums import AggressorSide, BookAction, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.serialization.arrow.serializer import ArrowSerializer

from apex_nautilus.data import (
    DataError,
    ImportRefused,
    read_bars,
    read_events,
    to_nautilus_instrument,
    write_events,
)
from apex_nautilus.data.importers import registry
from apex_nautilus.data.importers.nautilus_stream import import_nautilus_stream
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, KIND_LEVEL, KIND_TRADE
from apex_nautilus.risk import InstrumentSpec

ID = "BTCUSDT-LINEAR.BYBIT"
START = 1_717_200_000_000_000_000
SPEC = InstrumentSpec(
    id=ID,
    base="BTC",
    quote="USDT",
    kind="linear_perp",
    price_precision=1,
    size_precision=3,
    tick=0.1,
    lot=0.001,
    min_qty=0.001,
    max_qty=100.0,
    min_notional=5.0,
    maker_fee=0.001,
    taker_fee=0.001,
)


def message(
    update: int, levels: list[tuple[int, float, float]], *, snapshot: bool = False, at: int | None = None
) -> OrderBookDeltas:
    """One message of Bybit's book as the adapter hands it on; `levels` are (side, price, size)."""
    instrument = InstrumentId.from_str(ID)
    ts = START + update * 1_000_000 if at is None else at
    deltas = []
    if snapshot:
        clear = OrderBookDelta.clear(instrument, update, ts, ts)
        deltas.append(
            OrderBookDelta(instrument, BookAction.CLEAR, clear.order, RecordFlag.F_SNAPSHOT, update, ts, ts)
        )
    for i, (side, price, size) in enumerate(levels):
        order = BookOrder(
            OrderSide.BUY if side > 0 else OrderSide.SELL, Price(price, 1), Quantity(size, 3), update
        )
        action = BookAction.UPDATE if size else BookAction.DELETE
        flags = RecordFlag.F_MBP | (RecordFlag.F_LAST if i == len(levels) - 1 else 0)
        deltas.append(OrderBookDelta(instrument, action, order, flags, update, ts, ts))
    return OrderBookDeltas(instrument, deltas)


def trade(n: int, price: float = 100.1, at: int | None = None, name: str | None = None) -> TradeTick:
    ts = START + n * 1_000_000 + 500_000 if at is None else at
    return TradeTick(
        InstrumentId.from_str(ID),
        Price(price, 1),
        Quantity(0.25, 3),
        AggressorSide.BUYER if n % 2 else AggressorSide.SELLER,
        TradeId(name or f"id-{n}"),
        ts,
        ts,
    )


def session(count: int = 30) -> list[OrderBookDeltas]:
    """A snapshot and `count` changes around it, never crossed."""
    first = [(1, 100.0 - i, 1.0) for i in range(5)] + [(-1, 101.0 + i, 1.0) for i in range(5)]
    rest = [
        message(i, [(1, 100.0 - i % 3, 1.0 + i), (-1, 101.0 + i % 4, 2.0 + i)]) for i in range(2, count + 2)
    ]
    return [message(1, first, snapshot=True), *rest]


def write_stream(path: Path, cls: type, messages: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = [ArrowSerializer.serialize_batch([m], data_cls=cls) for m in messages]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, tables[0].schema) as stream:
        for table in tables:
            stream.write(table)


def write_recording(
    folder: Path, books: list, trades: list = (), *, parts: int = 1, spec: InstrumentSpec = SPEC
) -> Path:
    """Lay a recording out as the streaming writer does; `parts` cuts the book into files."""
    instrument = to_nautilus_instrument(spec)
    write_stream(folder / "crypto_perpetual_1.feather", type(instrument), [instrument])
    for part in range(parts):
        chosen = books[part * len(books) // parts : (part + 1) * len(books) // parts]
        name = f"{ID}_{START + part}.feather"
        write_stream(folder / "order_book_deltas" / ID / name, OrderBookDeltas, chosen)
    if trades:
        write_stream(folder / "trade_tick" / ID / f"{ID}_{START}.feather", TradeTick, list(trades))
    (folder / "recording.json").write_text(json.dumps({"name": "x"}))
    return folder


def stored(catalog: Path) -> np.ndarray:
    return np.concatenate(list(read_events(catalog, ID)))


def books_after(events: np.ndarray) -> list[dict[int, dict[int, int]]]:
    """The book after each batch, with nothing but dictionaries."""
    book: dict[int, dict[int, int]] = {1: {}, -1: {}}
    out = []
    for event in events[events["kind"] != KIND_TRADE]:
        if event["kind"] == KIND_CLEAR:
            book = {1: {}, -1: {}}
        elif event["size"]:
            book[int(event["side"])][int(event["price"])] = int(event["size"])
        else:
            book[int(event["side"])].pop(int(event["price"]), None)
        if event["flags"] & FLAG_LAST:
            out.append({side: dict(levels) for side, levels in book.items()})
    return out


def sent_books(messages: list[OrderBookDeltas]) -> list[dict[int, dict[int, int]]]:
    """The book after each message, from Nautilus's objects."""
    book: dict[int, dict[int, int]] = {1: {}, -1: {}}
    out = []
    for sent in messages:
        for delta in sent.deltas:
            if delta.action == BookAction.CLEAR:
                book = {1: {}, -1: {}}
                continue
            levels = book[1 if delta.order.side == OrderSide.BUY else -1]
            price = round(delta.order.price.as_double() * 10)
            levels.pop(price, None)
            if delta.action != BookAction.DELETE:
                levels[price] = round(delta.order.size.as_double() * 1000)
        out.append({side: dict(levels) for side, levels in book.items()})
    return out


def test_book_and_trades_are_merged_by_the_time_of_receipt(tmp_path):
    folder = write_recording(tmp_path / "r", session(), [trade(n) for n in range(1, 30)])
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog")
    assert report.kept == {"snapshot": 1, "depth": 30, "trade": 29}
    assert report.refused == {}
    assert report.noted == {"standard_fees_assumed": 1}
    events = stored(tmp_path / "catalog")
    assert (np.diff(events["ts_init_ns"]) >= 0).all()
    assert (events["kind"] == KIND_TRADE).sum() == 29
    assert books_after(events) == sent_books(session())
    # The second import of the same streams changes nothing.
    before = {p: p.read_bytes() for p in (tmp_path / "catalog").rglob("*.parquet")}
    import_nautilus_stream([folder / "recording.json"], tmp_path / "catalog")
    assert {p: p.read_bytes() for p in (tmp_path / "catalog").rglob("*.parquet")} == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, bytes], np.ndarray]:
    """The files of a recording by their paths in it, and the events it comes to."""
    tmp_path = tmp_path_factory.mktemp("whole")
    folder = write_recording(tmp_path / "r", session(), [trade(n) for n in range(1, 30)])
    import_nautilus_stream([folder], tmp_path / "all")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return files, stored(tmp_path / "all")


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 1.0), which=st.sampled_from(["order_book_deltas", "trade_tick"]))
def test_a_torn_end_costs_what_is_torn_and_nothing_else(tmp_path_factory, whole, share, which):
    files, expected = whole
    tmp_path = tmp_path_factory.mktemp("torn")
    folder = tmp_path / "r"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    path = folder / which / ID / f"{ID}_{START}.feather"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    (report,) = import_nautilus_stream([folder], tmp_path / "cut")
    found = stored(tmp_path / "cut")
    for is_trade in (False, True):
        mine, all_of_it = (e[(e["kind"] == KIND_TRADE) == is_trade] for e in (found, expected))
        assert (mine == all_of_it[: mine.size]).all()
        if is_trade != (which == "trade_tick"):
            assert mine.size == all_of_it.size
    assert set(report.noted) <= {"standard_fees_assumed", "torn_end", "empty_stream"}
    assert not report.refused


def test_a_torn_file_in_the_middle_is_missing_data(tmp_path):
    folder = write_recording(tmp_path / "r", session(), parts=3)
    path = folder / "order_book_deltas" / ID / f"{ID}_{START + 1}.feather"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ImportRefused, match="newer files follow it"):
        import_nautilus_stream([folder], tmp_path / "catalog")
    assert not (tmp_path / "catalog" / "data").exists()
    (report,) = import_nautilus_stream(
        [folder], tmp_path / "catalog", allow_truncated=True, max_bad_share=1.0
    )
    assert report.noted["torn_end"] == 1
    assert report.refused["sequence_break"] == 1  # the first message of the next file does not follow


def test_rotated_files_read_as_one_stream(tmp_path):
    import_nautilus_stream([write_recording(tmp_path / "a", session())], tmp_path / "one")
    import_nautilus_stream([write_recording(tmp_path / "b", session(), parts=4)], tmp_path / "four")
    assert (stored(tmp_path / "one") == stored(tmp_path / "four")).all()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda m: [*m[:10], *m[11:]], "sequence_break"),
        (lambda m: [*m[:10], message(11, [(1, 200.0, 1.0)]), *m[11:]], "crossed_book"),
    ],
)
def test_a_lost_book_is_emptied_until_the_next_snapshot(tmp_path, broken, reason):
    again = message(40, [(1, 90.0, 5.0), (-1, 95.0, 6.0)], snapshot=True)
    messages = [*broken(session()), again]
    folder = write_recording(tmp_path / "r", messages)
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog", max_bad_share=1.0)
    assert report.refused[reason] == 1
    assert report.refused["out_of_step"] == len(messages) - 10 - 1 - 1
    books = books_after(stored(tmp_path / "catalog"))
    assert len(books) == 10 + 1 + 1
    assert books[10] == {1: {}, -1: {}}
    assert books[11] == {1: {900: 5000}, -1: {950: 6000}}
    with pytest.raises(ImportRefused, match=reason):
        import_nautilus_stream([folder], tmp_path / "other")


def test_what_comes_again_or_out_of_time_is_counted(tmp_path):
    books = session()
    books.insert(5, books[4])
    trades = [trade(1), trade(1), trade(2, at=START), trade(3, name="id-3"), trade(3, name="id-4")]
    folder = write_recording(tmp_path / "r", books, trades)
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog", max_bad_share=1.0)
    assert report.refused == {"duplicate": 2, "time_backwards": 1}
    assert report.kept["trade"] == 3


def test_a_trade_and_a_change_of_one_instant_keep_their_order_in_the_engine(tmp_path):
    folder = write_recording(tmp_path / "r", session(3), [trade(1, at=START + 2_000_000)])
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog")
    assert report.noted["receive_time_moved"] > 0
    events = stored(tmp_path / "catalog")
    at = int(np.flatnonzero(events["kind"] == KIND_TRADE)[0])
    assert events["ts_init_ns"][at - 1] < events["ts_init_ns"][at] < events["ts_init_ns"][at + 1]


def test_bars_are_stamped_with_their_close(tmp_path):
    folder = write_recording(tmp_path / "r", session())
    name = f"{ID}-1-MINUTE-LAST-EXTERNAL"
    closes = [START + 60_000_000_000, START + 120_000_000_000 - 1_000_000, START + 120_000_000_000]
    bars = [
        Bar(
            BarType.from_str(name),
            *(Price(p, 1) for p in (100.0, 101.0, 99.0, 100.5)),
            Quantity(1.5, 3),
            close,
            close + 30_000_000,
        )
        for close in closes
    ]
    write_stream(folder / "bar" / name / f"{name}_{START}.feather", Bar, bars)
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog", max_bad_share=1.0)
    assert report.kept["bar"] == 2
    assert report.refused == {"duplicate": 1}  # Binance closes a millisecond early: the same bar
    found = read_bars(tmp_path / "catalog", name)
    assert found["ts_ns"].tolist() == [START + 60_000_000_000, START + 120_000_000_000]


def test_quotes_are_kept_as_they_were_heard(tmp_path):
    folder = write_recording(tmp_path / "r", session())
    quotes = [
        QuoteTick(
            InstrumentId.from_str(ID),
            *(Price(p, 1) for p in (100.0 + n, 101.0 + n)),
            *(Quantity(q, 3) for q in (1.0, 2.0 + n)),
            START + n,
            START + 5 * n - (100 if n == 7 else 0),
        )
        for n in range(20)
    ]
    write_stream(folder / "quote_tick" / ID / f"{ID}_{START}.feather", QuoteTick, quotes)
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog", max_bad_share=1.0)
    assert report.kept["quote"] == report.written["quotes"] == 19
    assert report.refused == {"time_backwards": 1}
    found = ParquetDataCatalog(str(tmp_path / "catalog")).quote_ticks()
    # As dictionaries: Nautilus aborts when it compares quotes whose ids were made in different places.
    assert [QuoteTick.to_dict(q) for q in found] == [QuoteTick.to_dict(q) for q in quotes[:7] + quotes[8:]]


def test_the_catalogs_own_definition_stays(tmp_path):
    first = write_recording(tmp_path / "a", session())
    import_nautilus_stream([first], tmp_path / "catalog")
    later = [message(i + 100, [(1, 100.0, 1.0), (-1, 101.0, 1.0)], snapshot=i == 1) for i in range(1, 4)]
    second = write_recording(tmp_path / "b", later)
    (report,) = import_nautilus_stream([second], tmp_path / "catalog")
    assert "instrument_of_catalog" not in report.noted
    assert len(books_after(stored(tmp_path / "catalog"))) == 31 + 3


def test_a_span_that_is_stored_already_is_refused_unless_replaced(tmp_path):
    events = np.zeros(1, dtype=stored_dtype())
    events["kind"], events["flags"], events["side"], events["price"], events["size"] = (
        KIND_LEVEL,
        FLAG_LAST,
        1,
        1000,
        1000,
    )
    events["ts_event_ns"] = events["ts_init_ns"] = START + 5_000_000
    write_events(tmp_path / "catalog", SPEC, events)
    folder = write_recording(tmp_path / "r", session())
    with pytest.raises(DataError, match="already holds"):
        import_nautilus_stream([folder], tmp_path / "catalog")
    (report,) = import_nautilus_stream([folder], tmp_path / "catalog", replace=True)
    assert report.noted["files_replaced"] == 1


def stored_dtype() -> np.dtype:
    from apex_nautilus.features import EVENT

    return EVENT


def test_what_is_no_recording_is_told(tmp_path):
    stray = tmp_path / "a" / "b" / "c" / "x.feather"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"")
    with pytest.raises(ImportRefused, match="neither it nor a folder around it is a recording"):
        import_nautilus_stream([stray], tmp_path / "catalog")
    folder = write_recording(tmp_path / "r", session())
    with pytest.raises(ImportRefused, match="no book, trades, quotes or bars of ETHUSDT"):
        import_nautilus_stream([folder], tmp_path / "catalog", instrument_id="ETHUSDT-LINEAR.BYBIT")
    assert registry.get("nautilus-stream").instrument == "optional"
