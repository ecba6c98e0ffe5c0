"""The older form is read, converted and never run raw."""

from __future__ import annotations

import json

import numpy as np
import pytest

from apex_nautilus.genome import (
    BpsStop,
    Bracket,
    GenomeError,
    Platt,
    compile_trees,
    decode,
    decode_legacy,
    encode,
    evaluate_block,
    from_legacy,
    tree_to_text,
)


def node(name, *children):
    return {"primitive": name, "children": list(children)}


def number(x):
    return {"primitive": {"Constant": x}}


def place(i):
    return {"primitive": {"Feature": i}}


def read(root):
    return decode_legacy(json.dumps({"root": root}).encode(), source="old.json")


def value(root, row=(0.0, 0.0, 0.0)):
    found, _ = evaluate_block([compile_trees([read(root).signal], 3)], np.array([row]))
    return found[0, 0, 0]


@pytest.mark.parametrize(("root", "expected"), [
    (node("add", number(10.5), number(5.5)), 16.0),
    (node("Add", number(10.5), number(5.5)), 16.0),
    (node("mul", node("add", number(3), number(4)), number(2)), 14.0),
    (node("Mul", node("Add", number(3), number(4)), number(2)), 14.0),
    (node("Sub", number(3), number(4)), -1.0),
    (node("neg", number(3)), -3.0),
    (node("Neg", number(3)), -3.0),
    *((node(name, number(3), number(0)), 1.0) for name in ("protectedDiv", "ProtectedDiv", "protected_div")),
    *((node(name, number(c), number(7), number(8)), expected)
      for name in ("ifThenElse", "IfThenElse", "if_then_else")
      for c, expected in ((1, 7.0), (-1, 7.0), (0, 8.0), (1e-6, 7.0))),
])  # fmt: skip
def test_golden_values_under_every_spelling(root, expected):
    assert value(root) == expected


def test_a_condition_meant_non_zero():
    root = node("ifThenElse", place(0), number(1), number(-1))
    assert tree_to_text(read(root).signal) == "if_then_else(or_(gt(f0, 0), lt(f0, 0)), 1, -1)"
    assert [value(root, (x, 0.0, 0.0)) for x in (0.5, -0.5, 0.0)] == [1.0, 1.0, -1.0]


def test_features_may_be_named_or_placed():
    assert read({"primitive": {"Feature": "Pressure"}}).signal == read(place(1)).signal


def test_clv_is_pointed_out_because_it_meant_something_else():
    assert read(place(0)).notes == ()
    (note,) = read(node("neg", place(2))).notes
    assert "0.5" in note


@pytest.mark.parametrize(("root", "reason"), [
    (node("tanh", place(0)), "not a primitive of the older form"),
    (node("add", place(0)), "takes 2 children"),
    (place(3), "feature 3 of 3"),
    ("add", "object"),
])  # fmt: skip
def test_what_the_older_form_does_not_know_is_refused(root, reason):
    with pytest.raises(GenomeError, match=reason):
        read(root)


def test_nested_conditions_cannot_grow_without_bound():
    root = place(0)
    for _ in range(16):
        root = node("ifThenElse", root, place(1), place(2))
    with pytest.raises(GenomeError, match=r"512 nodes after conversion|deeper than 17"):
        read(root)


def test_only_the_root_makes_the_older_form():
    with pytest.raises(GenomeError, match="older form"):
        decode_legacy(b'{"root": {"primitive": {"Constant": 1}}, "x": 1}')


def test_a_converted_genome_is_a_genome():
    made = from_legacy(
        read(node("sub", place(0), place(1))),
        instrument_id="BTCUSDT-LINEAR.BYBIT",
        calibration=Platt(1.2, -0.4),
        bracket=Bracket(stop=BpsStop(10.0), max_hold_s=60.0),
    )
    assert decode(encode(made), known_features=("imbalance", "pressure", "clv")) == made
    assert tree_to_text(made.confidence, made.features) == "abs(sub(imbalance, pressure))"


def test_a_signal_too_deep_for_its_score_is_refused():
    root = place(0)
    for _ in range(17):
        root = node("neg", root)
    with pytest.raises(GenomeError, match="deeper than 17"):
        from_legacy(
            read(root),
            instrument_id="BTCUSDT-LINEAR.BYBIT",
            calibration=Platt(1.2, -0.4),
            bracket=Bracket(stop=BpsStop(10.0), max_hold_s=60.0),
        )
