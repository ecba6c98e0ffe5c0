"""Run genomes over a recorded order book and report what they earned."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--run-id", help="Name of the run's folder (default: the configuration's name and a number).")
@click.option("--no-report", is_flag=True, help="Write no HTML report.")
@click.option("--dry", is_flag=True, help="Write nothing at all: run and print.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
def command(config: Path, run_id: str | None, no_report: bool, dry: bool, as_json: bool) -> None:
    """Run the agents of CONFIG over a recorded order book in Nautilus.

    CONFIG is a JSON file (schema apex.backtest/1): a market catalog, a span, and agents, each a genome (or a
    strategy of your own) in a slot with its own capital. Paths in it are relative to the file. See
    docs/backtest.md and configs/backtest/.

    Prints one line an agent and keeps the run in a folder of its own: the configuration, the genomes, a
    ledger of every fill and trade, the equity marks, and report.html with the equity curves.
    """
    from apex_nautilus.engine.backtest import run_backtest, summary
    from apex_nautilus.engine.config import ConfigError, load_config
    from apex_nautilus.engine.market_data import MarketDataError
    from apex_nautilus.genome import GenomeError
    from apex_nautilus.store import StoreError

    try:
        result = run_backtest(load_config(config), write=not dry, run_id=run_id)
    except (ConfigError, MarketDataError, GenomeError, StoreError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or config}: {error.strerror or error}") from None
    report = None
    if result.folder is not None and not no_report:
        report = result.folder / "report.html"
        _write_report(report, result)
    if as_json:
        click.echo(json.dumps(summary(result) | {"folder": str(result.folder) if result.folder else None}))
        return
    _print(result, report)


def _print(result, report: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    seconds = (result.end_ns - result.start_ns) / 1e9
    console = Console()
    if not console.is_terminal:
        console = Console(width=132)  # a file or a pipe has room
    table = Table(title=f"{result.run_id}: {seconds:,.0f} s of market, {result.objects:,} books and trades")
    for header in ("slot", "genome", "instrument"):
        table.add_column(header)
    for header in ("trades", "wins", "fees", "equity", "return", "max drawdown"):
        table.add_column(header, justify="right")
    for a in result.agents:
        table.add_row(
            a.slot,
            a.genome_id,
            a.instrument_id,
            f"{len(a.trades)}",
            f"{a.wins}",
            f"{a.fees:.2f}",
            f"{a.equity:.2f}",
            f"{a.equity / a.capital - 1.0:+.2%}",
            f"{a.max_drawdown:.2%}",
        )
    console.print(table)
    for a in result.agents:
        if not a.trades:
            most = max(a.reasons, key=lambda reason: a.reasons[reason], default="")
            why = f", most often [bold]{most}[/bold]" if most else ""
            console.print(f"{a.slot} did not trade: {a.rows} rows{why}")
    if result.folder is not None:
        console.print(f"kept in {result.folder}")
    if report is not None:
        console.print(f"report: {report}")


def _write_report(path: Path, result) -> None:
    import numpy as np

    from apex_nautilus.engine.report import Curve, Happening, ReportTable, write_report
    from apex_nautilus.engine.report_panels import reliability_panel

    curves, happenings, trades = [], [], []
    for a in result.agents:
        ts_ns = np.concatenate([[result.start_ns], a.mark_ts_ns, [result.end_ns]])
        values = np.concatenate([[a.capital], a.mark_equity, [a.equity]])
        curves.append(Curve(a.slot, ts_ns, values))
        happenings.append(Happening(result.start_ns, "birth", a.slot, f"genome {a.genome_id}"))
        for t in a.trades:
            side = "long" if t.side > 0 else "short"
            happenings.append(
                Happening(
                    t.exit_ts_ns,
                    t.exit_kind,
                    a.slot,
                    f"{side} {t.quantity:g} at {t.entry_price:g}, {t.pnl:+.4f}",
                )
            )
            trades.append(
                (a.slot, t.number, side, t.quantity, _clock(t.entry_ts_ns), _clock(t.exit_ts_ns),
                 t.entry_price, t.exit_price, t.exit_kind, t.fees, t.pnl, t.equity)
            )  # fmt: skip
    agents = [
        (a.slot, a.genome_id, a.instrument_id, len(a.trades), a.wins, a.fees, a.capital, a.equity,
         f"{a.equity / a.capital - 1.0:+.2%}", f"{a.max_drawdown:.2%}", a.refusals)
        for a in result.agents
    ]  # fmt: skip
    # Strategies written by hand count no reasons, or their own.
    known = list(dict.fromkeys(reason for a in result.agents for reason in a.reasons))
    reasons = [(a.slot, *(a.reasons.get(reason, 0) for reason in known)) for a in result.agents]
    panel = reliability_panel(
        [t.p for a in result.agents for t in a.trades],
        [t.exit_kind == "take_profit" for a in result.agents for t in a.trades],
    )
    span = f"{_clock(result.start_ns)} to {_clock(result.end_ns)} UTC"
    write_report(
        path,
        title=f"Backtest {result.run_id}",
        subtitle=f"{span}, {result.objects:,} books and trades",
        curves=curves,
        happenings=happenings,
        panels=[] if panel is None else [panel],
        tables=[
            ReportTable(
                "Agents",
                ("slot", "genome", "instrument", "trades", "wins", "fees", "capital", "equity", "return",
                 "max drawdown", "refused orders"),
                agents,
            ),
            ReportTable("How decisions ended", ("slot", *known), reasons),
            ReportTable(
                "Trades",
                ("slot", "#", "side", "quantity", "entry", "exit", "entry price", "exit price", "exit by",
                 "fees", "pnl", "equity"),
                trades,
            ),
        ],
    )  # fmt: skip


def _clock(ts_ns: int) -> str:
    import numpy as np

    return str(np.datetime64(ts_ns, "ns").astype("datetime64[ms]")).replace("T", " ")
