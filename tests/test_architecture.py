"""The house rules that no single room can hold."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "apex_nautilus"


def _table() -> dict[str, set[str]]:
    """Rooms and what each may import, from the table of docs/architecture.md."""
    rows = re.findall(r"^\| `(\w+)/` \|[^|]*\|([^|]*)\|$", (ROOT / "docs/architecture.md").read_text(), re.M)
    return {room: {w.strip() for w in names.split(",")} - {"nothing", "all", ""} for room, names in rows}


def _contracts() -> list[dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_the_documented_table_and_the_import_contracts_agree():
    table = _table()
    direct = {c["name"].split()[0]: c for c in _contracts() if " imports only " in c["name"]}
    assert set(direct) == set(table) - {"cli"}
    for room, contract in direct.items():
        forbidden = {m.removeprefix("apex_nautilus.") for m in contract["forbidden_modules"]}
        assert forbidden == set(table) - table[room] - {room}, room


def test_every_room_of_the_package_is_in_the_table():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms == set(_table())


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_evaluates_unpickles_or_draws_global_randomness(path):
    """Nothing read from a file may run, and every random number has a seed that was passed in."""
    banned_calls = {"eval", "exec", "compile", "__import__"}
    banned_modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in banned_calls, f"{path}:{node.lineno}: {node.func.id}()"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not banned_modules & {n.partition(".")[0] for n in names}, f"{path}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            chain = f"{getattr(node.value.value, 'id', '')}.{node.value.attr}"
            if chain in {"np.random", "numpy.random"}:
                allowed = {"Generator", "default_rng", "SeedSequence", "PCG64", "Philox", "BitGenerator"}
                assert node.attr in allowed, f"{path}:{node.lineno}: np.random.{node.attr} is global state"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


def test_no_address_or_machine_path_stands_in_the_requirements():
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text, path
        assert "file:" not in text, path
