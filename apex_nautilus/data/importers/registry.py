"""The table of importers: filled by importing the modules of this package.

A new importer is one new module here that calls `register`; `apex data import` finds it by itself.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from apex_nautilus.data.errors import DataError
from apex_nautilus.data.importers.report import ImportReport

__all__ = ["Importer", "ImporterOption", "get", "kinds", "register"]


@dataclass(frozen=True, slots=True)
class ImporterOption:
    """An option of one importer beyond those that all share.

    Parameters
    ----------
    name : str
        Keyword of `Importer.run`; the flag is made of it (`price_scale` is ``--price-scale``).
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
    run : callable
        ``run(paths, catalog, *, max_bad_share, replace, progress, [instrument], [allow_truncated], **options)
        -> list[ImportReport]``. `progress` takes a line of text now and then; each file or instrument is
        imported whole or not at all.
    instrument : {"required", "optional", "never"}
        Whether `run` takes ``instrument``, an instrument id or None.
    allow_truncated : bool
        Whether `run` takes ``allow_truncated``: keep what is whole of a file whose end is missing.
    options : tuple of ImporterOption
        What else it takes.
    """

    kind: str
    help: str
    run: Callable[..., list[ImportReport]]
    instrument: Literal["required", "optional", "never"] = "optional"
    allow_truncated: bool = False
    options: tuple[ImporterOption, ...] = ()


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
    package = importlib.import_module(__package__ or "apex_nautilus.data.importers")
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
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
