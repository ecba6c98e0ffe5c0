"""Recorded data reach the engine whole, in order, and batch by batch."""

from __future__ import annotations

import numpy as np
import pytest
from nautilus_trader.model.data import OrderBookDeltas, TradeTick
from nautilus_trader.model.instruments import CryptoPerpetual
from support.engine_case import BTC, START, wandering_market

from apex_nautilus.data import read_events, write_events
from apex_nautilus.data.nautilus_tables import from_nautilus_instrument, to_nautilus_instrument
from apex_nautilus.engine import EventDecoder, MarketDataError, batches, data_span, spec_of
from apex_nautilus.features import FLAG_LAST
from apex_nautilus.risk import InstrumentSpec

ETH = InstrumentSpec(
    id="ETHUSDT-PERP.BINANCE",
    base="ETH",
    quote="USDT",
    price_precision=1,
    size_precision=3,
    tick=0.1,
    lot=0.001,
    maker_fee=0.0002,
    taker_fee=0.0005,
)
COLUMNS = ["ts_event_ns", "ts_init_ns", "price", "size", "kind", "side", "flags"]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    path = tmp_path_factory.mktemp("market") / "catalog"
    write_events(path, BTC, wandering_market(1, 600))
    write_events(path, ETH, wandering_market(2, 500))
    return path


def decoded(catalog, instrument_id, **terms):
    decoder = EventDecoder(1, 3)
    parts = []
    for chunk in batches(catalog, [instrument_id], **terms):
        for item in chunk:
            parts.append(
                (decoder.deltas(item) if isinstance(item, OrderBookDeltas) else decoder.trade(item)).copy()
            )
    return np.concatenate(parts)


@pytest.mark.parametrize("chunk_size", [1000, 100_000])
def test_the_events_are_those_of_the_catalog(catalog, chunk_size):
    theirs = np.concatenate(list(read_events(catalog, BTC.id)))
    np.testing.assert_array_equal(decoded(catalog, BTC.id, chunk_size=chunk_size)[COLUMNS], theirs[COLUMNS])


def test_a_batch_is_one_object_and_ends_whole(catalog):
    decoder = EventDecoder(1, 3)
    for chunk in batches(catalog, [BTC.id], chunk_size=1000):
        for item in chunk:
            if isinstance(item, OrderBookDeltas):
                flags = decoder.deltas(item)["flags"]
                assert flags[-1] == FLAG_LAST
                assert not flags[:-1].any()


def test_instruments_are_merged_in_time_order(catalog):
    merged = [item for chunk in batches(catalog, [BTC.id, ETH.id], chunk_size=1000) for item in chunk]
    times = [item.ts_init for item in merged]
    assert times == sorted(times)
    alone = sum(len(chunk) for i in (BTC.id, ETH.id) for chunk in batches(catalog, [i]))
    assert len(merged) == alone
    assert {type(item) for item in merged} == {OrderBookDeltas, TradeTick}


def test_a_start_inside_the_data_opens_with_the_book_as_it_stood(catalog):
    start = START + 7_000_000_000
    ours = decoded(catalog, BTC.id, start_ns=start, end_ns=start + 5_000_000_000)
    theirs = np.concatenate(list(read_events(catalog, BTC.id, start, start + 5_000_000_000)))
    first = theirs["ts_init_ns"] == start
    assert first.sum() > 10
    levels = ["price", "size", "side"]
    assert (
        np.unique(ours[ours["ts_init_ns"] == start][levels]).tolist()
        == np.unique(theirs[first][levels]).tolist()
    )
    np.testing.assert_array_equal(ours[ours["ts_init_ns"] > start][COLUMNS], theirs[~first][COLUMNS])


def test_missing_data_are_named(catalog, tmp_path):
    with pytest.raises(MarketDataError, match="no `data` folder"):
        list(batches(tmp_path, [BTC.id]))
    with pytest.raises(
        MarketDataError, match=r"no instrument 'SOLUSDT-PERP.BINANCE'.*BTCUSDT-PERP.BINANCE, ETH"
    ):
        data_span(catalog, "SOLUSDT-PERP.BINANCE")


def test_the_span_is_that_of_the_book(catalog):
    book = np.concatenate(list(read_events(catalog, BTC.id)))
    book = book[book["kind"] != 2]
    assert data_span(catalog, BTC.id) == (book["ts_init_ns"][0], book["ts_init_ns"][-1])


def test_an_instrument_comes_out_as_the_catalog_room_reads_it():
    for spec in (BTC, ETH):
        nautilus = to_nautilus_instrument(spec)
        assert spec_of(nautilus) == from_nautilus_instrument(nautilus) == spec


def test_an_inverse_contract_is_refused():
    values = CryptoPerpetual.to_dict(to_nautilus_instrument(BTC))
    values |= {"is_inverse": True}
    with pytest.raises(ValueError, match="inverse"):
        spec_of(CryptoPerpetual.from_dict(values))
