"""A finding, where to look, and the run through all checks."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from apex_nautilus._submodules import submodule_names

__all__ = ["Finding", "Place", "State", "run_checks"]

State = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes
    ----------
    check : what was looked at.
    state : ``ok``; ``warn`` for what works but should be known; ``fail`` for what will not work.
    found : what is the case.
    mend : what to do about it; empty when ok.
    """

    check: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Place:
    """Where to look, and the clocks to look at; tests pass their own.

    Attributes
    ----------
    root : the workspace.
    environment : names and values of the environment.
    wall, monotonic : clocks, seconds.
    """

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    @property
    def catalog(self) -> Path:
        """The catalog of strategies, jobs and ledgers."""
        return self.root / "catalog"

    @property
    def market(self) -> Path:
        """The Nautilus catalog of market data."""
        return self.catalog / "market"

    @property
    def runs(self) -> Path:
        """The folder of run folders."""
        return self.root / "runs"

    def shown(self, path: Path) -> str:
        """A path as a person in the workspace would write it."""
        try:
            return str(path.relative_to(self.root))
        except ValueError:
            return str(path)


def run_checks(place: Place) -> Iterator[Finding]:
    """Run every check, in the order of their modules' names; one that breaks down is itself a finding."""
    for module in submodule_names("apex_nautilus.cli._doctor.checks"):
        try:
            yield from importlib.import_module(module).check(place)
        except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
            yield Finding(
                module.rpartition(".")[2].replace("_", " "),
                "fail",
                f"the check itself broke: {type(error).__name__}: {error}",
                "report this; the other checks stand",
            )
