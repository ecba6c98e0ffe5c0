"""The agent-based market beside hftbacktest (run here) and ABIDES (as stated elsewhere).

hftbacktest replays a feed and lets one strategy's orders meet it; ours makes the feed by letting all agents'
orders meet each other. What both do is bring orders and cancels over a network with delays to a book, so that
is what is counted: the peer replays the very tape that ours has made, and its strategy sends about as many
orders and cancels as our agents did. Orders per second, the feed included on both sides. Since replaying the
feed costs the peer the same however many orders it sends, a second row lets it send ten times as many.

hftbacktest's numba and numpy are older than ours, so it lives in an environment of its own, made on first use
under `.venv-peers/` from `requirements/hftbacktest.txt`. Where that fails the row says missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from apex_nautilus.features import KIND_LEVEL, KIND_TRADE
from apex_nautilus.sim import Market, Population, Tape, profile

from .harness import MissingPeer, Row, alternate, missing_row

__all__ = ["run"]

_ROOT = Path(__file__).parents[1]
_HOUR_NS = 3_600_000_000_000
_LEVELS = 3  # quotes a side of the peer's strategy
_LATENCY_NS = 403_000  # the median of ours
_REPEATS = 5
# Kernel messages a second of the rmsc04 configuration on one core: the range that the goal was set against.
# Nothing on the package index installs it, so nobody has measured it in this run.
_ABIDES = 23_000.0, 30_000.0


def _peer_python() -> Path:
    """The interpreter of hftbacktest's environment, made if it is not there. Raises MissingPeer."""
    home = _ROOT / ".venv-peers" / "hftbacktest"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    uv = Path(sys.executable).with_name("uv")
    wanted = str(_ROOT / "requirements" / "hftbacktest.txt")
    steps = [
        [str(uv), "venv", "-q", "--allow-existing", "--python", sys.executable, str(home)],
        [str(uv), "pip", "install", "-q", "--python", str(python), "-r", wanted],
    ]
    try:
        for step in steps:
            subprocess.run(step, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise MissingPeer(
            f"its environment could not be made: {said[-1] if said else type(error).__name__}"
        ) from error
    (home / "complete").touch()
    return python


def _save(tape: Tape, levels: int, step_ns: int, path: Path) -> None:
    events, spec = tape.events, tape.instrument
    kind = np.select([events["kind"] == KIND_LEVEL, events["kind"] == KIND_TRADE], [0, 1], 2)
    np.savez(
        path,
        kind=kind,
        side=events["side"],
        exch_ts=events["ts_event_ns"],
        local_ts=events["ts_init_ns"],
        price=events["price"] / 10**spec.price_precision,
        size=events["size"] / 10**spec.size_precision,
        tick=spec.tick,
        lot=spec.lot,
        latency_ns=_LATENCY_NS,
        levels=levels,
        step_ns=step_ns,
    )


@contextmanager
def _peer(tape_file: Path) -> Iterator[tuple[Callable[[], dict], str]]:
    """hftbacktest as a process; yields what makes it run once and answer, and its version."""
    command = [str(_peer_python()), str(Path(__file__).with_name("_hftbacktest_child.py")), str(tape_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            first = child.stdout.readline() if child.stdout else ""
            if not first:
                raise MissingPeer("it ended before it was ready; remove .venv-peers and try again")

            def ask() -> dict:
                stdin, stdout = child.stdin, child.stdout
                if stdin is None or stdout is None:
                    raise MissingPeer("it cannot be spoken to")
                stdin.write("\n")
                stdin.flush()
                return json.loads(stdout.readline())

            yield ask, json.loads(first)["ready"]
        finally:
            child.kill()


def _beside_hftbacktest(population: Population, duration_ns: int, times: int) -> Row:
    markets = [Market(population, seed) for seed in range(_REPEATS + 1)]
    before = [market.run(1).stats.messages for market in markets]  # birth and warm-up are not counted
    tape = markets[0].run(duration_ns)
    sent = tape.stats.messages - before[0]
    # Each step cancels and sends `levels` orders a side.
    levels = _LEVELS * times
    step_ns = int(duration_ns * 4 * _LEVELS / sent)
    messages, seconds, peers = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tape.npz"
        whole = Market(population, 0).run(duration_ns)  # from the beginning, with the whole book at its head
        _save(whole, levels, step_ns, file)
        with _peer(file) as (ask, version):
            for market, start in zip(markets[1:], before[1:], strict=True):
                made: list[Tape] = []
                (timed,) = alternate(
                    lambda m=market, t=made: t.append(m.run(duration_ns)), repeats=1, warm=False
                )
                messages.append(made[0].stats.messages - start)
                seconds.append(timed.median)
                peers.append(ask())
    rates = sorted(n / s for n, s in zip(messages, seconds, strict=True))
    theirs = sorted(answer["sent"] / answer["seconds"] for answer in peers)
    middle, their_middle = rates[len(rates) // 2], theirs[len(theirs) // 2]
    if not 0.5 < peers[0]["sent"] / (sent * times) < 2.0:
        raise AssertionError(f"not the same work: ours sent {sent:,}, the peer {peers[0]['sent']:,}")
    return Row(
        name=f"orders and cancels through a market of {duration_ns // _HOUR_NS} h, one core"
        + (f"; the peer sends {times} times as many" if times > 1 else ""),
        unit="orders+cancels/s",
        ours=middle,
        peer=f"hftbacktest {version}",
        theirs=their_middle,
        ratio=middle / their_middle,
        goal=">= 1.3x" if times == 1 else "",
        holds=middle >= 1.3 * their_middle if times == 1 else None,
        same_work=f"the peer replays our tape of {peers[0]['feed']:,} events and sends {peers[0]['sent']:,} "
        f"orders and cancels, our agents sent {sent:,} while they made it",
        repeats=len(rates),
        spread=(rates[-1] - rates[0]) / middle,
    )


def _beside_abides(population: Population, duration_ns: int) -> Row:
    rates = []
    for seed in range(_REPEATS + 1):
        market = Market(population, seed)
        before = market.run(1).stats.events
        made: list[Tape] = []
        (timed,) = alternate(lambda m=market, t=made: t.append(m.run(duration_ns)), repeats=1, warm=False)
        rates.append((made[0].stats.events - before) / timed.median)
    rates = sorted(rates[1:])
    middle = rates[len(rates) // 2]
    return Row(
        name=f"simulated market of {duration_ns // _HOUR_NS} h: events of the kernel, one core",
        unit="events/s",
        ours=middle,
        peer="ABIDES, rmsc04 (stated, not run here)",
        theirs=_ABIDES[1],
        ratio=middle / _ABIDES[1],
        goal=">= 300x",
        holds=middle >= 300.0 * _ABIDES[1],
        same_work=f"not checked: the peer's figure is the upper end of the {_ABIDES[0]:,.0f} to "
        f"{_ABIDES[1]:,.0f} messages a second that the goal was set against; no public source was found",
        repeats=len(rates),
        spread=(rates[-1] - rates[0]) / middle,
    )


def run(quick: bool) -> Iterator[Row]:
    population = profile("BTCUSDT-LINEAR.SIM")
    duration_ns = (1 if quick else 6) * _HOUR_NS
    try:
        for times in (1, 10):
            yield _beside_hftbacktest(population, duration_ns, times)
    except MissingPeer as missing:
        yield missing_row(
            "orders and cancels through a market", "orders+cancels/s", "hftbacktest", ">= 1.3x", str(missing)
        )
    yield _beside_abides(population, duration_ns)
