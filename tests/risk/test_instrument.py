"""An instrument says what it is, or why it cannot be."""

import msgspec
import pytest

from apex_nautilus.risk import InstrumentSpec, require_linear

BTC = {
    "id": "BTCUSDT-PERP.BINANCE",
    "base": "BTC",
    "quote": "USDT",
    "price_precision": 1,
    "size_precision": 3,
    "tick": 0.1,
    "lot": 0.001,
    "min_qty": 0.001,
    "min_notional": 100.0,
    "taker_fee": 0.0005,
}


def test_steps_are_whole_units():
    spec = InstrumentSpec(**BTC)
    assert (spec.tick_units, spec.lot_units) == (1, 1)
    assert InstrumentSpec(**BTC | {"tick": 0.5, "lot": 0.025}).tick_units == 5


def test_units_become_the_nearest_double():
    spec = InstrumentSpec(**BTC)
    assert spec.price(618003) == 61800.3
    assert spec.size(1) == 0.001


def test_it_survives_json():
    spec = InstrumentSpec(**BTC)
    assert msgspec.json.decode(msgspec.json.encode(spec), type=InstrumentSpec) == spec


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tick": 0.15}, "tick 0.15 is not a whole number"),
        ({"tick": 0.0}, "tick must be a positive"),
        ({"lot": float("nan")}, "lot must be a positive"),
        ({"kind": "future"}, "kind 'future'"),
        ({"price_precision": 17}, "price_precision"),
        ({"min_qty": -1.0}, "min_qty"),
        ({"max_qty": 0.0001}, "max_qty"),
        ({"max_qty": float("inf")}, "max_qty"),
        ({"taker_fee": 5.0}, "taker_fee"),
        ({"id": ""}, "id is empty"),
        ({"multiplier": 100.0}, "a linear_perp has 1"),
        ({"kind": "inverse_perp", "multiplier": 0.0}, "multiplier must be finite and positive"),
    ],
)
def test_a_field_outside_its_range_is_named(change, says):
    with pytest.raises(ValueError, match=says):
        InstrumentSpec(**BTC | change)


def test_an_inverse_contract_is_known_but_no_money_is_counted_in_it():
    spec = InstrumentSpec(**BTC | {"kind": "inverse_perp", "quote": "USD", "multiplier": 100.0})
    assert (spec.settlement, spec.is_inverse, spec.is_spot) == ("BTC", True, False)
    with pytest.raises(ValueError, match=r"sizing of an inverse .* its profit is in BTC"):
        require_linear(spec, "sizing")
    require_linear(InstrumentSpec(**BTC), "sizing")
    assert InstrumentSpec(**BTC).settlement == "USDT"
