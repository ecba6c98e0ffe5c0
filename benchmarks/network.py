"""Six agents on an imperfect network against Nautilus without any strategy, on the same recorded book.

Ours: six `GenomeStrategy` on one feed hub, with equity marks, late and lost commands, late and lost market
data and fills by place in the queue. The peer: a `BacktestNode` of the same venue, given the same level
changes and trades, with logging bypassed and nobody subscribed, the least that Nautilus does with such data.
Both read the same catalog. The second peer is the same engine fed as ours is, one object a batch: what the
batches gain is not counted there. An event is a level change or a trade.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

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


def ours(catalog: Path, *, network: bool = True) -> int:
    """Run six agents; return their fills."""
    from apex_nautilus.engine import BacktestConfig, NetworkConfig, VenueConfig, run_backtest
    from apex_nautilus.engine.config import AgentConfig

    config = BacktestConfig(
        schema="apex.backtest/1",
        name="network",
        catalog=str(catalog),
        agents=[
            AgentConfig(slot=f"a{i}", instrument_id=_INSTRUMENT, genome=str(_GENOME)) for i in range(_AGENTS)
        ],
        venue=VenueConfig(fills="queue" if network else "touch"),
        network=NetworkConfig(seed=1, loss=0.01) if network else None,
    )
    return sum(len(a.fills) for a in run_backtest(config, write=False).agents)


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
    with tempfile.TemporaryDirectory() as folder:
        catalog = _catalog(Path(folder))
        events = peer_node(catalog)
        fills = ours(catalog)
        same = f"{events:,} level changes and trades each; ours made {fills} fills"
        repeats = 3 if quick else 7
        contestants: list[Callable[[], object]] = [
            lambda: ours(catalog),
            lambda: peer_node(catalog),
            lambda: peer_batches(catalog),
            lambda: ours(catalog, network=False),
        ]
        late, node, batched, prompt = alternate(*contestants, repeats=repeats, warm=True)
        nautilus = peer_version("nautilus_trader")
        for peer, timed, goal in (
            (f"{nautilus} BacktestNode, no strategy", node, _GOAL),
            (f"{nautilus} engine on whole batches, no strategy", batched, None),
            ("ours without a network, fills at the touch", prompt, None),
        ):
            ratio = timed.median / late.median
            yield Row(
                name="six agents on an imperfect network",
                unit="events/s",
                ours=events / late.median,
                peer=peer,
                theirs=events / timed.median,
                ratio=ratio,
                goal="" if goal is None else f">= {goal:g}x",
                holds=None if goal is None else ratio >= goal,
                same_work=same,
                repeats=repeats,
                spread=late.spread,
            )
        mine, theirs = _peak_mib("ours", catalog), _peak_mib("peer_node", catalog)
        yield Row(
            name="six agents on an imperfect network, peak memory",
            unit="MiB",
            ours=mine,
            peer=f"{nautilus} BacktestNode, no strategy",
            theirs=theirs,
            ratio=theirs / mine,
            goal="",
            holds=None,
            same_work=same,
            repeats=1,
            spread=None,
        )
