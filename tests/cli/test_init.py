"""`apex init`: a workspace in which every printed command works, made whole, never over one's own work."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from apex_nautilus.cli import _workspace
from apex_nautilus.cli._workspace import STEPS, lay_out, workspace_files
from apex_nautilus.cli.apex import main as apex
from apex_nautilus.cli.forge import main as forge


def run(line: str):
    program, *arguments = shlex.split(line)
    return CliRunner().invoke({"apex": apex, "apex-forge": forge}[program], arguments)


def printed_commands(output: str) -> list[str]:
    """The commands as a person would copy them out of the terminal."""
    return [line.strip() for line in output.splitlines() if line.startswith(("  apex ", "  apex-forge "))]


@pytest.mark.slow
def test_every_printed_command_works_when_pasted(tmp_path, monkeypatch):
    made = run(f"apex init {tmp_path / 'new'}")
    assert made.exit_code == 0, made.output
    commands = printed_commands(made.output)
    assert commands == [command for _, command in STEPS]
    assert f"  cd {tmp_path / 'new'}" in made.output.splitlines()
    monkeypatch.chdir(tmp_path / "new")
    for command in commands:
        done = run(command)
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
    ((backtest, arena),) = [sorted(Path("runs").glob("first-*"))]
    result = json.loads((backtest / "result.json").read_text())
    assert all(agent["trades"] >= 3 for agent in result["agents"])  # the sample shows something
    kinds = {json.loads(line)["kind"] for line in (arena / "ledger" / "arena.jsonl").read_text().splitlines()}
    assert {"birth", "fill", "swap", "finish"} <= kinds
    assert Path("strategies/my_edge.py").exists()
    assert len(list(Path("runs").glob("forge-*/result.json"))) == 1


def test_the_readme_names_the_commands_that_are_printed():
    readme = workspace_files()["README.md"].decode()
    for what, command in STEPS:
        assert f"# {what}\n{command}\n" in readme
    assert "@" not in readme


def test_a_second_run_says_what_is_there_and_changes_nothing(tmp_path):
    folder = tmp_path / "w"
    run(f"apex init {folder}")
    config = folder / "configs" / "arena.json"
    config.write_text("{}")
    (folder / "README.md").unlink()
    again = run(f"apex init {folder}")
    assert again.exit_code == 0
    assert "written   README.md" in again.output
    assert "kept      configs/arena.json" in again.output
    assert config.read_text() == "{}"
    assert (folder / "README.md").read_bytes() == workspace_files()["README.md"]


def test_force_puts_own_files_back_and_leaves_others_alone(tmp_path):
    lay_out(tmp_path / "w")
    config, mine = tmp_path / "w" / "configs" / "arena.json", tmp_path / "w" / "configs" / "mine.json"
    config.write_text("{}")
    mine.write_text("{}")
    laid = lay_out(tmp_path / "w", force=True)
    assert laid.replaced == ["configs/arena.json"]
    assert config.read_bytes() == workspace_files()["configs/arena.json"]
    assert mine.read_text() == "{}"


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    written = []

    def full_disk(path, data, **settings):
        written.append(path)
        if len(written) == 4:
            raise OSError(28, "No space left on device", str(path))
        Path(path).write_bytes(data)

    monkeypatch.setattr(_workspace, "write_atomic", full_disk)
    answer = run(f"apex init {tmp_path / 'w'}")
    assert answer.exit_code == 1
    assert "No space left on device" in answer.output
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_that_one_stands_in_stays_that_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    made = run("apex init .")
    assert made.exit_code == 0, made.output
    assert "a new workspace" in made.output
    assert "  cd " not in made.output
    assert tmp_path.stat().st_ino == before
    assert Path("configs/backtest.json").exists()


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "w").write_text("x")
    answer = run(f"apex init {tmp_path / 'w'}")
    assert answer.exit_code == 2
    assert "is a file" in answer.output


def test_a_link_out_of_the_workspace_is_not_followed(tmp_path):
    lay_out(tmp_path / "w")
    outside = tmp_path / "outside.json"
    outside.write_text("mine")
    config = tmp_path / "w" / "configs" / "arena.json"
    config.unlink()
    config.symlink_to(outside)
    assert "configs/arena.json" in lay_out(tmp_path / "w").kept
    lay_out(tmp_path / "w", force=True)
    assert outside.read_text() == "mine"
    assert not config.is_symlink()


def test_the_sample_is_small_and_says_where_it_is_from():
    files = workspace_files()
    assert sum(map(len, files.values())) < 300_000
    text = files["data/README.md"].decode()
    assert "MIT licence" in text
    assert "nkaz001/hftbacktest" in text


def test_a_wheel_carries_every_file(root):
    """The build backend packs all of the package but what git ignores: so no template may be ignored."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text())
    assert pyproject["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["apex_nautilus"]}
    package = root / "apex_nautilus" / "cli"
    files = [
        path
        for folder in ("_workspace", "_new_strategy")
        for path in (package / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert len(files) >= 12
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        pytest.skip("needs git and a checkout, to ask what is ignored")
    done = subprocess.run(
        [git, "check-ignore", *files], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
