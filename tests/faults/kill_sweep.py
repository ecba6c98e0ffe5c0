"""Kill an arena at drawn points of its day, bring in order what it left, and live on from there.

Each point is one subprocess that runs a Nautilus backtest and is ended with SIGKILL at its n-th fault point.
What it left is recovered and searched for what must hold; then a new run starts on the recovered folders, in
this process, and is searched too. ``python kill_sweep.py 200`` prints the table of docs/pit-crew.md.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import arena_life
import msgspec
import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine
from support.arena_case import controller_of

from apex_nautilus.actors import mark_aborted, read_result, read_run
from apex_nautilus.actors.recovery import recover_arena
from apex_nautilus.risk import AgentAccount
from apex_nautilus.store import (
    CatalogLayout,
    FileJobQueue,
    LedgerWriter,
    list_champions,
    read_all,
    read_ledger,
)

__all__ = [
    "PLACES",
    "Point",
    "Survival",
    "check_directories",
    "check_ledger",
    "draw",
    "genomes",
    "live",
    "survive",
    "sweep",
    "table",
    "trace",
]

DAYS = 3
"""Markets that differ by their seed: enough points that two hundred draws need not repeat one."""
_SCRIPT = Path(arena_life.__file__)
_ID = re.compile(rb'"id": ?"([0-9a-f]{16})"')
_OUTSIDE = ("ledger.", "intake.")
"""Points of every line of the ledger and of every look into a folder; too many to tell anything apart."""
_FAMILIES = {
    "swap": ("arena.swap_begun", "swap.", "arena.swapped"),
    "death": ("arena.verdict", "arena.promoted", "retire.", "arena.retired", "arena.buried"),
    "recycle": ("arena.asked", "jobs.", "incoming."),
}
PLACES = tuple(_FAMILIES)


@dataclass(frozen=True, slots=True)
class Point:
    """The `count`-th fault point of `day`: its `name`, and the `place` (what was being done) it lies in."""

    day: int
    count: int
    name: str
    place: str


@dataclass(frozen=True, slots=True)
class Survival:
    """How a killed run was brought in order: what recovery wrote and which files it touched."""

    point: Point
    told: tuple[str, ...]
    touched: int

    @property
    def outcome(self) -> str:
        """``story`` where recovery finished what the ledger had begun, ``files`` where it only put files in
        order, ``nothing`` where the kill left no trace."""
        return "story" if self.told else "files" if self.touched else "nothing"


def live(source: Path, runs: Path, run_id: str, day: int, fault: str | None) -> subprocess.CompletedProcess:
    """Live a day in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "APEX_FAULT"}
    if fault is not None:
        environment["APEX_FAULT"] = fault
    command = [sys.executable, str(_SCRIPT), str(source), str(runs), run_id, str(day)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def trace(source: Path, folder: Path, day: int) -> list[Point]:
    """All points of swaps, deaths and recycles that `day` passes, in order.

    A step of `store.atomic` has no name of its own there: it belongs to what is said to be done next.
    """
    file = folder / f"points-{day}"
    done = live(source, folder / "traced", f"day-{day}", day, f"trace:{file}")
    if done.returncode != 0:
        raise RuntimeError(f"day {day} did not end: {done.stderr}")
    names = file.read_text().split()
    points, place = [], ""
    for count in range(len(names), 0, -1):
        name = names[count - 1]
        found = [p for p, heads in _FAMILIES.items() if name.startswith(heads)]
        place = found[0] if found else "" if name.startswith(_OUTSIDE) else place
        if place:
            points.append(Point(day, count, name, place))
    return points[::-1]


def draw(points: Sequence[Point], n: int, rng: np.random.Generator) -> list[Point]:
    """`n` different points, as many of each place as of the others as far as there are so many."""
    waiting = defaultdict(list)
    for k in rng.permutation(len(points)):
        waiting[points[k].place].append(points[k])
    chosen: list[Point] = []
    while len(chosen) < n and any(waiting.values()):
        chosen += [waiting[place].pop() for place in PLACES if waiting[place]]
    return chosen[:n]


def genomes(root: Path) -> set[str]:
    """Ids of all genomes below the strategies of `root`, but for refused ones."""
    found = set()
    for file in (root / "strategies").rglob("*.json"):
        if file.parent.name != "rejected":
            found.update(match.decode() for match in _ID.findall(file.read_bytes()))
    return found


def _tree(root: Path) -> set[tuple[str, bytes]]:
    return {
        (str(f.relative_to(root)), f.read_bytes())
        for folder in ("strategies", "jobs")
        for f in (root / folder).rglob("*")
        if f.is_file()
    }


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def check_directories(root: Path, planted: set[str]) -> None:
    """One champion a slot, no genome lost or alive twice, each dead champion asked to be replaced once."""
    layout = CatalogLayout(root)
    champions = list_champions(layout)
    slots = Counter(c.slot for c in champions)
    _require(max(slots.values(), default=0) <= 1, f"two champions in one slot: {slots}")
    jobs = {s.job.job_id: s for s in FileJobQueue(layout).jobs()}
    # Answered and not yet put away is answered: who claims it again finds the answer.
    stems = [_stem(f) for f in (*layout.jobs_todo.glob("*.json"), *layout.jobs_done.glob("*.json"))]
    stems += sorted({_stem(f) for f in layout.jobs_doing.glob("*.json")} - {*stems})
    _require(len(stems) == len(jobs) == len({*stems}), f"a request is in two places: {stems}")
    _require(not list(layout.jobs_failed.iterdir()), "a request was given up")
    answers = {arena_life.answer(s.job).id for s in jobs.values()}
    done = {arena_life.answer(s.job).id for s in jobs.values() if s.state == "done"}
    present = genomes(root)
    _require(planted | done <= present, f"lost: {planted | done - present}")
    _require(present <= planted | answers, f"of nowhere: {present - planted - answers}")
    living = [c.genome_id for c in champions]
    living += [p.stem.rpartition("_")[2] for p in layout.challengers_root.glob("*/*.json")]
    _require(len(set(living)) == len(living), f"a genome lives twice: {living}")
    verdicts = [r.fields for r in read_all(layout.ledger, kinds=("verdict",))]
    dead = [(v["slot"], v["genome"], v["epoch"]) for v in verdicts if v["role"] == "champion"]
    for slot, genome, epoch in dead:
        asked = [s for s in jobs.values() if (s.job.slot, s.job.terminated_model_id) == (slot, genome)]
        _require(len(asked) == 1, f"{genome} died in {slot} and was asked for {len(asked)} times")
        _require((slot, epoch) not in {(c.slot, c.epoch) for c in champions}, f"the dead of {slot} trades")


def check_ledger(root: Path) -> None:
    """Every line is there, and the cash of every agent is what its own fills add up to."""
    lines = list(read_ledger(CatalogLayout(root).ledger_file("arena")))
    _require([r.seq for r in lines] == list(range(len(lines))), "lines are missing")
    accounts: dict[str, AgentAccount] = {}
    born: Counter[str] = Counter()
    for line in lines:
        f = line.fields
        if line.kind == "birth":
            accounts[f["agent"]] = AgentAccount(f["capital"], size_precision=3)
            born[f["genome"]] += f["role"] == "shadow"
        elif line.kind == "fill":
            account = accounts[f["agent"]]
            account.fill(1 if f["qty"] > 0 else -1, abs(f["qty"]), f["price"], f["fee"])
            _require(abs(account.balance - f["cash"]) < 1e-6, f"cash of {f['agent']} at line {line.seq}")
            _require(account.position == f["position"], f"position of {f['agent']} at line {line.seq}")
        elif line.kind == "burial":
            _require(accounts[f["agent"]].is_flat, f"{f['agent']} was buried with a position")
            _require(abs(accounts[f["agent"]].balance - f["cash"]) < 1e-6, f"cash of {f['agent']}")
    _require(max(born.values(), default=0) <= 1, f"a request was answered twice: {born}")


def _check_engine(engine: BacktestEngine, root: Path) -> None:
    """Nobody but a living agent has an order or a position, and slots are held by whom the files name."""
    arena = controller_of(engine)
    strategies = {s.id.value for s in engine.trader.strategies()}
    living = {name for name, agent in arena.roster.agents.items() if not agent.is_gone}
    ours = {a.birth.strategy_id for n, a in read_result(root).agents.items() if n in living}
    _require(strategies == ours, f"strategies {strategies}, agents {ours}")
    for thing in (
        *engine.cache.orders_open(),
        *engine.cache.orders_inflight(),
        *engine.cache.positions_open(),
    ):
        _require(thing.strategy_id.value in strategies, f"orphan: {thing}")
    held = {c.slot: (c.genome_id, c.epoch) for c in list_champions(arena.layout)}
    trading = {a.slot: (a.genome.id, a.epoch) for a in arena.roster.living() if a.role == "champion"}
    _require(held == trading, f"files {held}, agents {trading}")


def survive(source: Path, folder: Path, point: Point, victim: subprocess.CompletedProcess) -> Survival:
    """Recover the killed run ``folder/victim``, live on from it, and check all that must hold.

    Raises
    ------
    AssertionError
        Saying what does not hold.
    """
    _require(victim.returncode == -signal.SIGKILL, f"was not killed ({victim.returncode}): {victim.stderr}")
    planted = genomes(source)
    root = folder / "victim"
    _require(mark_aborted(folder) == ["victim"] and read_run(root).state == "aborted", "not marked aborted")
    before = _tree(root)
    with LedgerWriter(CatalogLayout(root).ledger, "arena") as ledger:
        told = tuple(type(r).__name__ for r in recover_arena(CatalogLayout(root), ledger))
        touched = len(before ^ _tree(root))
        again = recover_arena(CatalogLayout(root), ledger)
        _require(not again, f"a second recovery did something: {again}")
    check_directories(root, planted)
    check_ledger(root)
    open_jobs = {
        s.job.job_id for s in FileJobQueue(CatalogLayout(root)).jobs() if s.state in ("todo", "doing")
    }
    carried = genomes(root)
    engine = arena_life.live(root, folder, "successor", point.day)
    try:
        successor = folder / "successor"
        _check_engine(engine, successor)
        finish = read_result(successor).finish
        _require(finish is not None and finish.mismatches == 0, f"books do not agree: {finish}")
        _require(abs(finish.account_cash - finish.ledger_cash) < 0.005, f"books do not agree: {finish}")
    finally:
        engine.dispose()
    done_before = {_stem(f) for f in CatalogLayout(root).jobs_done.iterdir()}
    taken = {_stem(f) for f in CatalogLayout(successor).jobs_done.iterdir()}
    _require(not done_before & taken, f"a request was done twice: {done_before & taken}")
    states = {s.job.job_id: s.state for s in FileJobQueue(CatalogLayout(successor)).jobs()}
    _require(all(states.get(job) == "done" for job in open_jobs), f"a request was lost: {states}")
    _require(carried <= genomes(successor), "a genome was lost by the new run")
    check_ledger(successor)
    return Survival(point, told, touched)


def sweep(source: Path, folder: Path, points: Sequence[Point], *, processes: int = 2) -> Iterator[Survival]:
    """Kill and survive at each of `points`; an AssertionError names the point."""

    def kill(numbered: tuple[int, Point]) -> subprocess.CompletedProcess:
        k, point = numbered
        return live(source, folder / str(k), "victim", point.day, f"*@{point.count}")

    with ThreadPoolExecutor(processes) as pool:
        for k, (point, victim) in enumerate(zip(points, pool.map(kill, enumerate(points)), strict=True)):
            try:
                yield survive(source, folder / str(k), point, victim)
            except AssertionError as error:
                raise AssertionError(f"{point}: {error}") from error


def table(survivals: Sequence[Survival]) -> str:
    """Points by place and outcome, as Markdown."""
    counts = Counter((s.point.place, s.outcome) for s in survivals)
    lines = [
        "| killed in | points | nothing to do | files put in order | story finished | names of points |",
        "|---|---|---|---|---|---|",
    ]
    for place in PLACES:
        n = sum(s.point.place == place for s in survivals)
        row = [counts[place, o] for o in ("nothing", "files", "story")]
        names = len({s.point.name for s in survivals if s.point.place == place})
        lines.append(f"| {place} | {n} | {row[0]} | {row[1]} | {row[2]} | {names} |")
    row = [sum(counts[p, o] for p in PLACES) for o in ("nothing", "files", "story")]
    names = len({s.point.name for s in survivals})
    lines.append(f"| all | {len(survivals)} | {row[0]} | {row[1]} | {row[2]} | {names} |")
    return "\n".join(lines)


def main(n: int, seed: int = 7, processes: int = 2) -> None:
    """Plant, trace, draw `n` points, survive them all, print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = folder / "source"
        arena_life.plant(source)
        points = [p for day in range(DAYS) for p in trace(source, folder, day)]
        chosen = draw(points, n, np.random.default_rng(seed))
        print(f"{len(points)} points in {DAYS} days, {len(chosen)} drawn (seed {seed})", flush=True)
        survived = []
        for survival in sweep(source, folder / "kills", chosen, processes=processes):
            survived.append(survival)
            if len(survived) % 20 == 0:
                print(table(survived), flush=True)
        print(table(survived))
        print(msgspec.json.encode(Counter(f"{s.point.name}" for s in survived)).decode())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["200"]))
