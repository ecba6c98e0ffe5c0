"""Run genomes over a recorded order book and report what they earned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from apex_nautilus.engine import BacktestResult

__all__ = ["command"]


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--run-id", help="Name of the run's folder (default: the configuration's name and a number).")
@click.option("--no-report", is_flag=True, help="Write no HTML pages.")
@click.option(
    "--tearsheet/--no-tearsheet",
    default=True,
    show_default=True,
    help="Write Nautilus's own page of the account beside the report (a second, 5 MB).",
)
@click.option("--dry", is_flag=True, help="Write nothing at all: run and print.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
def command(
    config: Path, run_id: str | None, no_report: bool, tearsheet: bool, dry: bool, as_json: bool
) -> None:
    """Run the agents of CONFIG over a recorded order book in Nautilus.

    CONFIG is a JSON file (schema apex.backtest/1): a market catalog, a span, and agents, each a genome (or a
    strategy of your own) in a slot with its own capital. Paths in it are relative to the file. See
    docs/backtest.md and configs/backtest/.

    Prints one line an agent and keeps the run in a folder of its own: the configuration, the genomes, a
    ledger of every fill and trade (read it with `apex ledger trades FOLDER`), the equity marks, and
    report.html: equity and trades on one time line, stated probabilities against outcomes, what trading
    cost, and, with a network, how long orders travelled.

    \b
    apex backtest configs/backtest.json
    apex backtest configs/backtest.json --dry --json
    """
    from apex_nautilus.engine.backtest import run_backtest, summary
    from apex_nautilus.engine.config import ConfigError, load_config
    from apex_nautilus.engine.market_data import MarketDataError
    from apex_nautilus.genome import GenomeError
    from apex_nautilus.store import StoreError

    tearsheet = tearsheet and not (no_report or dry)
    try:
        result = run_backtest(load_config(config), write=not dry, run_id=run_id, tearsheet=tearsheet)
    except (ConfigError, MarketDataError, GenomeError, StoreError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or config}: {error.strerror or error}") from None
    report = None
    if result.folder is not None and not no_report:
        report = result.folder / "report.html"
        from apex_nautilus.cli._backtest_report import write_backtest_report

        write_backtest_report(report, result, tearsheet=tearsheet)
    if as_json:
        click.echo(json.dumps(summary(result) | {"folder": str(result.folder) if result.folder else None}))
        return
    _print(result, report)


def _print(result: BacktestResult, report: Path | None) -> None:
    from apex_nautilus.cli._funding import funding_notes
    from apex_nautilus.cli._show import console_of_width, show_table

    seconds = (result.end_ns - result.start_ns) / 1e9
    console = console_of_width()
    lost = any(a.timeouts for a in result.agents)
    dull = {"timeouts": not lost, "funding": not any(a.payments for a in result.agents)}
    headers = ("slot", "genome", "instrument", "trades", "wins", "timeouts", "funding", "fees", "spread",
               "slippage", "equity", "return", "max drawdown")  # fmt: skip
    rows = [
        (a.slot, a.genome_id, a.instrument_id, len(a.trades), a.wins, a.timeouts, f"{a.funding:+.2f}",
         f"{a.fees:.2f}", _money(a.spread), _money(a.slippage), f"{a.equity:.2f}",
         f"{a.equity / a.capital - 1.0:+.2%}", f"{a.max_drawdown:.2%}")
        for a in result.agents
    ]  # fmt: skip
    title = f"{result.run_id}: {seconds:,.0f} s of market, {result.objects:,} books and trades"
    show_table(console, title, headers, rows, drop=tuple(name for name, is_dull in dull.items() if is_dull))
    for a in result.agents:
        if not a.trades:
            most = max(a.reasons, key=lambda reason: a.reasons[reason], default="")
            why = f", most often [bold]{most}[/bold]" if most else ""
            console.print(f"{a.slot} did not trade: {a.rows} rows{why}")
    for note in funding_notes(result.funding):
        console.print(note, soft_wrap=True)
    if result.folder is not None:
        console.print(f"kept in {result.folder}", soft_wrap=True)
    if report is not None:
        console.print(f"report: {report}", soft_wrap=True)


def _money(amount: float) -> str:
    return "-" if math.isnan(amount) else f"{amount:.2f}"
