"""Cost models fitted to bars: `bars.costs` of a backtest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind

__all__ = ["KIND"]


def _shape() -> type:
    from apex_nautilus.risk.cost_file import CostFile

    return CostFile


def _load(path: Path) -> Any:
    import msgspec

    file = msgspec.json.decode(path.read_bytes(), type=_shape())
    file.costs.check()
    return file


def _plain(file: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(file)


KIND = Kind("costs", "apex.costs/1", "what trading on bars costs", _load, _plain, _shape)
