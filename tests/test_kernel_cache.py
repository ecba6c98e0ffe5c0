"""Compiled kernels are thrown away when a source that they were made from has changed, and only then."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import apex_nautilus
from apex_nautilus._kernel_cache import _MARKS, discard_stale_kernels


@pytest.fixture
def package(tmp_path):
    (tmp_path / "room" / "__pycache__").mkdir(parents=True)
    (tmp_path / "room" / "inner.py").write_text("from numba import njit\n")
    (tmp_path / "room" / "plain.py").write_text("x = 1\n")
    discard_stale_kernels(tmp_path)
    for name in ("outer.f-1.py313.nbi", "outer.f-1.py313.1.nbc", "other.pyc"):
        (tmp_path / "room" / "__pycache__" / name).write_bytes(b"x")
    return tmp_path


def _left(package):
    return sorted(p.name for p in (package / "room" / "__pycache__").iterdir())


def test_unchanged_sources_keep_their_kernels(package):
    assert discard_stale_kernels(package) == 0
    assert len(_left(package)) == 3


def test_a_changed_kernel_takes_all_compiled_code_with_it(package):
    (package / "room" / "inner.py").write_text("from numba import njit  # changed\n")
    assert discard_stale_kernels(package) == 2
    assert _left(package) == ["other.pyc"]
    assert discard_stale_kernels(package) == 0


def test_a_change_outside_the_kernels_costs_nothing(package):
    (package / "room" / "plain.py").write_text("x = 2\n")
    assert discard_stale_kernels(package) == 0


def test_a_new_file_with_kernels_counts_as_a_change(package):
    (package / "room" / "new.py").write_text("from numba import cfunc\n")
    assert discard_stale_kernels(package) == 2


def test_every_file_that_holds_kernels_counts_as_one():
    kernels = []
    for module in pkgutil.walk_packages(apex_nautilus.__path__, "apex_nautilus."):
        if module.name.startswith("apex_nautilus.cli"):
            continue
        loaded = importlib.import_module(module.name)
        own = [v for v in vars(loaded).values() if isinstance(v, Dispatcher)]
        if any(v.py_func.__module__ == loaded.__name__ for v in own):
            kernels.append(Path(loaded.__file__))
    assert len(kernels) > 20
    for path in kernels:
        assert any(mark in path.read_bytes() for mark in _MARKS), path
