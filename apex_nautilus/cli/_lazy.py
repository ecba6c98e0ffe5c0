"""A click group whose verbs are the modules of a package, imported when used."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from pathlib import Path

import click

__all__ = ["ModuleGroup"]


class ModuleGroup(click.Group):
    """Group of the commands found in `package`, one module a verb (`new_strategy.py` is `new-strategy`).

    A verb that is a keyword of Python has an underscore behind its module's name (`import_.py`). The one-line
    help of each verb is the first line of its module's docstring, read from the source without importing it:
    Nautilus and numba take seconds to import, a list of verbs must not.
    """

    def __init__(self, *args, package: str, **kwargs):
        super().__init__(*args, **kwargs)
        self._package = package

    def _modules(self) -> dict[str, str]:
        spec = importlib.util.find_spec(self._package)
        if spec is None or spec.submodule_search_locations is None:
            return {}
        names = [
            m.name
            for m in pkgutil.iter_modules(spec.submodule_search_locations)
            if not m.name.startswith("_")
        ]
        return {name.rstrip("_").replace("_", "-"): f"{self._package}.{name}" for name in sorted(names)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = self._modules().get(cmd_name)
        if module is None:
            return None
        return importlib.import_module(module).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(verb, _first_line(module)) for verb, module in self._modules().items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _first_line(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]
