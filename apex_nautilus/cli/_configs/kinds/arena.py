"""Arenas: `apex arena`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind, Reference

__all__ = ["KIND"]


def _load(path: Path) -> Any:
    from apex_nautilus.actors import load_arena_config

    return load_arena_config(path)


def _shape() -> type:
    from apex_nautilus.actors.arena_backtest import ArenaRunConfig

    return ArenaRunConfig


def _references(config: Any) -> Iterator[Reference]:
    yield Reference("market", Path(config.market), "market")
    yield Reference("strategies", Path(config.strategies) / "strategies", "folder")


def _plain(config: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(config)


KIND = Kind("arena", "apex.arena/1", "slots in which agents live", _load, _plain, _shape, _references)
