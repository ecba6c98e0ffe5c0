"""Backtests: `apex backtest`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind, Reference

__all__ = ["KIND"]


def _load(path: Path) -> Any:
    from apex_nautilus.engine import load_config

    return load_config(path)


def _shape() -> type:
    from apex_nautilus.engine import BacktestConfig

    return BacktestConfig


def _references(config: Any) -> Iterator[Reference]:
    from apex_nautilus.engine.strategy_source import source_file

    yield Reference("catalog", Path(config.catalog), "market")
    for i, agent in enumerate(config.agents):
        if agent.genome is not None:
            yield Reference(f"agents[{i}].genome", Path(agent.genome), "file")
        elif file := source_file(agent.strategy):
            yield Reference(f"agents[{i}].strategy", Path(file), "file")
    for instrument_id, file in (config.bars.costs if config.bars is not None else {}).items():
        yield Reference(f"bars.costs.{instrument_id}", Path(file), "file")


def _plain(config: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(config)


KIND = Kind("backtest", "apex.backtest/1", "agents on a recording", _load, _plain, _shape, _references)
