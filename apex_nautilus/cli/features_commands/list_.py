"""List all features: name, unit, range, value while undefined, warm-up, formula, source."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console

from apex_nautilus.cli._feature_table import KINDS, print_features, record_of
from apex_nautilus.features import get, names


@click.command()
@click.option("--kind", type=click.Choice(list(KINDS)), default=None, help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(kind: str | None, as_json: bool) -> None:
    """List all features: name, unit, range, value while undefined, warm-up, formula, source.

    A feature is never NaN: while its input is missing it has its "undefined" value. The warm-up is how much
    market a row must have behind it before the value depends on the market alone.

    \b
    apex features list --kind book
    """
    wanted = [kind] if kind else list(KINDS)
    specs = {k: [get(n) for n in names(k)] for k in wanted}  # pyright: ignore[reportArgumentType]
    if as_json:
        click.echo(msgspec.json.encode([record_of(s) for k in wanted for s in specs[k]]))
        return
    console = Console(markup=False, highlight=False)
    for k in wanted:
        if specs[k]:
            print_features(console, f"{KINDS[k]}: {len(specs[k])}", specs[k])
