"""Recordings of a live feed: `apex data record`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind

__all__ = ["KIND"]


def _load(path: Path) -> Any:
    from apex_nautilus.engine.recording import load_record_config

    return load_record_config(path)


def _shape() -> type:
    from apex_nautilus.engine.recording import RecordConfig

    return RecordConfig


def _plain(config: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(config)


KIND = Kind("record", "apex.record/1", "what to record of which venues", _load, _plain, _shape)
