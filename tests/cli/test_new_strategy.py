"""`apex new-strategy`: what it writes passes its own test, style and type checks, whatever the name; names
that could not be imported are refused with one that can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from apex_nautilus.cli._new_strategy import class_name, problem_with_name, rendered
from apex_nautilus.cli.apex import main

LONGEST = "a_name_of_thirty_two_characters_"[:31] + "x"


def run(*arguments: object):
    return CliRunner().invoke(main, ["new-strategy", *map(str, arguments)])


def python(root: Path, *arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def test_the_generated_test_passes_as_generated(tmp_path, root):
    answer = run("my_edge", "--out", tmp_path / "mine")
    assert answer.exit_code == 0, answer.output
    test = tmp_path / "mine" / "test_my_edge.py"
    done = python(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, test)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout


def test_the_generated_test_notices_a_strategy_that_is_wrong(tmp_path, root):
    """The tests are worth something: with its sides swapped they fail."""
    assert run("my_edge", "--out", tmp_path).exit_code == 0
    strategy = tmp_path / "my_edge.py"
    strategy.write_text(strategy.read_text().replace("return 1\n", "return -1\n"))
    only = ("-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-k", "buys")
    done = python(root, "-m", "pytest", *only, tmp_path)
    assert done.returncode == 1, done.stdout
    assert "failed" in done.stdout


@pytest.mark.parametrize("name", ["my_edge", "z", LONGEST])
def test_generated_code_passes_ruff_and_its_formatter(tmp_path, root, name):
    for file, text in rendered(name).items():
        (tmp_path / file).write_text(text)
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("needs ruff, a development package")
    for verb in (["check"], ["format", "--diff"]):
        done = subprocess.run(
            [ruff, *verb, "--no-cache", "--config", root / "pyproject.toml", tmp_path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_generated_code_passes_pyright_basic(tmp_path, root):
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if pyright is None:
        pytest.skip("needs pyright, a development package")
    assert run("my_edge", "--out", tmp_path).exit_code == 0
    (tmp_path / "pyrightconfig.json").write_text(
        '{"typeCheckingMode": "basic", "reportMissingTypeStubs": false, "reportMissingModuleSource": false}'
    )
    done = subprocess.run(
        [pyright, "--pythonpath", sys.executable, "-p", tmp_path],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MyEdge", "try my_edge"),
        ("my-edge", "try my_edge"),
        ("2fast", "try fast"),
        ("mean__reversion", "try mean_reversion"),
        ("", "cannot name a Python module"),
        ("../x", "try x"),
        ("a" * 33, "at most 32"),
        ("lambda", "keyword"),
        ("match", "keyword"),
        ("json", "a module of Python"),
        ("numpy", "installed package"),
        ("apex_nautilus", "a module of this package"),
        ("apex_strategy", "would hide one that the strategy is built with"),
        ("test_edge", "taken for a test"),
    ],
)
def test_names_that_cannot_be_imported_are_refused(tmp_path, name, says):
    answer = run("--out", tmp_path / "out", "--", name)
    assert answer.exit_code == 1
    assert says in answer.output
    assert not (tmp_path / "out").exists()


def test_a_suggested_name_is_one_that_is_taken(tmp_path):
    for name in ("MyEdge", "my-edge", "2fast", "OFI Follower!", "mean__reversion"):
        problem = problem_with_name(name, tmp_path)
        assert problem is not None
        assert problem_with_name(problem.rpartition("try ")[2], tmp_path) is None


def test_files_are_never_replaced_unasked(tmp_path):
    assert run("my_edge", "--out", tmp_path).exit_code == 0
    strategy = tmp_path / "my_edge.py"
    strategy.write_text("# my work\n")
    (tmp_path / "test_my_edge.py").unlink()
    again = run("my_edge", "--out", tmp_path)
    assert again.exit_code == 1
    assert "my_edge.py: there already" in again.output
    assert strategy.read_text() == "# my work\n"
    assert not (tmp_path / "test_my_edge.py").exists()
    assert run("my_edge", "--out", tmp_path, "--force").exit_code == 0
    assert f"class {class_name('my_edge')}(ApexStrategy)" in strategy.read_text()
