"""List the markets and every parameter: default, bounds, unit, meaning."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """List the markets and every parameter: default, bounds, unit, meaning.

    \b
    apex sim parameters
    """
    from rich.table import Table

    from apex_nautilus.cli._show import console_of_width
    from apex_nautilus.sim import PARAMETERS, PROFILES

    if as_json:
        click.echo(json.dumps({"markets": list(PROFILES), "parameters": [asdict(row) for row in PARAMETERS]}))
        return
    table = Table(title=f"markets: {', '.join(PROFILES)}", title_justify="left")
    for at, header in enumerate(["parameter", "default", "from", "to", "unit", "meaning"]):
        table.add_column(header, justify="right" if 1 <= at <= 3 else "left")
    for r in PARAMETERS:
        table.add_row(r.name, f"{r.default:g}", f"{r.low:g}", f"{r.high:g}", r.unit, r.doc)
    console_of_width().print(table)
