"""Sizes and rates of a study: `apex-forge evolve --config`. The file has no schema field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind

__all__ = ["KIND"]


def _shape() -> type:
    from apex_nautilus.forge import EvolutionConfig

    return EvolutionConfig


def _load(path: Path) -> Any:
    import msgspec

    return msgspec.json.decode(path.read_bytes(), type=_shape())


def _plain(config: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(config)


KIND = Kind("forge", "", "a study of the Forge", _load, _plain, _shape)
