"""Fit what trading on bars costs (half spread, volatility, slippage) and write costs.json."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from apex_nautilus.cli._data import catalog_option, clear_errors, json_option, time_text
from apex_nautilus.cli._numbers import FiniteRange


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--instrument", required=True, metavar="ID", help="As `apex data inspect` lists it.")
@click.option(
    "--clock",
    type=click.Choice(["1m", "5m", "15m"]),
    default="5m",
    show_default=True,
    help="Length of the bars that orders will meet; candles of it must be stored.",
)
@click.option(
    "--window-s",
    type=click.IntRange(10, 3600),
    default=60,
    show_default=True,
    help="Seconds before each book from which its volatility and volume are taken.",
)
@click.option(
    "--impact",
    type=FiniteRange(0.0, 100.0),
    default=None,
    help="k where no book is recorded; fitted where one is.",
)
@click.option(
    "--half-spread-bps",
    type=FiniteRange(0.0, 1000.0),
    default=None,
    help="The half spread where no book is recorded; else estimated from the candles.",
)
@click.option(
    "--volume-window",
    type=click.IntRange(1, 100_000),
    default=48,
    show_default=True,
    help="Bars whose volume is averaged.",
)
@catalog_option
@json_option
def command(
    out: Path,
    instrument: str,
    clock: str,
    window_s: int,
    impact: float | None,
    half_spread_bps: float | None,
    volume_window: int,
    catalog: Path,
    as_json: bool,
) -> None:
    """Fit a cost model of INSTRUMENT on bars and write it to the file OUT.

    Half spread and k (slippage = k * sigma * sqrt(quantity / volume)) come from the instrument's recorded
    book, walked once a second. Without a book the half spread is estimated from the candles, and k must be
    given. sigma is an EGARCH(1,1) of the candles' returns; fitting it needs the library arch (pip install
    apex_nautilus[ml]). Every number is shown with its error, and kept in the file with it.

    Name the file in a backtest's configuration ({"bars": {"costs": {"ID": "costs.json"}}}) and give it to
    `apex data dataset --costs`.

    \b
    apex data fit-costs costs.json --instrument BTCUSDT-PERP.BINANCE --clock 5m
    apex data fit-costs costs.json --instrument BTCUSDT-PERP.BINANCE --clock 15m --impact 0.5
    """
    from apex_nautilus.forge.cost_fit import fit_costs
    from apex_nautilus.forge.errors import ForgeError
    from apex_nautilus.risk.cost_file import encode_cost_file
    from apex_nautilus.store.atomic import write_atomic

    with clear_errors():
        try:
            file = fit_costs(
                catalog,
                instrument,
                clock,
                window_s=window_s,
                impact=impact,
                half_spread_bps=half_spread_bps,
                volume_window=volume_window,
            )
        except ForgeError as error:
            raise click.ClickException(str(error)) from None
        data = encode_cost_file(file)
        write_atomic(out, data)
    if as_json:
        click.echo(msgspec.json.encode(file))
        return
    table = Table(title=f"{out}: {instrument} on bars of {clock}", title_justify="left")
    for name in ("", "value", "+-", "R2", "R2 held out", "samples"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_column("from", overflow="fold")
    for note in file.notes:
        ends = () if note.span_ns is None else note.span_ns
        span = ", " + " to ".join(map(time_text, ends)) if ends else ""
        numbers = (note.value, note.standard_error, note.r2, note.held_out_r2)
        table.add_row(
            note.name,
            *("" if v is None else f"{v:.4g}" for v in numbers),
            f"{note.samples:,}",
            f"{note.source}{span}",
        )
    Console(markup=False).print(table)
