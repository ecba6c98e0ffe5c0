"""The installer that a newcomer meets first."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bootstrap():
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_python_that_is_too_old_gets_a_line_that_says_which_to_install(bootstrap, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "candidates", lambda: iter(["/usr/bin/python-that-is-not-there"]))
    with pytest.raises(SystemExit) as exit_info:
        bootstrap.find_python()
    assert exit_info.value.code == 1
    err = capsys.readouterr().err
    assert "3.12, 3.13 or 3.14" in err
    assert "Install Python 3.13" in err


def test_a_fit_interpreter_on_the_path_is_taken(bootstrap, monkeypatch, tmp_path):
    major, minor = sys.version_info[:2]
    link = tmp_path / f"python{major}.{minor}"
    link.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    link.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    _, version = bootstrap.find_python()
    assert bootstrap.OLDEST <= version <= bootstrap.NEWEST


def test_a_shim_that_does_not_run_is_passed_over(bootstrap, tmp_path):
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert bootstrap.version_of(str(shim)) is None


def test_the_installer_parses_on_old_pythons():
    """It must get as far as its own error message on whatever `python3` a machine has."""
    import ast

    ast.parse((ROOT / "scripts" / "bootstrap.py").read_text(), feature_version=(3, 6))


def test_an_unknown_group_is_refused():
    out = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bootstrap.py", "everything"], capture_output=True, text=True
    )
    assert out.returncode == 1
    assert "unknown group 'everything'" in out.stderr
