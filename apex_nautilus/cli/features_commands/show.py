"""Show what the registry says of single features."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console

from apex_nautilus.cli._feature_table import KINDS, print_features, record_of
from apex_nautilus.features import FeatureError, get


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--json", "as_json", is_flag=True, help="JSON, for machines.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Show what the registry says of the features called NAME.

    \b
    apex features show imbalance ofi_5
    """
    try:
        specs = [get(name) for name in names]
    except FeatureError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode([record_of(s) for s in specs]))
        return
    console = Console(markup=False, highlight=False)
    for kind, title in KINDS.items():
        of_kind = [s for s in specs if s.kind == kind]
        if of_kind:
            print_features(console, title, of_kind)
