"""Strategies written by hand, named in a run configuration: ``FILE.py:Class`` or ``package.module:Class``.

Nautilus builds a strategy from the path of its class and of its configuration class. A file is not a module
that can be imported by name, so it is loaded here under a name made of its path and content; after that
Nautilus finds it like any other. The configuration class stands beside the strategy and is called like it
with ``Config`` behind.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import msgspec
from nautilus_trader.common.config import msgspec_decoding_hook

from apex_nautilus.engine.base_strategy import ApexStrategy, ApexStrategyConfig

__all__ = ["StrategySource", "StrategySourceError", "absolute_source", "find_strategy", "source_file"]

#: What the base class takes from the agent's own fields; not for `parameters`.
RESERVED = (
    "instrument_id", "slot", "capital", "legs", "entry_retries", "reprice_s", "patience_s", "order_id_tag",
    "log_events", "log_commands",
)  # fmt: skip


class StrategySourceError(ValueError):
    """A strategy that cannot be found or is not one of ours; the message says what to change."""


class StrategySource(msgspec.Struct, frozen=True):
    """Where Nautilus finds a strategy and its configuration, each as ``module:Class``."""

    strategy_path: str
    config_path: str


def source_file(source: str) -> str:
    """The file of ``FILE.py:Class``; an empty text for an installed module."""
    place = source.rpartition(":")[0]
    return place if place.endswith(".py") else ""


def absolute_source(source: str, folder: Path) -> str:
    """Return `source` with its file, if it names one, made absolute against `folder`."""
    file = source_file(source)
    return f"{(folder / file).resolve()}:{source.rpartition(':')[2]}" if file else source


def find_strategy(source: str, parameters: dict[str, object] | None = None) -> StrategySource:
    """Import the strategy that `source` names and check that it is built on `ApexStrategy`.

    This runs the code of the file or module, as importing does.

    Parameters
    ----------
    source : str
        ``FILE.py:Class`` or ``package.module:Class``.
    parameters : dict, optional
        What the configuration says of it beside the fields common to all agents; checked against its
        configuration class.

    Raises
    ------
    StrategySourceError
        When it is not there, cannot be imported, has no configuration class, or does not take a parameter.
    """
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier():
        raise StrategySourceError(
            f"{source!r} names no strategy; write FILE.py:Class (relative to the configuration) or "
            "package.module:Class"
        )
    module_name = _load_file(Path(place)) if place.endswith(".py") else place
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise StrategySourceError(
            f"{place}: cannot be imported ({error}); for a file write its path with .py"
        ) from None
    strategy, config = getattr(module, name, None), getattr(module, f"{name}Config", None)
    for wanted, found, base in (
        (name, strategy, ApexStrategy),
        (f"{name}Config", config, ApexStrategyConfig),
    ):
        if not (isinstance(found, type) and issubclass(found, base)):
            what = "is missing" if found is None else f"is not built on {base.__name__}"
            raise StrategySourceError(
                f"{place}: {wanted} {what}; a strategy and its configuration stand in one module, as "
                f"`class {name}(ApexStrategy)` and `class {name}Config(ApexStrategyConfig)`"
            )
    _check_parameters(config, parameters or {})
    return StrategySource(f"{module_name}:{name}", f"{module_name}:{name}Config")


def _check_parameters(config: type, parameters: dict[str, object]) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(config)}
    taken = sorted(set(parameters) & set(RESERVED))
    if taken:
        raise StrategySourceError(
            f"parameters.{taken[0]}: is a field of the agent; write it beside `strategy`"
        )
    own = sorted(set(config.__annotations__))
    for name, value in parameters.items():
        if name not in fields:
            raise StrategySourceError(
                f"parameters.{name}: {config.__name__} has no such field (it has {', '.join(own) or 'none'})"
            )
        try:
            msgspec.convert(value, fields[name].type, dec_hook=msgspec_decoding_hook)
        except msgspec.ValidationError as error:
            raise StrategySourceError(f"parameters.{name}: {error}") from None


def _load_file(file: Path) -> str:
    """Load a Python file as a module and return the name it can be imported by."""
    try:
        code = file.read_bytes()
    except OSError as error:
        raise StrategySourceError(f"{file}: cannot be read ({error.strerror or error})") from None
    digest = hashlib.sha256(os.fsencode(file.resolve()) + b"\0" + code).hexdigest()[:12]
    name = f"apex_strategy_{file.stem}_{digest}"
    if name in sys.modules:
        return name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StrategySourceError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise StrategySourceError(f"{file}: importing it raised {type(error).__name__}: {error}") from error
    return name
