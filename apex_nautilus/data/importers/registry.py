"""The table of importers: filled by importing the modules of this package.

A new importer is one new module here that calls `register`; `apex data import` finds it by itself.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from apex_nautilus._submodules import import_submodules
from apex_nautilus.data.errors import DataError
from apex_nautilus.data.importers.report import ImportReport

__all__ = ["Importer", "ImporterOption", "get", "kinds", "register"]


@dataclass(frozen=True, slots=True)
class ImporterOption:
    """An option of one importer beyond those that all share.

    Parameters
    ----------
    name : str
        Keyword of `Importer.function`; the flag is made of it (`price_scale` is ``--price-scale``).
    help : str
        What it does, in a line.
    type : type
        str, int, float, bool (a flag) or Path (a file that exists).
    default : object
        Used when the option is not given.
    choices : tuple of str
        The values allowed, when they can be listed.
    """

    name: str
    help: str
    type: type = str
    default: Any = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Importer:
    """One kind of recording and the function that brings it into a catalog.

    Parameters
    ----------
    kind : str
        What the command line calls it: ``binance-capture``.
    help : str
        Its first line says what is read; the rest what the files are and what their names must tell.
    function : callable
        ``function(paths, catalog, *, max_bad_share, replace, [instrument_id], [allow_truncated], [progress],
        **options)`` returns an ImportReport or a list of them. `progress` takes a line of text now and then;
        each file or instrument is imported whole or not at all.
    instrument : {"required", "optional", "never"}
        Whether `function` takes an instrument id.
    allow_truncated : bool
        Whether `function` takes ``allow_truncated``: keep what is whole of a file whose end is missing.
    options : tuple of ImporterOption
        What else it takes.
    """

    kind: str
    help: str
    function: Callable[..., ImportReport | list[ImportReport]]
    instrument: Literal["required", "optional", "never"] = "optional"
    allow_truncated: bool = False
    options: tuple[ImporterOption, ...] = ()

    def run(
        self,
        paths: Sequence[Path],
        catalog: Path,
        *,
        instrument: str | None = None,
        progress: Callable[[str], None] = lambda text: None,
        **options: Any,
    ) -> list[ImportReport]:
        """Import `paths`; `instrument` only where one is named, `progress` only where it is taken."""
        if instrument is not None:
            options["instrument_id"] = instrument
        if "progress" in inspect.signature(self.function).parameters:
            options["progress"] = progress
        reports = self.function(paths, catalog, **options)
        return reports if isinstance(reports, list) else [reports]


_registry: dict[str, Importer] = {}
_loaded = False


def register(importer: Importer) -> Importer:
    """Add an importer.

    Raises
    ------
    ValueError
        When another importer has that kind.
    """
    if importer.kind in _registry:
        raise ValueError(f"importer {importer.kind!r} is registered twice; give one of them another kind")
    _registry[importer.kind] = importer
    return importer


def _load() -> None:
    global _loaded
    if _loaded:
        return
    import_submodules("apex_nautilus.data.importers")
    _loaded = True


def kinds() -> tuple[str, ...]:
    """Return the kinds of all importers, sorted."""
    _load()
    return tuple(sorted(_registry))


def get(kind: str) -> Importer:
    """Return the importer of a kind.

    Raises
    ------
    DataError
        When there is none; the message names the nearest ones.
    """
    _load()
    try:
        return _registry[kind]
    except KeyError:
        near = difflib.get_close_matches(kind, _registry, n=3) or sorted(_registry)
        raise DataError(f"{kind!r} is not a kind of recording (did you mean {', '.join(near)}?)") from None
