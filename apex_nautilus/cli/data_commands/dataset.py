"""Build a dataset, what the Forge evolves on, from a catalog."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from apex_nautilus.cli._data import catalog_option, clear_errors, json_option
from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.cli._progress_line import progress_line
from apex_nautilus.data import build_dataset
from apex_nautilus.data.build import DEFAULT_HALF_SPREAD_BPS
from apex_nautilus.data.dataset import DEPTHS
from apex_nautilus.features import names
from apex_nautilus.risk import BarCosts
from apex_nautilus.risk.cost_file import decode_cost_file


def _costs(path: Path, instrument: str, clock: str) -> BarCosts:
    if clock in ("book", "1s"):
        raise click.UsageError(f"--costs is a model of bars, and the clock {clock} has a book")
    try:
        return decode_cost_file(path.read_bytes(), str(path), instrument_id=instrument)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--instrument", required=True, metavar="ID", help="As `apex data inspect` lists it.")
@click.option(
    "--clock",
    type=click.Choice(["book", "1s", "1m", "5m", "15m"]),
    default="5m",
    show_default=True,
    help="When a row is decided.",
)
@click.option(
    "--features",
    default=None,
    metavar="A,B,...",
    help="Names in the order of the columns, external ones among them; by default all that are computed.",
)
@click.option(
    "--depth",
    type=click.Choice([str(n) for n in DEPTHS]),
    default=str(DEPTHS[0]),
    show_default=True,
    help="Levels a side that the path of a book keeps.",
)
@click.option(
    "--conflate-ms",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Least time between two rows of the clock book, milliseconds.",
)
@click.option(
    "--half-spread-bps",
    type=FiniteRange(0.0, 1000.0),
    default=DEFAULT_HALF_SPREAD_BPS,
    show_default=True,
    help="Modelled half spread of bars.",
)
@click.option(
    "--costs",
    "costs_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Cost model of bars (apex data fit-costs), of the shortest bars stored; it has its own half spread.",
)
@catalog_option
@json_option
def command(
    out: Path,
    instrument: str,
    clock: str,
    features: str | None,
    depth: str,
    conflate_ms: int,
    half_spread_bps: float,
    costs_file: Path | None,
    catalog: Path,
    as_json: bool,
) -> None:
    """Build a dataset folder OUT from the catalog.

    Interrupted or killed, it leaves the dataset that was there, or none; run again, it starts clean.

    \b
    apex data dataset data/btc-1s --instrument BTCUSDT-PERP.BINANCE --clock 1s --features imbalance,ofi_5
    apex data dataset data/btc-15m --instrument BTCUSDT-PERP.BINANCE --clock 15m
    """
    kind = "book" if clock in ("book", "1s") else "bar"
    wanted = names(kind) if features is None else tuple(n.strip() for n in features.split(",") if n.strip())
    costs = None if costs_file is None else _costs(costs_file, instrument, clock)
    with clear_errors(), progress_line("events", quiet=as_json) as show:
        built = build_dataset(
            catalog, instrument, clock, wanted, out, conflate_ms=conflate_ms, half_spread_bps=half_spread_bps,
            bar_costs=costs,
            depth=int(depth), progress=None if show is None else lambda at: show(at.done, at.total),
        )  # fmt: skip
    if as_json:
        click.echo(msgspec.json.encode(built.card))
    else:
        click.echo(
            f"{out}: {len(built):,} rows of {len(wanted)} features at {clock}, path of "
            f"{built.path_ts_ns.shape[0]:,} "
            f"{'bars' if built.is_bars else f'books of {built.card.depth} levels'}\nid {built.id}"
        )
