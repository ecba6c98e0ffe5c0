"""What every benchmark shares: timing in alternation with a peer, and the row that is printed.

A benchmark is a module of this package with `run(quick: bool) -> Iterator[Row]`. Ours and the peer's work
alternate
within one run, so that a noisy machine disturbs both alike, and the median counts.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import ModuleType

__all__ = [
    "MissingPeer",
    "Row",
    "Timed",
    "alternate",
    "compare",
    "missing_row",
    "peer_version",
    "require_peer",
]


@dataclass(frozen=True)
class Row:
    """One measure.

    `ours` and `theirs` are in `unit`; `ratio` is how many times better ours is (above 1 is better,
    whichever way the
    unit runs). `goal` is the ratio or bound asked for, `holds` whether it was met (None where there is no
    goal, or the
    peer is missing). `spread` is (max - min) / median over our repeats.
    """

    name: str
    unit: str
    ours: float | None
    peer: str
    theirs: float | None
    ratio: float | None
    goal: str
    holds: bool | None
    same_work: str
    repeats: int
    spread: float | None

    def as_dict(self) -> dict:
        return asdict(self)


class MissingPeer(Exception):
    """A peer is not installed; the row says so."""


@dataclass(frozen=True)
class Timed:
    """Seconds of each repeat of one contestant."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        return (max(self.seconds) - min(self.seconds)) / self.median if self.median > 0 else 0.0


def require_peer(module: str) -> ModuleType:
    """Import a peer of the `bench` group, or raise MissingPeer naming how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPeer(
            f"{module} is not installed ({error}); run `make bench`, which installs the peers"
        ) from error


def peer_version(distribution: str) -> str:
    """`name version` of an installed distribution."""
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{distribution} (missing)"


def alternate(*contestants: Callable[[], object], repeats: int = 5, warm: bool = True) -> list[Timed]:
    """Time the contestants in turn, `repeats` rounds; one untimed round before (compilation, caches)."""
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    if warm:
        for contestant in contestants:
            contestant()
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(repeats):
        for i, contestant in enumerate(contestants):
            start = time.perf_counter()
            contestant()
            seconds[i].append(time.perf_counter() - start)
    return [Timed(tuple(s)) for s in seconds]


def compare(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    work: float,
    unit: str,
    peer: str,
    goal_ratio: float | None,
    same_work: str,
    their_work: float | None = None,
    repeats: int = 5,
    warm: bool = True,
) -> Row:
    """Rate of ours against the peer's, in `unit` (work units per second); see `alternate`.

    `work` is the amount of work of one call of `ours`; `their_work` that of `theirs` where a slow peer is
    given less.
    """
    a, b = alternate(ours, theirs, repeats=repeats, warm=warm)
    our_rate = work / a.median
    their_rate = (work if their_work is None else their_work) / b.median
    ratio = our_rate / their_rate
    return Row(
        name=name,
        unit=unit,
        ours=our_rate,
        peer=peer,
        theirs=their_rate,
        ratio=ratio,
        goal="" if goal_ratio is None else f">= {goal_ratio:g}x",
        holds=None if goal_ratio is None else ratio >= goal_ratio,
        same_work=same_work,
        repeats=repeats,
        spread=a.spread,
    )


def missing_row(name: str, unit: str, peer: str, goal: str, reason: str) -> Row:
    """The row of a measure whose peer is missing: reported, never skipped in silence."""
    return Row(name, unit, None, f"{peer} (missing: {reason})", None, None, goal, None, "not run", 0, None)
