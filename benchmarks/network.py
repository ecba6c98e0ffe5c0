"""Six agents on an imperfect network against Nautilus without any strategy, on the same recorded book.

Ours: six `GenomeStrategy`, each of another genome, on one feed hub, with equity marks, late and lost
commands, late and lost market data and fills by place in the queue; then the arena with all that it has
(controller, marks, Watchtower, allocator, ledger, trade log) and the same six as champions.

The peer: a `BacktestNode` of the same venue, given the same level changes and trades, with logging bypassed
and nobody subscribed, the least that Nautilus does with such data. The second peer is the same engine fed as
ours is, one object a batch: what the batches gain is not counted there. All read the same catalog. An event
is a level change or a trade.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.harness import Row, alternate, peer_version

__all__ = ["run"]

_ROOT = Path(__file__).resolve().parents[1]
_CAPTURE = _ROOT / "tests" / "data" / "btcusdt_usdm_20240808.gz"
_GENOME = _ROOT / "configs" / "backtest" / "genomes" / "btc_imbalance.json"
_INSTRUMENT = "BTCUSDT-PERP.BINANCE"
_GOAL = 0.6
_AGENTS = 6


def _catalog(folder: Path) -> Path:
    """The committed recording as a catalog."""
    from apex_nautilus.data import import_binance_capture

    import_binance_capture([str(_CAPTURE)], str(folder / "catalog"), _INSTRUMENT)
    return folder / "catalog"


def _genomes(catalog: Path) -> list[Path]:
    """Six genomes of different brackets, beside the catalog; written at the first call."""
    from apex_nautilus.genome import BpsStop, encode, sealed
    from apex_nautilus.strategies.genome_strategy import load_genome

    files = [catalog.parent / f"genome-{i}.json" for i in range(_AGENTS)]
    if not files[-1].exists():
        first = load_genome(_GENOME)
        for i, file in enumerate(files):
            bracket = msgspec.structs.replace(first.bracket, stop=BpsStop(value=8.0 + 0.5 * i))
            file.write_bytes(encode(sealed(msgspec.structs.replace(first, bracket=bracket))))
    return files


def ours(catalog: Path, *, network: bool = True) -> int:
    """Run six agents; return their fills."""
    from apex_nautilus.engine import BacktestConfig, NetworkConfig, VenueConfig, run_backtest
    from apex_nautilus.engine.config import AgentConfig

    config = BacktestConfig(
        schema="apex.backtest/1",
        name="network",
        catalog=str(catalog),
        agents=[
            AgentConfig(slot=f"a{i}", instrument_id=_INSTRUMENT, genome=str(genome))
            for i, genome in enumerate(_genomes(catalog))
        ],
        venue=VenueConfig(fills="queue" if network else "touch"),
        network=NetworkConfig(seed=1, loss=0.01) if network else None,
    )
    return sum(len(a.fills) for a in run_backtest(config, write=False).agents)


def arena(catalog: Path) -> int:
    """Run the arena with the six as champions; return their fills."""
    from apex_nautilus.actors import ArenaRunConfig, SlotConfig, run_arena
    from apex_nautilus.engine import NetworkConfig, VenueConfig
    from apex_nautilus.store import CatalogLayout, install

    with tempfile.TemporaryDirectory() as scratch:
        layout = CatalogLayout(Path(scratch) / "catalog").ensure()
        for i, genome in enumerate(_genomes(catalog)):
            install(layout, f"a{i}", genome.read_bytes())
        config = ArenaRunConfig(
            schema="apex.arena/1",
            name="network",
            market=str(catalog),
            strategies=str(layout.root),
            runs=str(Path(scratch) / "runs"),
            slots=[SlotConfig(slot=f"a{i}", instrument_id=_INSTRUMENT) for i in range(_AGENTS)],
            venue=VenueConfig(fills="queue"),
            network=NetworkConfig(seed=1, loss=0.01),
        )
        return sum(len(agent.fills) for agent in run_arena(config).agents.values())


def _objects(catalog: Path) -> int:
    """Level changes and trades in the batches that ours are given."""
    from apex_nautilus.engine import batches

    return sum(
        len(getattr(item, "deltas", "1")) for chunk in batches(catalog, [_INSTRUMENT]) for item in chunk
    )


def peer_node(catalog: Path) -> int:
    """Run the bare node as Nautilus documents it; return the events it processed."""
    from nautilus_trader.backtest.config import BacktestDataConfig
    from nautilus_trader.backtest.node import BacktestNode
    from nautilus_trader.model.data import TradeTick

    config = _bare_config(catalog)
    config.data.append(
        BacktestDataConfig(
            catalog_path=str(catalog), data_cls=TradeTick.fully_qualified_name(), instrument_id=_INSTRUMENT
        )
    )
    node = BacktestNode(configs=[config])
    try:
        node.run()
        engine = node.get_engine(config.id)
        if engine is None:
            raise RuntimeError("Nautilus kept no engine of the run")
        return engine.iteration
    finally:
        node.dispose()


def _bare_config(catalog: Path):
    from apex_nautilus.engine import nautilus_config

    return nautilus_config(
        catalog=str(catalog), instrument_ids=[_INSTRUMENT], quote="USDT", balance=100_000.0, fills="nautilus"
    )


def peer_batches(catalog: Path) -> None:
    """Run the bare engine on whole batches, as ours are fed."""
    from apex_nautilus.engine import batches, open_engine, run_market

    with open_engine(_bare_config(catalog)) as engine:
        run_market(engine, batches(catalog, [_INSTRUMENT]))


_CHILD = """
import sys
from pathlib import Path
from benchmarks import network
getattr(network, sys.argv[1])(Path(sys.argv[2]))
# Not getrusage: its peak may be that of the process which started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]))
"""


def _peak_mib(contestant: str, catalog: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, contestant, str(catalog)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1]) / 1024


def run(quick: bool) -> Iterator[Row]:
    """Yield events a second of six agents and of the arena against both peers, and the peaks of memory."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = _catalog(Path(folder))
        events = peer_node(catalog)
        given = _objects(catalog)
        if given != events:
            raise RuntimeError(f"ours are given {given} level changes and trades, the peer {events}")
        made = {"six agents": ours(catalog), "the arena": arena(catalog)}
        repeats = 3 if quick else 7
        contestants: list[Callable[[], object]] = [
            lambda: ours(catalog),
            lambda: arena(catalog),
            lambda: peer_node(catalog),
            lambda: peer_batches(catalog),
            lambda: ours(catalog, network=False),
        ]
        late, whole, node, batched, prompt = alternate(*contestants, repeats=repeats, warm=True)
        nautilus = peer_version("nautilus_trader")
        bare = f"{nautilus} BacktestNode, no strategy"
        on_batches = f"{nautilus} engine on whole batches, no strategy"
        names = {
            "six agents": "six agents on an imperfect network",
            "the arena": "the arena with six champions, everything on",
        }
        for who, mine, peer, timed, goal in (
            ("six agents", late, bare, node, _GOAL),
            ("six agents", late, on_batches, batched, None),
            ("six agents", late, "ours without a network, fills at the touch", prompt, None),
            ("the arena", whole, bare, node, _GOAL),
            ("the arena", whole, on_batches, batched, None),
        ):
            ratio = timed.median / mine.median
            yield Row(
                name=names[who],
                unit="events/s",
                ours=events / mine.median,
                peer=peer,
                theirs=events / timed.median,
                ratio=ratio,
                goal="" if goal is None else f">= {goal:g}x",
                holds=None if goal is None else ratio >= goal,
                same_work=f"{events:,} level changes and trades each; {made[who]} fills of {who}",
                repeats=repeats,
                spread=mine.spread,
            )
        theirs = _peak_mib("peer_node", catalog)
        for who, contestant in (("six agents", "ours"), ("the arena", "arena")):
            peak = _peak_mib(contestant, catalog)
            yield Row(
                name=f"{names[who]}, peak memory",
                unit="MiB",
                ours=peak,
                peer=bare,
                theirs=theirs,
                ratio=theirs / peak,
                goal="",
                holds=None,
                same_work=f"{events:,} level changes and trades each",
                repeats=1,
                spread=None,
            )
