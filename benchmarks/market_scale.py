"""What a market costs beside its events: a second core, memory, and the first run's compilation.

Two cores: two processes, each with its kernels loaded, run markets at the same time; the rate of both
together is held against one process alone. `run_many` is measured as it is called, with two threads against
one. Compilation: a copy of the package without compiled kernels, from the start of the import to the end of a
market of one minute, then the same again.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import apex_nautilus
from apex_nautilus.sim import Market, profile, run_many

from .harness import Row

__all__ = ["run"]

_ROOT = Path(apex_nautilus.__file__).parents[1]
_HOUR_NS = 3_600_000_000_000
_MARKET = "BTCUSDT-LINEAR.SIM"


def _events_of(seed: int, hours: int) -> int:
    """Run one market; its events without birth and warm-up."""
    market = Market(profile(_MARKET), seed)
    before = market.run(1).stats.events
    return market.run(hours * _HOUR_NS).stats.events - before


def _rates(hours: int, repeats: int) -> tuple[list[float], list[float]]:
    """Events a second of one process and of two together, in turn."""
    one, two = [], []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_events_of, range(4), [1] * 4))  # both have loaded their kernels
        for seed in range(repeats):
            start = time.perf_counter()
            events = pool.submit(_events_of, seed, hours).result()
            one.append(events / (time.perf_counter() - start))
            start = time.perf_counter()
            events = sum(pool.map(_events_of, (seed, seed + 100), (hours, hours)))
            two.append(events / (time.perf_counter() - start))
    return one, two


def _two_cores(hours: int) -> Row:
    one, two = _rates(hours, 5)
    ratios = sorted(b / a for a, b in zip(one, two, strict=True))
    return Row(
        name=f"simulated markets of {hours} h in two processes, kernels loaded",
        unit="events/s",
        ours=statistics.median(two),
        peer="one process",
        theirs=statistics.median(one),
        ratio=ratios[len(ratios) // 2],
        goal=">= 1.8x",
        holds=ratios[len(ratios) // 2] >= 1.8,
        same_work="the same market in one process, and beside another",
        repeats=len(one),
        spread=(max(two) - min(two)) / statistics.median(two),
    )


def _many(markets: int, hours: int) -> Row:
    seconds: dict[int, list[float]] = {1: [], 2: []}
    digests: dict[int, list[str]] = {}
    for _ in range(3):
        for workers, spent in seconds.items():
            start = time.perf_counter()
            tapes = run_many(profile(_MARKET), range(markets), hours * _HOUR_NS, workers=workers)
            spent.append(time.perf_counter() - start)
            digests[workers] = [tape.digest() for tape in tapes]
    if digests[1] != digests[2]:
        raise AssertionError("run_many: two workers made other tapes than one")
    one, two = (markets * hours / statistics.median(seconds[n]) for n in (1, 2))
    return Row(
        name=f"run_many, {markets} markets of {hours} h: two threads",
        unit="market hours/s",
        ours=two,
        peer="one worker",
        theirs=one,
        ratio=two / one,
        goal="",
        holds=None,
        same_work="tapes of equal digests",
        repeats=3,
        spread=(max(seconds[2]) - min(seconds[2])) / statistics.median(seconds[2]),
    )


_MEMORY = """
import resource, sys
from apex_nautilus.sim import Market, profile
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
population = profile(sys.argv[1])
Market(population, 0).run(1_000_000_000)  # code and libraries
before = rss()
markets = [Market(population, seed) for seed in range(20)]
for market in markets:
    market.run(int(sys.argv[2]) * 1_000_000_000)  # the tape is thrown away
print((rss() - before) / len(markets) / 2**20)
"""

_FIRST = """
import time
start = time.perf_counter()
from apex_nautilus.sim import Market, profile
Market(profile("BTCUSDT-LINEAR.SIM"), 1).run(60_000_000_000)
print(time.perf_counter() - start)
"""


def _said(code: str, *arguments: str, home: Path = _ROOT) -> float:
    environment = {**os.environ, "PYTHONPATH": str(home)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _memory() -> Row:
    mib = sorted(_said(_MEMORY, _MARKET, "60") for _ in range(3))
    return Row(
        name="memory of one running market, its tape apart",
        unit="MiB",
        ours=mib[1],
        peer="none",
        theirs=None,
        ratio=None,
        goal="",
        holds=None,
        same_work="growth of the resident set over 20 markets",
        repeats=3,
        spread=(mib[-1] - mib[0]) / mib[1] if mib[1] else None,
    )


def _first_run(repeats: int) -> Iterator[Row]:
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            home = Path(folder) / str(number)
            shutil.copytree(
                _ROOT / "apex_nautilus", home / "apex_nautilus", ignore=shutil.ignore_patterns("__pycache__")
            )
            cold.append(_said(_FIRST, home=home))
            warm += [_said(_FIRST, home=home) for _ in range(3)]
    for name, seconds, bound in (
        ("cold: everything compiled", cold, 40.0),
        ("warm: kernels from disk", warm, 2.0),
    ):
        middle = statistics.median(seconds)
        yield Row(
            name=f"first market of a minute, from import to tape, {name}",
            unit="s",
            ours=middle,
            peer="bound",
            theirs=bound,
            ratio=bound / middle,
            goal=f"<= {bound:g} s",
            holds=middle <= bound,
            same_work="the same market",
            repeats=len(seconds),
            spread=(max(seconds) - min(seconds)) / middle,
        )


def run(quick: bool) -> Iterator[Row]:
    yield _two_cores(4 if quick else 24)
    yield _many(4 if quick else 16, 2 if quick else 6)
    yield _memory()
    yield from _first_run(1 if quick else 3)
