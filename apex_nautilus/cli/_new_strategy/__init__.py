"""What `apex new-strategy` writes, and which names it takes."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib import resources
from pathlib import Path

__all__ = ["class_name", "problem_with_name", "rendered"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
#: Names that the templates import; a class of that name would hide them.
_TAKEN = frozenset(
    {"ApexStrategy", "ApexStrategyConfig", "Feed", "InstrumentSpec", "Path", "Phase", "Subscription"}
)


def class_name(name: str) -> str:
    """``my_edge`` as a class: ``MyEdge``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def problem_with_name(name: str, folder: Path) -> str | None:
    """Why `name` cannot name a strategy, and a name that can; None when it can.

    A strategy's file is imported by its name, in tests and by Nautilus, so that name may be neither a keyword
    nor that of a module which is there already.
    """
    suggestion = _suggested(name)
    hint = f"; try {suggestion}" if suggestion and suggestion != name else ""
    if not _NAME.fullmatch(name) or name.endswith("_") or "__" in name:
        return (
            f"{name!r} cannot name a Python module: use lower-case letters, digits and single underscores, "
            f"beginning with a letter, at most 32{hint}"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return f"{name!r} is a keyword of Python; try {name}_edge"
    if name.startswith("test_") or name == "conftest":
        return f"{name!r} would be taken for a test; choose a name that says what the strategy trades on"
    if class_name(name) in _TAKEN:
        return f"the class {class_name(name)} would hide one that the strategy is built with; try {name}_edge"
    if name in sys.stdlib_module_names or name == "apex_nautilus":
        return f"{name!r} is a module of {_owner(name)}, which the file would hide; try {name}_edge"
    if _is_installed(name, folder):
        return f"{name!r} is an installed package, which the file would hide; try {name}_edge"
    return None


def _owner(name: str) -> str:
    return "this package" if name == "apex_nautilus" else "Python"


def _is_installed(name: str, folder: Path) -> bool:
    """Whether a module of that name is found elsewhere than in `folder` (where it is the strategy itself)."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    return spec.origin is None or Path(spec.origin).resolve().parent != folder.resolve()


def _suggested(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    snake = re.sub(r"[^a-z0-9]+", "_", snake.lower()).strip("_")
    snake = snake.lstrip("0123456789_")[:32].rstrip("_")
    return snake if _NAME.fullmatch(snake) else ""


def rendered(name: str) -> dict[str, str]:
    """The files of a new strategy: file name to content."""
    files = resources.files(__name__)
    return {
        target: (files / template)
        .read_text(encoding="utf-8")
        .replace("new_edge", name)
        .replace("NewEdge", class_name(name))
        for template, target in (
            ("strategy.py.txt", f"{name}.py"),
            ("strategy_test.py.txt", f"test_{name}.py"),
        )
    }
