"""Reading Nautilus's objects from memory gives what their attributes say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookAction, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.objects import FIXED_PRECISION, Price, Quantity

from apex_nautilus.engine import EventDecoder, decode
from apex_nautilus.features import FLAG_LAST, KIND_CLEAR, BookFeatures, apply_events
from apex_nautilus.features.kernel import TRADE_COUNT, TRADE_PRICE, TRADE_SIDE, TRADE_SIZE

BTC = InstrumentId.from_str("BTCUSDT-PERP.BINANCE")
TIMES = st.integers(0, 2**62)


@st.composite
def deltas(draw, price_precision: int, size_precision: int) -> OrderBookDelta:
    action = draw(st.sampled_from([BookAction.ADD, BookAction.UPDATE, BookAction.DELETE, BookAction.CLEAR]))
    ts_event, ts_init, sequence = draw(TIMES), draw(TIMES), draw(st.integers(0, 2**62))
    if action == BookAction.CLEAR:
        return OrderBookDelta.clear(BTC, sequence, ts_event, ts_init)
    price = draw(st.integers(-(10**12), 10**12))
    size = 0 if action == BookAction.DELETE else draw(st.integers(1, 10**12))
    order = BookOrder(
        draw(st.sampled_from([OrderSide.BUY, OrderSide.SELL])),
        Price.from_raw(price * 10 ** (FIXED_PRECISION - price_precision), price_precision),
        Quantity.from_raw(size * 10 ** (FIXED_PRECISION - size_precision), size_precision),
        draw(st.integers(0, 2**63)),
    )
    return OrderBookDelta(BTC, action, order, draw(st.integers(0, 255)), sequence, ts_event, ts_init)


def test_this_nautilus_is_read_from_memory():
    """When a new version changes its layout, decoding goes on, slower; this test makes it known."""
    assert decode.DIRECT


@settings(max_examples=60)
@given(st.data(), st.integers(0, 8), st.integers(0, 8))
def test_memory_and_attributes_agree_on_any_batch(data, price_precision, size_precision):
    items = data.draw(st.lists(deltas(price_precision, size_precision), min_size=1, max_size=12))
    batch = OrderBookDeltas(BTC, items)
    direct = EventDecoder(price_precision, size_precision)
    slow = EventDecoder(price_precision, size_precision, direct=False)
    np.testing.assert_array_equal(direct.deltas(batch), slow.deltas(batch))


@pytest.mark.parametrize("side", [AggressorSide.BUYER, AggressorSide.SELLER, AggressorSide.NO_AGGRESSOR])
@pytest.mark.parametrize("trade_id", ["1", "a-trade-id-of-thirty-six-characters"])
def test_memory_and_attributes_agree_on_trades(side, trade_id):
    tick = TradeTick(BTC, Price(61800.3, 1), Quantity(1.234, 3), side, TradeId(trade_id), 17, 2**61)
    direct, slow = EventDecoder(1, 3), EventDecoder(1, 3, direct=False)
    np.testing.assert_array_equal(direct.trade(tick), slow.trade(tick))
    assert direct.trade(tick)["price"][0] == 618003
    assert direct.trade(tick)["size"][0] == 1234


def test_a_batch_longer_than_the_buffer_is_read_whole():
    items = [
        OrderBookDelta(
            BTC, BookAction.ADD, BookOrder(OrderSide.BUY, Price(i, 1), Quantity(1, 3), 0), 0, i, i, i
        )
        for i in range(1, 1001)
    ]
    events = EventDecoder(1, 3).deltas(OrderBookDeltas(BTC, items))
    assert events["price"].tolist() == [10 * i for i in range(1, 1001)]


def test_flags_and_clears_carry_over():
    first = OrderBookDelta.clear(BTC, 1, 2, 3)
    last = OrderBookDelta(
        BTC, BookAction.DELETE, BookOrder(OrderSide.SELL, Price(5, 1), Quantity(0, 3), 0), 128 | 32, 1, 2, 3
    )
    events = EventDecoder(1, 3).deltas(OrderBookDeltas(BTC, [first, last]))
    assert events["kind"][0] == KIND_CLEAR
    assert events["flags"].tolist() == [0, FLAG_LAST]
    assert events["side"].tolist() == [0, -1]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("side", [AggressorSide.BUYER, AggressorSide.SELLER, AggressorSide.NO_AGGRESSOR])
def test_feeding_a_trade_to_a_machine_is_decoding_and_applying_it(side, direct):
    tick = TradeTick(BTC, Price(61800.3, 1), Quantity(1.234, 3), side, TradeId("1"), 17, 10**18)
    decoder = EventDecoder(1, 3, direct=direct)
    fed, plain = (BookFeatures(["signed_volume_1s"], price_precision=1, size_precision=3) for _ in range(2))
    decoder.feed_trade(tick, fed.memory)
    apply_events(plain.memory, decoder.trade(tick))
    told = [TRADE_COUNT, TRADE_PRICE, TRADE_SIZE, TRADE_SIDE]
    assert fed.memory[told].tolist() == plain.memory[told].tolist() == [1, 618003, 1234, AGGRESSOR[side]]


AGGRESSOR = {AggressorSide.BUYER: 1, AggressorSide.SELLER: -1, AggressorSide.NO_AGGRESSOR: 0}


@settings(max_examples=30)
@given(st.lists(deltas(1, 3), min_size=1, max_size=20))
def test_feeding_a_machine_is_decoding_and_applying(items):
    batch = OrderBookDeltas(BTC, items)
    fused = BookFeatures(["spread_bps"], price_precision=1, size_precision=3, capacity=64)
    plain = BookFeatures(["spread_bps"], price_precision=1, size_precision=3, capacity=64)
    decoder = EventDecoder(1, 3)
    status = decoder.feed_deltas(batch, fused.memory)
    assert status == apply_events(plain.memory, EventDecoder(1, 3, direct=False).deltas(batch))
    np.testing.assert_array_equal(fused.top, plain.top)
    assert (fused.bid, fused.ask) == (plain.bid, plain.ask)


def test_a_layout_that_does_not_fit_is_not_used(monkeypatch):
    right = decode._LAYOUT
    for field in ("price", "ts_init", "flags", "trade_size", "stride"):
        wrong = right._replace(**{field: getattr(right, field) + 8})
        assert not decode._fits(wrong), field
    monkeypatch.setattr(decode, "_LAYOUT", None)
    with pytest.raises(ValueError, match="direct=False"):
        EventDecoder(1, 3, direct=True)


@pytest.mark.parametrize(("price", "size"), [(-1, 3), (1, FIXED_PRECISION + 1)])
def test_precisions_beyond_nautilus_are_refused(price, size):
    with pytest.raises(ValueError, match="precision must lie in"):
        EventDecoder(price, size)
