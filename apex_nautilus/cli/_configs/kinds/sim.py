"""Simulated markets and the populations that make them: `apex sim --config`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind

__all__ = ["KIND"]


def _shape() -> type:
    from apex_nautilus.cli._sim import SimConfig

    return SimConfig


def _load(path: Path) -> Any:
    import msgspec

    from apex_nautilus.sim import PopulationError, profile

    config = msgspec.json.decode(path.read_bytes(), type=_shape())
    for at, market in enumerate(config.markets):
        try:
            profile(market.profile).replace(**market.parameters)
        except KeyError as error:
            raise ValueError(f"markets[{at}].profile: {error.args[0]}") from None
        except PopulationError as error:
            raise ValueError(f"markets[{at}].parameters: {error}") from None
    return config


def _plain(config: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(config)


KIND = Kind("sim", "apex.sim/1", "simulated markets and their populations", _load, _plain, _shape)
