"""Kill the arena, the Forge's worker beside it, or both, and start them again on the catalog they left.

The arena runs in a process of its own, on the catalog itself as a live one does, and ``apex-forge worker`` in
another, with studies of a dozen genomes; they talk through files or through a Redis server. One or both are
ended with SIGKILL at a drawn fault point. A killed worker is started again at once, as a supervisor would; a
killed arena is started again, in this process and with later prices, and lives another day. Then everything
that must hold is looked for. ``python worker_beside.py 200`` prints the table of docs/pit-crew.md.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "forge"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import msgspec
import numpy as np
import planted
from arena_life import SLOTS, plant
from nautilus_trader.backtest.engine import BacktestEngine
from support.arena_case import (
    BTC_ID,
    ETH_ID,
    START_NS,
    arena_config,
    controller_of,
    path,
    simulate,
)

from apex_nautilus.risk import AgentAccount
from apex_nautilus.store import (
    CatalogLayout,
    JobQueue,
    JobStatus,
    RecycleJob,
    list_champions,
    open_queue,
    read_all,
    read_ledger,
)

__all__ = [
    "Aim",
    "Outcome",
    "Trial",
    "check",
    "draw",
    "genomes",
    "points",
    "prepare",
    "survive",
    "sweep",
    "table",
]

DAY_S = 45.0
_STUDY = {
    "population": 12,
    "generations": 2,
    "max_holds_s": [30.0],
    "hall_of_fame": 4,
    "min_trades": 10,
    "threads": 1,
    "lottery": 12,
}
_PATIENCE_S = 240.0
_PACKAGE = Path(__file__).resolve().parents[2]
_IDS = re.compile(rb'"id": ?"([0-9a-f]{16})"')


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the kill falls: the `count`-th point of the `victim` (``arena``, ``worker``), which is called
    `name` (or, `by_name`, the `count`-th of that name); with `both` the other one is killed with it."""

    victim: str
    count: int
    name: str
    both: bool = False
    by_name: bool = False

    @property
    def place(self) -> str:
        """What is killed: ``arena``, ``worker`` or ``both``."""
        return "both" if self.both else self.victim


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill: on the queue ``file`` or ``redis``."""

    queue: str
    aim: Aim


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the kill of `trial` led to: whether it came about, and what it left to be done.

    `left` is ``nothing``, ``a job in hand`` (claimed by a worker that is dead), or ``a story`` (lines that
    recovery wrote).
    """

    trial: Trial
    was_killed: bool
    left: str
    jobs: int


# -- the two processes
# -----------------------------------------------------------------------------------------------


def prepare(folder: Path) -> Path:
    """A catalog whose day brings swaps, deaths and requests, and what a worker needs to answer them."""
    plant(folder / "catalog")
    data = planted.market(2000)
    data.save(folder / "data" / "btc")
    card = msgspec.structs.replace(
        data.card, id="e" * 64, instrument=msgspec.structs.replace(data.instrument, id=ETH_ID, base="ETH")
    )
    replace(data, card=card).save(folder / "data" / "eth")
    (folder / "study.json").write_text(json.dumps(_STUDY))
    return folder


def live(root: Path, where: str, part: int) -> BacktestEngine:
    """A day of the arena on the catalog in `root`; the `part`-th begins when the one before is long over."""
    config = arena_config(
        CatalogLayout(root),
        SLOTS,
        limits={"decay_psr": 0.0},
        contest={
            "confidence": 0.9,
            "min_trades": 4,
            "min_shadow_s": 3.0,
            "idle_expiry_s": 0.0,
            "every_s": 3.0,
        },
        worker_wait_s=_PATIENCE_S,
        queue=where,
    )
    prices = {i: path(DAY_S, bps_per_s=7.0, seed=2 * part + k) for k, i in enumerate((BTC_ID, ETH_ID))}
    return simulate(config, prices, start_ns=START_NS + part * 1000 * 10**9)


def _environment(fault: str | None) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if k != "APEX_FAULT"}
    return clean if fault is None else {**clean, "APEX_FAULT": fault}


def _start_arena(root: Path, where: str, fault: str | None, log: Path) -> subprocess.Popen:
    command = [sys.executable, __file__, "live", str(root), where]
    with log.open("wb") as out:
        return subprocess.Popen(command, env=_environment(fault), stdout=out, stderr=out)


class _Forge:
    """A worker and its supervisor: `tend` starts it again where it was killed."""

    def __init__(self, home: Path, root: Path, where: str, fault: str | None, log: Path) -> None:
        self._command = [sys.executable, "-m", "apex_nautilus.cli.forge", "worker", "--catalog", str(root)]
        self._command += ["--dataset-root", str(home / "data"), "--config", str(home / "study.json")]
        self._command += ["--queue", where, "--lease", "1", "--poll", "0.05"]
        self._log = log
        self.kills = 0
        self._start(fault)

    def _start(self, fault: str | None) -> None:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, env=_environment(fault), stdout=out, stderr=out, cwd=_PACKAGE
            )

    def tend(self) -> None:
        code = self._process.poll()
        if code == -signal.SIGKILL:
            self.kills += 1
            self._start(None)
        elif code is not None:
            raise AssertionError(f"the worker ended ({code}): {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def _forge(home: Path, root: Path, where: str, fault: str | None) -> Iterator[_Forge]:
    forge = _Forge(home, root, where, fault, root.parent / "worker.log")
    try:
        yield forge
    finally:
        forge.kill()


def _wait(holds, what: str) -> None:
    """Look until it `holds`; the processes looked at have a time of their own."""
    give_up = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > give_up:
            raise AssertionError(f"{what} took longer than {_PATIENCE_S:g} s")
        time.sleep(0.05)


def points(home: Path, folder: Path, where: str) -> list[Aim]:
    """All fault points that an undisturbed day passes in the arena and in the worker, but those of every line
    of a ledger."""
    root = _copy(home, folder)
    traces = {victim: folder / f"points-{victim}" for victim in ("arena", "worker")}
    arena = _start_arena(root, where, f"trace:{traces['arena']}", folder / "arena.log")
    with _forge(home, root, where, f"trace:{traces['worker']}") as forge:
        _wait(lambda: forge.tend() or arena.poll() is not None, "the day")
    if arena.returncode != 0:
        raise RuntimeError(f"the day did not end: {(folder / 'arena.log').read_text()[-2000:]}")
    aims = []
    for victim, trace in traces.items():
        names = trace.read_text().split()
        aims += [Aim(victim, k + 1, name) for k, name in enumerate(names)]
    return [aim for aim in aims if not aim.name.startswith("ledger.")]


def draw(aims: dict[str, Sequence[Aim]], n: int, rng: np.random.Generator) -> list[Trial]:
    """`n` kills: on each queue in turn, of the arena, of the worker and of both, of each name of a point
    alike."""
    waiting: dict[tuple[str, str], dict[str, list[Aim]]] = defaultdict(lambda: defaultdict(list))
    for queue, found in aims.items():
        for k in rng.permutation(len(found)):
            waiting[queue, found[k].victim][found[k].name].append(found[k])
    turns = [(q, v, both) for v, both in (("arena", False), ("worker", False), ("arena", True)) for q in aims]
    trials: list[Trial] = []
    while len(trials) < n and any(waiting.values()):
        queue, victim, both = turns[len(trials) % len(turns)]
        if not waiting[queue, victim]:
            queue, victim = next(key for key, names in waiting.items() if names)
            both = False
        names = waiting[queue, victim]
        name = sorted(names)[int(rng.integers(len(names)))]
        trials.append(Trial(queue, replace(names[name].pop(), both=both)))
        if not names[name]:
            del names[name]
    return trials


def _copy(home: Path, folder: Path) -> Path:
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copytree(home / "catalog", folder / "catalog"))


# -- what must hold
# --------------------------------------------------------------------------------------------------


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def genomes(root: Path) -> dict[str, list[Path]]:
    """Files by the id of the genome in them, but for refused ones."""
    found = defaultdict(list)
    for file in sorted((root / "strategies").rglob("*.json")):
        if file.parent.name != "rejected":
            for match in _IDS.findall(file.read_bytes()):
                found[match.decode()].append(file)
    return found


def check(root: Path, queue: JobQueue, planted_ids: set[str]) -> list[JobStatus]:
    """One champion a slot, no genome lost, alive twice or of nowhere, every request answered once, every dead
    champion replaced, no line and no file unaccounted for; returns all jobs."""
    layout = CatalogLayout(root)
    champions = list_champions(layout)
    slots = Counter(c.slot for c in champions)
    _require(max(slots.values(), default=0) <= 1, f"two champions in one slot: {slots}")
    jobs = list(queue.jobs())
    states = Counter(s.state for s in jobs)
    _require(set(states) <= {"done"}, f"requests were lost or given up: {states}")
    _require(len({s.job.job_id for s in jobs}) == len(jobs), "a request is there twice")
    files = genomes(root)
    recycled = [s for s in jobs if isinstance(s.job, RecycleJob)]
    answers = [str((s.result or {})["genome_id"]) for s in recycled]
    _require(len(set(answers)) == len(answers), f"two requests, one answer: {answers}")
    _require(planted_ids | set(answers) <= set(files), f"lost: {planted_ids | set(answers) - set(files)}")
    _require(
        set(files) <= planted_ids | set(answers), f"of nowhere: {set(files) - planted_ids - set(answers)}"
    )
    for status, answer in zip(recycled, answers, strict=True):
        mark = msgspec.json.encode(status.job.job_id)
        named = [name for name, places in files.items() if any(mark in p.read_bytes() for p in places)]
        _require(named == [answer], f"{status.job.job_id} was done more than once: {named}")
    living = [c.genome_id for c in champions]
    living += [p.stem.rpartition("_")[2] for p in layout.challengers_root.glob("*/*.json")]
    _require(len(set(living)) == len(living), f"a genome lives twice: {living}")
    for refused in layout.rejected.glob("*.json"):
        _require(refused.with_name(f"{refused.name}.reason.txt").exists(), f"{refused.name} without a reason")
    _require({p.name for p in layout.rejected.glob("*.json")} == {"broken.json"}, "what was refused is lost")
    left = [p for folder in ("strategies", "jobs") for p in (root / folder).rglob(".*")]
    _require(not left, f"left lying about: {left}")
    lines = read_all(layout.ledger)
    for line in lines:
        f = line.fields
        if line.kind == "verdict" and f["role"] == "champion" and f["verdict"] != "promote":
            key = (f["slot"], f["genome"])
            asked = [s for s in recycled if (s.job.slot, s.job.terminated_model_id) == key]
            _require(len(asked) == 1, f"{key} died and was asked for {len(asked)} times")
            _require((f["slot"], f["epoch"]) not in {(c.slot, c.epoch) for c in champions}, "the dead trade")
    retired = {tuple(p.name.split(".")[:2]) for p in layout.retired.glob("*.??????.*.json")}
    gone = {(x.fields["slot"], f"{x.fields['epoch']:06d}") for x in lines if _tells_of_an_end(x)}
    _require(retired <= gone, f"retired, and nothing said of it: {retired - gone}")
    check_ledger(root)
    return jobs


def _tells_of_an_end(line) -> bool:
    """Whether the line says that the champion of a slot and epoch is no longer."""
    return line.kind in ("burial", "recovery") and line.fields.get("slot") not in (None, "")


def check_ledger(root: Path) -> None:
    """Every line is there, and the cash of every agent is what its own fills add up to."""
    lines = list(read_ledger(CatalogLayout(root).ledger_file("arena")))
    _require([r.seq for r in lines] == list(range(len(lines))), "lines are missing")
    accounts: dict[str, AgentAccount] = {}
    for line in lines:
        f = line.fields
        if line.kind == "birth":
            accounts[f["agent"]] = AgentAccount(f["capital"], size_precision=3)
        elif line.kind == "fill":
            account = accounts[f["agent"]]
            account.fill(1 if f["qty"] > 0 else -1, abs(f["qty"]), f["price"], f["fee"])
            _require(abs(account.balance - f["cash"]) < 1e-6, f"cash of {f['agent']} at line {line.seq}")
            _require(account.position == f["position"], f"position of {f['agent']} at line {line.seq}")
        elif line.kind == "burial":
            _require(accounts[f["agent"]].is_flat, f"{f['agent']} was buried with a position")


def _check_engine(engine: BacktestEngine) -> None:
    """Nobody but a living agent has an order or a position, and slots are held by whom the files name."""
    arena = controller_of(engine)
    strategies = {s.id.value for s in engine.trader.strategies()}
    for thing in (
        *engine.cache.orders_open(),
        *engine.cache.orders_inflight(),
        *engine.cache.positions_open(),
    ):
        _require(thing.strategy_id.value in strategies, f"orphan: {thing}")
    held = {c.slot: (c.genome_id, c.epoch) for c in list_champions(arena.layout)}
    trading = {a.slot: (a.genome.id, a.epoch) for a in arena.roster.living() if a.role == "champion"}
    _require(held == trading, f"files {held}, agents {trading}")
    _require(len(strategies) == len(arena.roster.living()), f"strategies {strategies}")
    _require(arena.audit.mismatches == 0, "the books did not agree")


def survive(home: Path, folder: Path, trial: Trial, url: str) -> Outcome:
    """Kill as `trial` says, start again what was killed, and check all that must hold.

    Raises
    ------
    AssertionError
        Saying what does not hold.
    """
    root = _copy(home, folder)
    planted_ids = set(genomes(root))
    where = "file" if trial.queue == "file" else f"{url}?name={folder.name}"
    fault = f"{trial.aim.name if trial.aim.by_name else '*'}@{trial.aim.count}"
    for_arena, for_worker = (fault, None) if trial.aim.victim == "arena" else (None, fault)
    layout = CatalogLayout(root)
    queue = open_queue(where, layout)
    lines = 0
    with _forge(home, root, where, for_worker) as forge:
        arena = _start_arena(root, where, for_arena, folder / "arena.log")
        _wait(lambda: forge.tend() or arena.poll() is not None, "the day")
        died = arena.returncode == -signal.SIGKILL
        _require(
            died or arena.returncode == 0, f"the arena failed: {(folder / 'arena.log').read_text()[-2000:]}"
        )
        in_hand: int | bool = 0
        if died:
            if trial.aim.both:
                forge.kill()
            in_hand = sum(s.state == "doing" for s in queue.jobs())
            lines = sum(line.writer == "arena" for line in read_all(layout.ledger))
            forge.tend()
        engine = live(root, where, 1)
        try:
            _check_engine(engine)
        finally:
            engine.dispose()
        _wait(lambda: forge.tend() or not _open(queue), "the last requests")
    after = [line for line in read_ledger(layout.ledger_file("arena")) if line.seq >= lines]
    told = died and any(line.kind == "recovery" or line.fields.get("recovered") for line in after)
    _require(after[-1].kind == "finish", f"the second day did not end: {after[-1]}")
    jobs = check(root, queue, planted_ids)
    queue.close()
    in_hand = in_hand or (trial.aim.victim == "worker" and forge.kills)
    left = "a story" if told else "a job in hand" if in_hand else "nothing"
    return Outcome(trial, died or forge.kills > 0, left, len(jobs))


def _open(queue: JobQueue) -> int:
    return sum(s.state in ("todo", "doing") for s in queue.jobs())


def sweep(
    home: Path, folder: Path, trials: Sequence[Trial], url: str, *, processes: int = 2
) -> Iterator[Outcome]:
    """Kill and survive each of `trials`; an AssertionError names it. Each runs in an interpreter of its own,
    as one can hold one engine at a time."""
    folder.mkdir(parents=True, exist_ok=True)

    def run(numbered: tuple[int, Trial]) -> subprocess.CompletedProcess:
        k, trial = numbered
        command = [sys.executable, __file__, "survive", str(home), str(folder / f"kill-{k}")]
        command += [msgspec.json.encode(trial).decode(), url]
        return subprocess.run(command, capture_output=True, text=True, env=_environment(None), check=False)

    with ThreadPoolExecutor(processes) as pool:
        for trial, done in zip(trials, pool.map(run, enumerate(trials)), strict=True):
            if done.returncode != 0:
                raise AssertionError(f"{trial}: {done.stderr[-3000:]}")
            yield msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)


def table(outcomes: Sequence[Outcome]) -> str:
    """Kills by the name of the point, and what they left, as Markdown."""
    lines = [
        "| killed | at | times | of them on Redis | nothing left | a job in hand | a story to finish |",
        "|---|---|---|---|---|---|---|",
    ]
    killed = [o for o in outcomes if o.was_killed]
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in killed:
        groups[outcome.trial.aim.place, f"`{outcome.trial.aim.name}`"].append(outcome)
    for (place, name), found in [*sorted(groups.items()), (("all", f"{len(groups)} points"), killed)]:
        redis = sum(o.trial.queue == "redis" for o in found)
        left = Counter(o.left for o in found)
        cells = (place, name, len(found), redis, *(left[k] for k in ("nothing", "a job in hand", "a story")))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(n: int, seed: int = 7, processes: int = 2) -> None:
    """Plant, trace, draw `n` kills on both queues, survive them all, print the table."""
    from support.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "redis").mkdir()
        server = RedisServer(folder / "redis")
        server.start()
        try:
            home = prepare(folder / "home")
            aims = {
                "file": points(home, folder / "trace-file", "file"),
                "redis": points(home, folder / "trace-redis", f"{server.url}?name=trace"),
            }
            trials = draw(aims, n, np.random.default_rng(seed))
            print(f"{sum(map(len, aims.values()))} points, {len(trials)} drawn (seed {seed})", flush=True)
            outcomes = []
            for outcome in sweep(home, folder / "kills", trials, server.url, processes=processes):
                outcomes.append(outcome)
                if len(outcomes) % 10 == 0:
                    print(f"{len(outcomes)} survived", flush=True)
            print(table(outcomes))
            missed = [o.trial for o in outcomes if not o.was_killed]
            print(f"{len(missed)} points were not passed this time; {sum(o.jobs for o in outcomes)} jobs")
        finally:
            server.kill()


if __name__ == "__main__":
    if sys.argv[1] == "live":
        live(Path(sys.argv[2]), sys.argv[3], 0).dispose()
    elif sys.argv[1] == "survive":
        wanted = msgspec.json.decode(sys.argv[4], type=Trial)
        found = survive(Path(sys.argv[2]), Path(sys.argv[3]), wanted, sys.argv[5])
        print(msgspec.json.encode(found).decode())
    else:
        main(*map(int, sys.argv[1:]))
