"""Packages whose modules are found and not listed."""

from __future__ import annotations

import sys

import pytest

from apex_nautilus._submodules import import_submodules, submodule_names


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "found_here"
    (folder / "deeper").mkdir(parents=True)
    for name in ("__init__", "beta", "alpha", "deeper/__init__", "deeper/hidden"):
        (folder / f"{name}.py").write_text(f"NAME = {name!r}\n")
    (folder / "notes.txt").write_text("not a module")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == "found_here"]:
        del sys.modules[name]


def test_modules_are_named_in_order_without_being_imported(package):
    assert submodule_names("found_here") == ["found_here.alpha", "found_here.beta", "found_here.deeper"]
    assert "found_here.alpha" not in sys.modules


def test_every_module_is_imported_and_a_broken_one_is_not_passed_over(package):
    assert [m.NAME for m in import_submodules("found_here")] == ["alpha", "beta", "deeper/__init__"]
    (package / "gamma.py").write_text("raise RuntimeError('gamma')\n")
    with pytest.raises(RuntimeError, match="gamma"):
        import_submodules("found_here")
