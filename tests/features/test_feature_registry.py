"""The registry knows every feature, and the documentation says what it says."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import apex_nautilus.features as door
from apex_nautilus.features import FeatureError, FeatureSpec, get, names
from apex_nautilus.features.reference import feature_table
from apex_nautilus.features.registry import Kernels, register

EXPECTED = {
    "book": {"imbalance", "pressure", "clv", "ofi_1", "ofi_5", "microprice_minus_mid_bps", "spread_bps"}
    | {f"{family}_{s}s" for family in ("signed_volume", "realised_volatility") for s in (1, 10, 60)},
    "bar": {"bar_return", "true_range", "bar_volatility", "mtfa"},
}


@pytest.mark.parametrize("kind", ["book", "bar"])
def test_names_are_sorted_and_of_their_kind(kind):
    listed = names(kind)
    assert list(listed) == sorted(listed)
    assert set(listed) >= EXPECTED[kind]
    assert {get(n).kind for n in listed} == {kind}
    assert set(names()) >= set(listed)
    assert all(get(n).name == n for n in listed)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("imbalence", "imbalance"), ("ofi5", "ofi_5"), ("realized_volatility_1s", "realised_volatility_1s")],
)
def test_an_unknown_name_is_answered_with_near_ones(wrong, near):
    with pytest.raises(FeatureError, match=f"{wrong}' is not a feature.*{near}.*docs/features.md"):
        get(wrong)


def test_a_name_is_registered_once():
    with pytest.raises(FeatureError, match="'clv' is registered twice"):
        register(get("clv"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ("volume",)}, "unknown inputs"),
        ({"neutral": 2.0}, "outside"),
        ({"neutral": float("nan")}, "outside"),
        ({"warmup_rows": -1}, "cannot be negative"),
        ({"kernels": Kernels(value=lambda view, state: 0.0, parameters=(1, 2))}, "state_size is too small"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(FeatureError, match=message):
        dataclasses.replace(get("clv"), **change)


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get("clv").low = -1.0


@pytest.mark.parametrize("kind", ["book", "bar", "external"])
def test_the_documentation_holds_the_registry(root: Path, kind):
    text = (root / "docs" / "features.md").read_text(encoding="utf-8")
    begin, end = f"<!-- {kind} features: begin -->\n", f"<!-- {kind} features: end -->"
    documented = text.split(begin)[1].split(end)[0]
    assert documented == feature_table(kind), "run: make docs"


def test_every_feature_says_what_it_is():
    for name in names():
        spec = get(name)
        assert isinstance(spec, FeatureSpec)
        assert spec.unit
        assert spec.formula
        assert spec.source
        assert spec.inputs


def test_a_new_feature_is_one_new_module(tmp_path, root):
    """A module in a package of features is all it takes: found, compiled, driven by the same loops."""
    package = tmp_path / "extra"
    package.mkdir()
    (package / "touch_gap.py").write_text(
        "from apex_nautilus.features.kernel import ask_price, bid_price\n"
        "from apex_nautilus.features.registry import FeatureSpec, Kernels, register\n"
        "def _on_trade(view, state):\n"
        "    state[1] += state[0]\n"
        "def _value(view, state):\n"
        "    return ask_price(view, 0) - bid_price(view, 0) + 100.0 * state[1]\n"
        "register(FeatureSpec(name='touch_gap', kind='book', unit='ticks', low=0.0, high=float('inf'),\n"
        "    inputs=('touch', 'trades'), formula='ask - bid + 700 a trade', source='a test',\n"
        "    kernels=Kernels(value=_value, on_trade=_on_trade, state_size=2, parameters=(7,))))\n"
    )
    script = (
        "import apex_nautilus.features.book as book\n"
        f"book.__path__.append({str(package)!r})\n"
        "from apex_nautilus import features as f\n"
        "events = f.make_events(ts_event_ns=1, ts_init_ns=[1, 1, 2, 3], price=[10, 14, 12, 11], size=1,\n"
        "    kind=[1, 1, 2, 1], side=[1, -1, 1, 1], flags=[0, 1, 0, 1])\n"
        "rows = f.batch_book(events, ['clv', 'touch_gap'], price_precision=0, size_precision=0)\n"
        "print(rows.features[:, 1].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[4.0, 703.0]"


def test_the_door_names_what_it_holds():
    assert sorted(set(door.__all__)) == sorted(door.__all__)
    assert all(hasattr(door, name) for name in door.__all__)
