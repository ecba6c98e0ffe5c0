"""Run the whole arena over recorded order books: agents live, die and are replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from apex_nautilus.actors import ArenaResult

__all__ = ["command"]


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--run-id", help="Name of the run's folder (default: the configuration's name and a number).")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the strategies from here (an aborted run, say) instead of where CONFIG says.",
)
@click.option("--no-report", is_flag=True, help="Write no HTML pages.")
@click.option(
    "--tearsheet/--no-tearsheet",
    default=True,
    show_default=True,
    help="Write Nautilus's own page of the account beside the report (a second, 5 MB).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON instead of a table.")
def command(
    config: Path, run_id: str | None, source: Path | None, no_report: bool, tearsheet: bool, as_json: bool
) -> None:
    """Run the arena of CONFIG over recorded order books in Nautilus.

    CONFIG is a JSON file (schema apex.arena/1): a market catalog, a catalog of strategies, a span, and slots.
    Paths in it are relative to the file. See docs/arena.md and configs/arena/.

    The run works on its own copy of the strategies, in a folder of its own, which then holds the ledger of
    all births, fills, trades, verdicts and swaps (read it with `apex ledger FOLDER`) and report.html: equity,
    weights, births, deaths and swaps on one time line, stated probabilities against outcomes, what trading
    cost, and, with a network, how long orders travelled.

    \b
    apex arena configs/arena.json
    apex arena configs/arena.json --from runs/six-0001 --run-id six-again
    """
    import msgspec

    from apex_nautilus.actors import load_arena_config, run_arena
    from apex_nautilus.engine import ConfigError, MarketDataError
    from apex_nautilus.genome import GenomeError
    from apex_nautilus.store import StoreError

    try:
        settings = load_arena_config(config)
        if source is not None:
            settings = msgspec.structs.replace(settings, strategies=str(source.resolve()))
        tearsheet = tearsheet and not no_report
        result = run_arena(settings, run_id=run_id, tearsheet=tearsheet)
    except (ConfigError, MarketDataError, GenomeError, StoreError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or config}: {error.strerror or error}") from None
    report = None
    if not no_report:
        from apex_nautilus.cli._arena_report import write_arena_report

        report = Path(result.root) / "report.html"
        write_arena_report(report, result, tearsheet=tearsheet)
    if as_json:
        click.echo(json.dumps(_summary(result)))
    else:
        _print(result, report)


def _summary(result: ArenaResult) -> dict[str, Any]:
    finish = result.finish
    return {
        "folder": result.root,
        "agents": [
            {
                "agent": name,
                "role": a.birth.role,
                "slot": a.birth.slot,
                "epoch": a.birth.epoch,
                "genome": a.birth.genome,
                "fills": len(a.fills),
                "trades": len(a.trades),
                "fees": sum(f.fee for f in a.fills),
                "funding": a.funding,
                "capital": a.birth.capital,
                "equity": a.final_equity,
                "end": a.burial.cause if a.burial else "alive",
            }
            for name, a in result.agents.items()
        ],
        "deaths": len(result.deaths),
        "swaps": len(result.swaps),
        "jobs": len(result.jobs),
        "rejections": len(result.rejections),
        "mismatches": len(result.mismatches),
        "delays": [
            {"name": d.name, "arrived": d.arrived, "lost": d.lost, "late": d.late} for d in result.delays
        ],
        "account_cash": finish.account_cash if finish else None,
        "ledger_cash": finish.ledger_cash if finish else None,
    }


def _print(result: ArenaResult, report: Path | None) -> None:
    from apex_nautilus.cli._arena_report import agent_headers, agent_rows
    from apex_nautilus.cli._funding import funding_notes
    from apex_nautilus.cli._show import console_of_width, show_table

    console = console_of_width()
    show_table(
        console,
        f"{Path(result.root).name}: {len(result.agents)} agents",
        agent_headers(result),
        agent_rows(result),
    )
    console.print(
        f"{len(result.deaths)} deaths, {len(result.swaps)} swaps, {len(result.jobs)} jobs, "
        f"{len(result.rejections)} files refused"
    )
    if result.finish is not None:
        gap = result.finish.account_cash - result.finish.ledger_cash
        console.print(
            f"account {result.finish.account_cash:,.2f}, ledgers {result.finish.ledger_cash:,.2f} "
            f"(difference {gap:+.4f}), {result.finish.mismatches} mismatches"
        )
    for note in funding_notes(result.funding):
        console.print(note, soft_wrap=True)
    console.print(f"kept in {result.root}", soft_wrap=True)
    if report is not None:
        console.print(f"report: {report}", soft_wrap=True)
