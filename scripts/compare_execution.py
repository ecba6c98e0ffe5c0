"""Replay the same genomes crossing the spread and resting at the touch, on recorded captures; print a table.

    python scripts/compare_execution.py BTCUSDT-PERP.BINANCE=tests/data/btcusdt_usdm_20240808.gz

The genomes are drawn by lot (`--genomes`, `--seed`), believe in every bet, and trade at most their equity,
so that what differs is what the two ways of entering cost. The last columns are per trade, in basis points of
the notional: what was won or lost before fees, the fees, and both together.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from apex_nautilus.data import Dataset, dataset_from_events, load_instrument, read_events
from apex_nautilus.data.importers.binance_capture import import_binance_capture
from apex_nautilus.features import names
from apex_nautilus.forge.replay import dataset_market, replay
from apex_nautilus.genome import BpsStop, Bracket, Genome, Platt, Sizing, compile_genomes, random_tree
from apex_nautilus.risk import rules_array

FEATURES = tuple(names("book"))


def genomes_by_lot(instrument_id: str, clock: str, count: int, seed: int) -> list[Genome]:
    """Draw genomes that trade often: two random trees over all book features, stops of 5 bps."""
    rng = np.random.default_rng(seed)
    return [
        Genome(
            instrument_id=instrument_id,
            clock=clock,
            features=FEATURES,
            signal=random_tree(rng, len(FEATURES), depth=4),
            confidence=random_tree(rng, len(FEATURES), depth=3),
            entry_threshold=0.0,
            calibration=Platt(a=0.2, b=3.0),
            bracket=Bracket(stop=BpsStop(5.0), max_hold_s=20.0),
            sizing=Sizing(max_leverage=1.0),
        )
        for _ in range(count)
    ]


def dataset_of(capture: Path, instrument_id: str, clock: str) -> Dataset:
    """Import a capture and compute all book features on its rows."""
    with TemporaryDirectory() as folder:
        catalog = Path(folder) / "catalog"
        import_binance_capture([capture], catalog, instrument_id)
        spec = load_instrument(catalog, instrument_id)
        events = np.concatenate(list(read_events(catalog, instrument_id)))
        return dataset_from_events(events, spec, clock, FEATURES, conflate_ms=100 if clock == "book" else 0)


def main() -> None:
    """Print one line a capture, clock and way of entering."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("captures", nargs="+", metavar="INSTRUMENT=FILE")
    parser.add_argument("--genomes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| capture, clock | entries | trades | rested | crossed | given up | fees | mean equity "
          "| before fees, bps | fees, bps | net, bps |\n|" + "---|" * 11)  # fmt: skip
    for one in options.captures:
        instrument_id, _, file = one.partition("=")
        for clock in ("book", "1s"):
            dataset = dataset_of(Path(file), instrument_id, clock)
            market = dataset_market(dataset)
            for execution in ("aggressive", "passive"):
                genomes = [
                    msgspec.structs.replace(genome, execution=execution)
                    for genome in genomes_by_lot(instrument_id, clock, options.genomes, options.seed)
                ]
                rules = rules_array(genomes, dataset.instrument)
                results = replay(market, compile_genomes(genomes), rules)
                total = {name: results[name].sum() for name in results.dtype.names or ()}
                notional = 0.5 * total["traded_notional"]
                gross, fees = (1e4 * total[n] / notional for n in ("gross_profit", "fees"))
                rested = [int(total[n]) for n in ("n_rested", "n_crossed", "n_given_up")]
                ends = rested if execution == "passive" else ["-", int(total["n_trades"]), "-"]
                print(
                    f"| {instrument_id.split('-')[0]}, {clock} | {execution} | {total['n_trades']} "
                    f"| {ends[0]} | {ends[1]} | {ends[2]} | {total['fees']:.1f} "
                    f"| {results['final_equity'].mean():.2f} "
                    f"| {gross:+.2f} | {fees:.2f} | {gross - fees:+.2f} |"
                )


if __name__ == "__main__":
    main()
