"""Look the machine, the installation and the workspace over, and say how to mend what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument(
    "folder",
    metavar="[DIR]",
    default=Path(),
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(folder: Path, as_json: bool) -> None:
    """Look over the machine, the installation and the workspace in DIR (default: here).

    Python and packages, folders and disk, market data, compiled kernels, clocks, memory, runs and jobs that
    hang, files left half-written, ledgers, keys (their names only), and services that are configured.

    Nothing is changed or sent. Exits with 1 when something will not work; a warning does not count.

    \b
    apex doctor
    apex doctor my-workspace --json
    """
    import msgspec

    from apex_nautilus.cli._doctor import Place, run_checks

    findings = list(run_checks(Place(folder.resolve(), dict(os.environ))))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        _print(findings)
    if any(finding.state == "fail" for finding in findings):
        raise SystemExit(1)


def _print(findings) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table("", "check", "found, and how to mend it")
    table.columns[1].overflow = table.columns[2].overflow = "fold"
    for finding in sorted(findings, key=lambda f: -list(colours).index(f.state)):  # what is wrong first
        colour = colours[finding.state]
        mend = f"\n[bold]{escape(finding.mend)}[/bold]" if finding.mend else ""
        table.add_row(
            f"[{colour}]{finding.state}[/{colour}]", escape(finding.check), f"{escape(finding.found)}{mend}"
        )
    console.print(table)
    counts = {state: sum(f.state == state for f in findings) for state in colours}
    console.print(f"{counts['fail']} to mend, {counts['warn']} to know of, {counts['ok']} as they should be")
