"""The event record is what other rooms and files rely on."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.features import EVENT, FLAG_LAST, KIND_LEVEL, make_events, scale


def test_the_layout_of_an_event_is_fixed():
    assert EVENT.itemsize == 48
    assert EVENT.isalignedstruct
    assert {n: (EVENT.fields[n][0].str, EVENT.fields[n][1]) for n in EVENT.names} == {
        "ts_event_ns": ("<i8", 0),
        "ts_init_ns": ("<i8", 8),
        "price": ("<i8", 16),
        "size": ("<i8", 24),
        "sequence": ("<i8", 32),
        "kind": ("|u1", 40),
        "side": ("|i1", 41),
        "flags": ("|u1", 42),
    }


@given(st.integers(-(2**53), 2**53), st.integers(0, 18))
def test_units_over_scale_is_the_nearest_double(units, precision):
    assert units / scale(precision) == float(Decimal(units).scaleb(-precision))


@pytest.mark.parametrize("precision", [-1, 19, 1.0, True, "2"])
def test_a_bad_precision_is_refused(precision):
    with pytest.raises(ValueError, match="precision must"):
        scale(precision)


def test_make_events_broadcasts_scalars():
    events = make_events(
        ts_event_ns=1,
        ts_init_ns=[2, 3],
        price=[10, -11],
        size=5,
        kind=KIND_LEVEL,
        side=[1, -1],
        flags=[0, FLAG_LAST],
    )
    assert events.dtype == EVENT
    assert events.tolist() == [(1, 2, 10, 5, 0, 1, 1, 0), (1, 3, -11, 5, 0, 1, -1, 1)]
    assert make_events(ts_event_ns=1, ts_init_ns=2, price=3, size=4, kind=0, side=0).shape == (1,)
    with pytest.raises(ValueError):
        make_events(ts_event_ns=[1, 2, 3], ts_init_ns=[2, 3], price=1, size=1, kind=1, side=1)
    assert np.zeros(1, EVENT).tobytes() == bytes(48)
