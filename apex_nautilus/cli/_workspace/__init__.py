"""A workspace: the files that `apex init` lays out, and what it tells a newcomer to run in it.

The files lie in `files/` as they will lie in the workspace, except that `gitignore` gets its dot. A folder in
place of which nothing is there yet appears whole or not at all; into one that exists, only what is missing is
added.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from apex_nautilus.store import CatalogLayout, write_atomic
from apex_nautilus.store.atomic import fsync_directory

__all__ = ["STEPS", "Laid", "lay_out", "workspace_files"]

_GENOME = "genomes/btc_imbalance.json"
_CHALLENGER = "catalog/strategies/incoming/strategy_challenger_btc_imbalance.json"

#: (what it does, the command), in the order in which a newcomer runs them; all work without a network.
STEPS: tuple[tuple[str, str], ...] = (
    (
        "bring the sample recording into the catalog",
        "apex data import binance-capture data/btcusdt_usdm_20240808.gz --instrument BTCUSDT-PERP.BINANCE",
    ),
    ("see what the catalog holds", "apex data inspect"),
    ("look the machine and this folder over", "apex doctor"),
    ("check every configuration and genome", "apex config check configs genomes"),
    ("trade the sample genome in Nautilus", "apex backtest configs/backtest.json"),
    ("see whether it looks into the future", "apex lookahead genomes/btc_imbalance.json"),
    ("let agents live and be judged", "apex arena configs/arena.json"),
    (
        "simulate half an hour of a market, more than the recording has",
        "apex data synth --profile BTCUSDT-LINEAR.SIM --seconds 1800",
    ),
    (
        "breed a genome on it; the gate refuses what so little data cannot prove",
        "apex-forge evolve --instrument BTCUSDT-LINEAR.SIM --clock 1s "
        "--features imbalance,ofi_5,signed_volume_10s --config configs/forge.json",
    ),
    ("begin a strategy of your own", "apex new-strategy my_edge"),
)


class Laid(NamedTuple):
    """What `lay_out` did: files written, replaced, and left as they were; paths inside the workspace."""

    written: list[str]
    replaced: list[str]
    kept: list[str]


def workspace_files() -> dict[str, bytes]:
    """The files of a new workspace: path inside it (with slashes) to content."""
    files = dict(_walk(resources.files(__name__) / "files", ""))
    files[".gitignore"] = files.pop("gitignore")
    files["README.md"] = files["README.md"].replace(b"@STEPS@", "\n".join(_explained()).encode())
    files[_CHALLENGER] = files[_GENOME]  # waits where the arena looks for challengers
    return files


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()


def _explained() -> Iterator[str]:
    for what, command in STEPS:
        yield f"# {what}"
        yield command


def lay_out(folder: Path, *, force: bool = False) -> Laid:
    """Make `folder` a workspace.

    Parameters
    ----------
    folder : path
        Made, whole or not at all, when it does not exist; otherwise files are added to it one by one (an
        empty folder is not replaced by a new one: somebody may be standing in it).
    force : bool
        Replace files that differ from ours. Others in the folder are never touched.

    Raises
    ------
    OSError
        When the folder cannot be written, or something else stands in its way.
    """
    files = workspace_files()
    if not folder.exists():
        _make_whole(folder, files)
        return Laid(sorted(files), [], [])
    laid = Laid([], [], [])
    for name, content in sorted(files.items()):
        path = folder / name
        there = path.exists() or path.is_symlink()
        if there and not (force and (path.is_symlink() or path.read_bytes() != content)):
            laid.kept.append(name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content, exclusive=not there)
        (laid.replaced if there else laid.written).append(name)
    _make_folders(folder)
    return laid


def _make_whole(folder: Path, files: dict[str, bytes]) -> None:
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.parent / f".{folder.name}.{os.getpid()}.staging"
    staging.mkdir()
    try:
        for name, content in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
        _make_folders(staging)
        os.rename(staging, folder)  # fails on a folder that somebody has filled meanwhile
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    fsync_directory(folder.parent)


def _make_folders(root: Path) -> None:
    CatalogLayout(root / "catalog").ensure()
    for name in ("runs", "strategies"):
        (root / name).mkdir(exist_ok=True)
