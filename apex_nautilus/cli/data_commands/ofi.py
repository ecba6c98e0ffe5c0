"""Regress the price on order-flow imbalance, as Cont, Kukanov and Stoikov did: slope and R^2 by interval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from apex_nautilus.cli._data import catalog_option, clear_errors, json_option
from apex_nautilus.data.order_flow import order_flow

if TYPE_CHECKING:
    from apex_nautilus.stats.ofi_regression import OfiRegression


@click.command()
@catalog_option
@click.option(
    "--instrument", "instruments", required=True, multiple=True, metavar="ID", help="May be repeated."
)
@click.option(
    "--interval",
    "intervals",
    type=click.IntRange(min=1, max=86_400),
    multiple=True,
    default=(1, 5, 10),
    show_default=True,
    metavar="SECONDS",
    help="Length of an interval; may be repeated.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the table and a scatter of every regression to this file.",
)
@json_option
def command(
    catalog: Path, instruments: tuple[str, ...], intervals: tuple[int, ...], page: Path | None, as_json: bool
) -> None:
    """Regress the price on order-flow imbalance.

    For intervals of each length: the change of the mid-price in ticks on the order-flow imbalance at the
    touch (Cont, Kukanov & Stoikov 2014), in base units, with Newey-West errors; beside it the share of
    variance that the trades' signed volume explains, alone and together with it, where the catalog has
    trades.

    \b
    apex data ofi --instrument BTCUSDT-PERP.BINANCE --interval 1 --interval 10 --html ofi.html
    """
    from apex_nautilus.cli._ofi_page import Measured, write_page
    from apex_nautilus.stats.ofi_regression import ofi_regression

    measured: list[Measured] = []
    with clear_errors():
        for name in dict.fromkeys(instruments):
            for flow in order_flow(catalog, name, sorted(set(intervals))):
                try:
                    fits = ofi_regression(flow.mid_change, flow.ofi, flow.trade_imbalance)
                except ValueError as e:
                    raise click.ClickException(
                        f"{name}, intervals of {flow.seconds} s: {e}; "
                        "a longer recording or another interval helps"
                    ) from e
                measured.append(Measured(name, flow, fits))
        if page is not None:
            write_page(page, measured)
    if as_json:
        click.echo(json.dumps([_record(m.instrument_id, m.flow, m.fits) for m in measured]))
        return
    console = Console(markup=False)
    for name in dict.fromkeys(m.instrument_id for m in measured):
        table = Table(title=f"{name}: mid-price change (ticks) on order-flow imbalance", title_justify="left")
        for heading in ("interval", "n", "slope", "error", "t", "R2", "R2 trades", "R2 both", "dropped"):
            table.add_column(heading, justify="right")
        for m in measured:
            if m.instrument_id == name:
                table.add_row(*m.cells())
        console.print(table)


def _record(name: str, flow: Any, fits: OfiRegression) -> dict[str, object]:
    return {
        "instrument_id": name,
        "seconds": flow.seconds,
        "n": fits.ofi.n,
        "slope_ticks_per_unit": fits.ofi.slope,
        "newey_west_error": fits.ofi.slope_error,
        "newey_west_lags": fits.ofi.lags,
        "intercept_ticks": float(fits.ofi.coefficients[0]),
        "r2": fits.ofi.r2,
        "r2_trade_imbalance": fits.trades.r2 if fits.trades else None,
        "r2_both": fits.both.r2 if fits.both else None,
        "intervals_dropped": flow.dropped,
    }
