"""Write a simulated market into a catalog as if it had been recorded."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from apex_nautilus.cli._data import catalog_option, clear_errors, json_option, replace_option
from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.data import to_catalog
from apex_nautilus.sim import PROFILES, Market, profile


@click.command()
@catalog_option
@click.option(
    "--profile",
    "profile_id",
    type=click.Choice(sorted(PROFILES)),
    default=sorted(PROFILES)[0],
    show_default=True,
    help="What is traded, and by whom.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=1.0, max=1e7),
    default=600.0,
    show_default=True,
    help="Length of the market.",
)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Random seed.")
@replace_option
@json_option
def command(catalog: Path, profile_id: str, seconds: float, seed: int, replace: bool, as_json: bool) -> None:
    """Simulate a market and write it into the catalog as if it had been recorded.

    \b
    apex data synth --profile BTCUSDT-LINEAR.SIM --seconds 1800
    """
    tape = Market(profile(profile_id), seed).run(round(seconds * 1e9))
    with clear_errors():
        written = to_catalog(tape, tape.instrument, catalog, replace=replace)
    if as_json:
        click.echo(msgspec.json.encode({"instrument_id": tape.instrument.id, "written": written}))
    else:
        click.echo(
            f"{tape.instrument.id}: {written.deltas:,} level changes in {written.batches:,} batches and "
            f"{written.trades:,} trades of {seconds:g} s written to {catalog}"
        )
