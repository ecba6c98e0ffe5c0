"""What the codec reads, writes and refuses."""

# ruff: noqa: E501  (one line a case keeps the table of hostile files a table)

from __future__ import annotations

import hashlib
import json
import time
import tracemalloc

import msgspec
import numpy as np
import pytest
from genome_trees import trees
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_nautilus.genome import (
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_NODES,
    Artifact,
    BpsStop,
    Bracket,
    Evidence,
    Genome,
    GenomeError,
    Isotonic,
    Provenance,
    Result,
    Sizing,
    VolatilityStop,
    call,
    constant,
    decode,
    encode,
    feature,
    genome_id,
    load,
    random_tree,
    sealed,
    tree_to_text,
)

KNOWN = ("imbalance", "pressure", "clv")


def genome(**changes) -> Genome:
    base = Genome(
        instrument_id="BTCUSDT-LINEAR.BYBIT",
        clock="book",
        features=KNOWN,
        signal=call("add", feature(0), call("lag", feature(1), k=5)),
        confidence=call("abs", feature(2)),
        bracket=Bracket(stop=VolatilityStop(multiple=1.5, window=100), max_hold_s=300.0),
    )
    return msgspec.structs.replace(base, **changes)


def text(**changes) -> dict:
    """A valid file as a dictionary without its id, changed."""
    value = json.loads(encode(genome()))
    value.update(changes)
    return value


def read(value) -> Genome:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return decode(data, known_features=KNOWN, source="strategy_challenger_x.json")


@settings(max_examples=60)
@given(
    signal=trees(),
    confidence=trees(),
    size=trees(),
    seed=st.integers(0, 2**31),
    flat=st.booleans(),
    b=st.floats(-5, 5),
)
def test_what_is_written_is_read_back(signal, confidence, size, seed, flat, b):
    rng = np.random.default_rng(seed)
    knots = np.sort(rng.normal(size=5))
    made = sealed(
        genome(
            signal=signal,
            confidence=confidence,
            size=size,
            sizing=Sizing(mode="evolved", lo=0.01, hi=0.2, max_qty=2.5),
            calibration=Isotonic(tuple(knots), tuple(np.sort(rng.random(5)))),
            bracket=Bracket(
                stop=BpsStop(value=12) if flat else VolatilityStop(), max_hold_s=60, reward_risk=abs(b) + 1
            ),
            provenance=Provenance(
                parents=("a" * 16,), seed=seed, created_at="2026-01-01T00:00:00Z", slot='é\n"x'
            ),
            evidence=Evidence(in_sample=Result(trades=3, sharpe=np.float64(0.1)), gate="passed", forced=flat),
        )
    )
    data = encode(made)
    again = read(data)
    assert again.id == made.id == genome_id(again)
    assert encode(again) == data
    assert [tree_to_text(t) for t in again.trees] == [tree_to_text(t) for t in made.trees]


def test_a_file_written_by_hand_is_read():
    data = b"""{"schema": "apex.genome/1", "instrument_id": "BTCUSDT-LINEAR.BYBIT", "features": ["imbalance"],
      "signal": {"primitive": "if_then_else", "children": [
          {"primitive": "gt", "children": [{"primitive": {"Feature": 0}}, {"primitive": {"Constant": 0.5}}]},
          {"primitive": {"Constant": 1}}, {"primitive": {"Constant": -1}}]},
      "confidence": {"primitive": "lag", "k": 5, "children": [{"primitive": {"Feature": 0}}]},
      "bracket": {"reward_risk": 3, "stop": {"kind": "bps", "value": 10}, "max_hold_s": 60}}"""
    made = decode(data, known_features={"imbalance"})
    assert made.kind == "tree"
    assert made.clock == "5m"
    assert made.entry_threshold == 0.5
    assert made.sizing.kelly_fraction == 0.5
    assert tree_to_text(made.signal, made.features) == "if_then_else(gt(imbalance, 0.5), 1, -1)"
    assert tree_to_text(made.confidence) == "lag(f0, 5)"


def test_the_id_is_fixed_for_all_time():
    assert genome_id(genome()) == "7345608f56235021"


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_the_id_ignores_order_space_zero_signs_and_left_out_defaults(seed):
    rng = np.random.default_rng(seed)

    def shuffled(value):
        if isinstance(value, dict):
            keys = list(value)
            rng.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    made = genome(signal=call("add", constant(0.0), random_tree(rng, 3, 4)), entry_threshold=0.0)
    value = json.loads(encode(made))
    plain = genome_id(made)
    assert read(shuffled(value)).id == plain
    assert read(json.dumps(value, indent=7, sort_keys=True).replace(": 0.0", ":  -0.0").encode()).id == plain
    for name in ("kind", "sizing", "calibration", "execution", "conflate_ms", "provenance", "evidence"):
        assert read({key: item for key, item in value.items() if key != name}).id == plain


@pytest.mark.parametrize("change", [
    {"instrument_id": "ETHUSDT-LINEAR.BYBIT"}, {"clock": "1s"}, {"conflate_ms": 10},
    {"features": ("pressure", "imbalance", "clv")}, {"signal": feature(0)}, {"confidence": constant(1e-9)},
    {"entry_threshold": 0.25}, {"calibration": Isotonic((0.0,), (0.5,))},
    {"bracket": Bracket(stop=BpsStop(10.0), max_hold_s=300.0)},
    {"sizing": Sizing(kelly_fraction=0.25)}, {"execution": "passive"},
])  # fmt: skip
def test_the_id_changes_with_whatever_acts(change):
    assert genome_id(genome(**change)) != genome_id(genome())


@pytest.mark.parametrize("change", [
    {"provenance": Provenance(generation=7)}, {"evidence": Evidence(forced=True)}, {"id": "f" * 16},
])  # fmt: skip
def test_the_id_does_not_change_with_what_does_not_act(change):
    assert genome_id(genome(**change)) == genome_id(genome())


def node(name, *children, **more):
    return {"primitive": name, "children": list(children), **more}


X, ONE = {"primitive": {"Feature": 0}}, {"primitive": {"Constant": 1}}


def chain(depth):
    tree = X
    for _ in range(depth):
        tree = node("neg", tree)
    return tree


def bush(levels):
    return X if levels == 0 else node("add", bush(levels - 1), bush(levels - 1))


def raw(**parts) -> bytes:
    """A valid file with fields replaced by raw text."""
    value = text()
    value.pop("id", None)
    for name in parts:
        value[name] = f"@{name}@"
    data = json.dumps(value)
    for name, part in parts.items():
        data = data.replace(f'"@{name}@"', part)
    return data.encode("utf-8", "surrogatepass")


DEEP = b'{"signal":' + b'{"primitive":"neg","children":[' * 100_000
REFUSED = {
    "empty": (b"", "", "ends"),
    "not json": (b"hello", "", "'h'"),
    "not an object": (b"[]", "", "object"),
    "bom": (b"\xef\xbb\xbf{}", "", "value should stand"),
    "bad utf-8": (b'{"a": "\xff"}', "", "UTF-8"),
    "lone surrogate": (raw(execution='"\\ud800"'), "execution", "surrogate"),
    "control character": (raw(execution='"a\x01"'), "execution", "control"),
    "bad escape": (raw(execution='"\\x41"'), "execution", "escape"),
    "ten megabytes": (b" " * 10_000_000, "", str(MAX_FILE_BYTES)),
    "a long string": (raw(execution=f'"{"a" * 5000}"'), "execution", "4096"),
    "a long escaped string": (raw(execution='"' + "\\u0041" * 20_000 + '"'), "execution", "4096"),
    "deep lists": (b"[" * 100_000, "", "levels"),
    "deep objects": (b'{"a":' * 40_000, "", "levels"),
    "deep tree": (DEEP[:MAX_FILE_BYTES], "signal.children[0]", f"deeper than {MAX_DEPTH}"),
    "one too deep": (text(signal=chain(MAX_DEPTH + 1), id=""), "signal.children[0]", f"deeper than {MAX_DEPTH}"),
    "too many nodes": (text(signal=bush(9), id=""), "signal", f"{MAX_NODES} nodes"),
    "a million nodes": (b'{"signal":{"primitive":"add","children":[' + b"{}," * 80_000, "signal", f"{MAX_NODES} nodes"),
    "many values": (b"[" + b"0," * 100_000, "", "8192 values"),
    "duplicate field": (raw(clock='"1s","clock":"5m"'), "clock", "duplicate"),
    "duplicate field below": (raw(signal='{"primitive":"neg","primitive":"abs"}'), "signal.primitive", "duplicate"),
    "duplicate by escape": (raw(clock='"1s","cloc\\u006b":"5m"'), "clock", "duplicate"),
    "nan": (raw(entry_threshold="NaN"), "entry_threshold", "NaN"),
    "infinity": (raw(entry_threshold="Infinity"), "entry_threshold", "NaN and Infinity"),
    "minus infinity": (raw(entry_threshold="-Infinity"), "entry_threshold", "NaN and Infinity"),
    "overflow": (raw(entry_threshold="1e999"), "entry_threshold", "too large"),
    "long integer": (raw(entry_threshold="9" * 5000), "entry_threshold", "40 characters"),
    "large integer": (raw(conflate_ms="9" * 30), "conflate_ms", ""),
    "leading zero": (raw(conflate_ms="01"), "", "',' or '}'"),
    "trailing comma": (b'{"a":1,}', "", "field name"),
    "text after": (b"{} {}", "", "after the end"),
    "old form": (b'{"root": {"primitive": {"Constant": 1}}}', "root", "apex-forge convert"),
    "no schema": (b"{}", "schema", "missing"),
    "other schema": (text(schema="apex.genome/2"), "schema", "apex.genome/1"),
    "unknown field": (text(extra=1), "", "unknown field 'extra'"),
    "unknown field below": (text(bracket={"stop": {"kind": "bps", "value": 1}, "max_hold_s": 1, "x": 1}), "bracket", "`x`"),
    "missing field": ({k: v for k, v in text().items() if k != "bracket"}, "", "`bracket`"),
    "wrong type": (text(clock=5), "clock", "int"),
    "unknown clock": (text(clock="2m"), "clock", "2m"),
    "conflated seconds": (text(clock="1s", conflate_ms=5), "conflate_ms", "book"),
    "unknown kind": (text(kind="code"), "kind", "code"),
    "foreign id": (text(id="0" * 16), "id", "does not belong"),
    "unknown primitive": (text(signal=node("exp", X), id=""), "signal.primitive", "'exp' is not a primitive"),
    "unknown primitive below": (text(signal=node("neg", node("__import__", X)), id=""), "signal.children[0].primitive", "not a prim"),
    "bad arity": (text(signal=node("add", X), id=""), "signal.children", "takes 2 children, not 1"),
    "terminal with children": (text(signal={**X, "children": [X]}, id=""), "signal", "neither children"),
    "unknown feature place": (text(signal={"primitive": {"Feature": 3}}, id=""), "signal.primitive", "feature 3 of 3"),
    "negative feature": (text(signal={"primitive": {"Feature": -1}}, id=""), "signal.primitive", "feature -1"),
    "feature as text": (text(signal={"primitive": {"Feature": "0"}}, id=""), "signal.primitive", "whole number"),
    "constant as bool": (text(signal={"primitive": {"Constant": True}}, id=""), "signal.primitive", "number"),
    "large constant": (text(signal={"primitive": {"Constant": 1.1e6}}, id=""), "signal.primitive", "1e+06"),
    "window of three": (text(signal=node("lag", X, k=3), id=""), "signal.k", "takes k from"),
    "window without k": (text(signal=node("mean", X), id=""), "signal.k", "takes k from"),
    "k where no window is": (text(signal=node("neg", X, k=5), id=""), "signal.k", "no window"),
    "window over a number": (text(signal=node("lag", ONE, k=5), id=""), "signal.children[0]", "takes a Feature"),
    "window over a window": (text(signal=node("lag", node("lag", X, k=1), k=5), id=""), "signal.children[0]", "takes a Feature"),
    "unknown node field": (text(signal={**X, "code": "1"}, id=""), "signal", "unknown field 'code'"),
    "node as text": (text(signal="add", id=""), "signal", "object"),
    "unknown feature": (text(features=["imbalance", "presure"], id=""), "features[1]", "did you mean pressure"),
    "feature twice": (text(features=["clv", "clv", "pressure"], id=""), "features", "twice"),
    "path as instrument": (text(instrument_id="../../BTC.BYBIT"), "instrument_id", "SYMBOL.VENUE"),
    "folder as instrument": (text(instrument_id="a/b.BYBIT"), "instrument_id", "SYMBOL.VENUE"),
    "no venue": (text(instrument_id="BTCUSDT"), "instrument_id", "SYMBOL.VENUE"),
    "no signal": (text(signal=None, id=""), "signal", "needs this tree"),
    "size without evolved": (text(size=X, id=""), "size", "evolved"),
    "evolved without size": (text(sizing={"mode": "evolved"}), "size", "needs this tree"),
    "reward": (text(bracket={"stop": {"kind": "bps", "value": 1}, "max_hold_s": 1, "reward_risk": 0}), "bracket.reward_risk", "(0, 100]"),
    "stop kind": (text(bracket={"stop": {"kind": "x"}, "max_hold_s": 1}), "bracket.stop.kind", "x"),
    "stop": (text(bracket={"stop": {"kind": "bps", "value": -1}, "max_hold_s": 1}), "bracket.stop.value", "(0, 5000]"),
    "kelly": (text(sizing={"kelly_fraction": 1.5}), "sizing.kelly_fraction", "(0, 1]"),
    "quantities": (text(sizing={"min_qty": 2, "max_qty": 1}), "sizing.max_qty", "[2,"),
    "threshold": (text(entry_threshold=-1), "entry_threshold", "[0,"),
    "falling knots": (text(calibration={"kind": "isotonic", "scores": [0, 1], "probabilities": [0.6, 0.5]}), "calibration.prob", "fall"),
    "knots": (text(calibration={"kind": "isotonic", "scores": list(range(33)), "probabilities": [0.5] * 33}), "calibration.scores", "32"),
    "probability": (text(calibration={"kind": "isotonic", "scores": [0], "probabilities": [1.5]}), "calibration.prob", "[0, 1]"),
    "execution path": (text(execution="../x"), "execution", "policy"),
    "artifact of a tree": (text(artifact={"file": "a.onnx", "sha256": "0" * 64}), "artifact", "oracle"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_naming_source_field_and_limit(name):
    value, path, reason = REFUSED[name]
    with pytest.raises(GenomeError) as caught:
        read(value)
    assert caught.value.source == "strategy_challenger_x.json"
    assert caught.value.path.startswith(path)
    assert reason in caught.value.reason
    assert str(caught.value).startswith("strategy_challenger_x.json: ")
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["../a.onnx", "/etc/passwd", "a/b.onnx", "..", ".a", "a\\b.onnx", "", "a\x00"]
)
def test_an_artifact_has_no_path(file):
    value = text(kind="oracle", artifact={"file": file, "sha256": "0" * 64}, id="")
    del value["signal"], value["confidence"]
    with pytest.raises(GenomeError) as caught:
        read(value)
    assert caught.value.path == "artifact.file"


def test_the_largest_trees_are_read_and_the_file_stays_below_its_limit():
    wide = call("neg", feature(0))
    while sum(1 for _ in _nodes(wide)) < 400 // 2:
        wide = call("protected_div", wide, wide)
    made = sealed(genome(signal=wide, confidence=wide))
    assert read(encode(made)) == made
    assert read(text(signal=chain(MAX_DEPTH), id="")).signal is not None


def _nodes(tree):
    yield tree
    for child in tree.children:
        yield from _nodes(child)


def test_refusing_costs_neither_time_nor_memory():
    worst = [value for value, _, _ in REFUSED.values() if isinstance(value, bytes) and len(value) > 50_000]
    worst += [b'"' + b"\\u0041" * 40_000, b'{"' + b"a" * 200_000, b"-" * 200_000, b" " * MAX_FILE_BYTES]
    for data in worst:
        quickest = 1.0
        for _ in range(3):
            start = time.process_time()
            with pytest.raises(GenomeError):
                read(data)
            quickest = min(quickest, time.process_time() - start)
        assert quickest < 0.05
        tracemalloc.start()
        with pytest.raises(GenomeError):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_FILE_BYTES
        tracemalloc.stop()


@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else(data):
    with pytest.raises(GenomeError):
        read(data)


@settings(max_examples=300)
@given(at=st.integers(0, 10_000), length=st.integers(0, 12), patch=st.binary(max_size=12))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(at, length, patch):
    data = encode(genome())
    at %= len(data)
    try:
        made = read(data[:at] + patch + data[at + length :])
    except GenomeError:
        return
    assert made.id == genome_id(made)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(name=st.sampled_from([*Genome.__struct_fields__, "x"]), value=json_values)
def test_any_json_in_any_field_is_read_or_refused_and_nothing_else(name, value):
    try:
        read(json.dumps(text(**{name: value})).encode())
    except GenomeError:
        return


def test_an_oracle_needs_its_artifact_beside_it(tmp_path):
    content = b"weights"
    artifact = Artifact("model.onnx", hashlib.sha256(content).hexdigest())
    made = sealed(genome(kind="oracle", signal=None, confidence=None, artifact=artifact))
    file = tmp_path / "oracle.json"
    file.write_bytes(encode(made))
    with pytest.raises(GenomeError, match=r"oracle\.json: artifact\.file"):
        load(file, known_features=KNOWN)
    (tmp_path / "model.onnx").write_bytes(content)
    assert load(file, known_features=KNOWN) == made
    (tmp_path / "model.onnx").write_bytes(b"other")
    with pytest.raises(GenomeError, match=r"artifact\.sha256"):
        load(file, known_features=KNOWN)
    (tmp_path / "elsewhere").write_bytes(content)
    (tmp_path / "model.onnx").unlink()
    (tmp_path / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GenomeError, match="not a regular file"):
        load(file, known_features=KNOWN)
    with pytest.raises(GenomeError, match="cannot be read"):
        load(tmp_path / "absent.json", known_features=KNOWN)


def test_a_dolphin_carries_parameters_and_no_trees():
    made = sealed(
        genome(kind="dolphin", signal=None, confidence=None, parameters={"window": 50, "long_extreme": 0.04})
    )
    assert read(encode(made)) == made
    with pytest.raises(GenomeError, match="parameters"):
        read(encode(msgspec.structs.replace(made, parameters=None, id="")))


@pytest.mark.parametrize("change", [
    {"entry_threshold": float("nan")}, {"evidence": Evidence(in_sample=Result(sharpe=float("inf")))},
    {"provenance": Provenance(slot="\ud800")}, {"signal": constant(float("nan"))}, {"clock": "7m"},
])  # fmt: skip
def test_what_could_not_be_read_back_is_not_written(change):
    with pytest.raises(GenomeError):
        read(encode(genome(**change)))


def test_errors_travel_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(GenomeError("bad", path="signal", source="x.json")))
    assert (str(error), error.path, error.source, error.reason) == (
        "x.json: signal: bad",
        "signal",
        "x.json",
        "bad",
    )
