"""Packages whose modules are found, not listed: a file dropped into the folder is one more of its kind."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

__all__ = ["import_submodules", "submodule_names"]


def submodule_names(package: str) -> list[str]:
    """Return the full names of the modules directly in a package, sorted, without importing them."""
    path = importlib.import_module(package).__path__
    return sorted(f"{package}.{module.name}" for module in pkgutil.iter_modules(path))


def import_submodules(package: str) -> list[ModuleType]:
    """Import every module directly in a package, in the order of their names."""
    return [importlib.import_module(name) for name in submodule_names(package)]
