"""Champion files: who trades in a slot, since which epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apex_nautilus.cli._configs.kind import Kind

__all__ = ["KIND"]


def _load(path: Path) -> Any:
    from apex_nautilus.features import names
    from apex_nautilus.genome import compile_genome, decode
    from apex_nautilus.store import read_champion

    champion = read_champion(path)
    compile_genome(decode(champion.genome_json(), known_features=names(), source=f"{path}: genome"))
    return champion


def _plain(champion: Any) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(champion)


KIND = Kind("champion", "apex.champion/1", "who trades in a slot", _load, _plain)
