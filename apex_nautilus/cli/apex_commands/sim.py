"""Run simulated markets, look at them, and list what can be set."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from apex_nautilus.cli._numbers import FiniteRange

if TYPE_CHECKING:
    from apex_nautilus.sim import Population, Tape

__all__ = ["command"]

SCHEMA = "apex.sim/1"


class _MarketConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One market: a profile and what differs from it."""

    profile: str
    parameters: dict[str, float | int] = {}
    start_price: float | None = None


class SimConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A file for ``--config``."""

    schema: str
    markets: list[_MarketConfig]
    seed: int | None = None
    minutes: float | None = None


@click.group()
def command() -> None:
    """Simulated markets: agents with latency trading on a real order book.

    The same seed always gives the same market, byte for byte. See docs/simulator.md.
    """


_config = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f'JSON: {{"schema": "{SCHEMA}", "markets": [{{"profile": ID, "parameters": {{NAME: VALUE}}}}]}}.',
)
_market = click.option(
    "--market",
    "ids",
    multiple=True,
    help="Profile to run, repeatable (default: all three; see `parameters`).",
)
_seed = click.option("--seed", type=click.IntRange(min=0), help="Random seed (default: 1).")
_minutes = click.option(
    "--minutes", type=FiniteRange(min=0.0, max=1e6, min_open=True), help="Simulated minutes (default: 30)."
)


@command.command()
@_config
@_market
@_seed
@_minutes
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Nautilus data catalog to write to."
)
@click.option(
    "--replace", is_flag=True, help="Overwrite what the catalog holds for the same market and time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a market instead of a table.")
def run(
    config: Path | None,
    ids: tuple[str, ...],
    seed: int | None,
    minutes: float | None,
    out: Path,
    replace: bool,
    as_json: bool,
) -> None:
    """Simulate markets and write them to a catalog, as if they had been recorded."""
    from apex_nautilus.data import DataError, to_catalog

    results = []
    for tape in _tapes(config, ids, seed, minutes):
        try:
            to_catalog(tape, tape.instrument, out, replace=replace)
        except (DataError, OSError) as error:
            raise click.ClickException(str(error)) from None
        results.append(
            {
                "instrument_id": tape.instrument.id,
                "start": _utc(tape.start_ns),
                "end": _utc(tape.end_ns),
                "events": len(tape.events),
                "trades": len(tape.trades),
                "digest": tape.digest(),
            }
        )
    if as_json:
        for result in results:
            click.echo(json.dumps(result))
        return
    rows = [
        [r["instrument_id"], r["start"], r["end"], f"{r['events']:,}", f"{r['trades']:,}", r["digest"][:12]]
        for r in results
    ]
    _table(f"written to {out}", ["market", "start", "end", "events", "trades", "digest"], rows)


@command.command()
@_config
@_market
@_seed
@_minutes
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a market instead of a table.")
def facts(
    config: Path | None, ids: tuple[str, ...], seed: int | None, minutes: float | None, as_json: bool
) -> None:
    """Simulate markets and measure them; nothing is written."""
    from apex_nautilus.sim import market_facts

    measured = [
        (tape.instrument.id, asdict(market_facts(tape))) for tape in _tapes(config, ids, seed, minutes)
    ]
    if as_json:
        for name, values in measured:
            # NaN is not JSON.
            known = {key: value if value == value else None for key, value in values.items()}
            click.echo(json.dumps({"instrument_id": name, **known}))
        return
    rows = [[key, *(f"{values[key]:,.3g}" for _, values in measured)] for key in measured[0][1]]
    _table("simulated markets", ["fact", *(name for name, _ in measured)], rows)


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def parameters(as_json: bool) -> None:
    """List the markets and every parameter: default, bounds, unit, meaning."""
    from apex_nautilus.sim import PARAMETERS, PROFILES

    if as_json:
        click.echo(json.dumps({"markets": list(PROFILES), "parameters": [asdict(row) for row in PARAMETERS]}))
        return
    rows = [[r.name, f"{r.default:g}", f"{r.low:g}", f"{r.high:g}", r.unit, r.doc] for r in PARAMETERS]
    title = f"markets: {', '.join(PROFILES)}"
    _table(title, ["parameter", "default", "from", "to", "unit", "meaning"], rows, numbers=3)


def _tapes(config: Path | None, ids: tuple[str, ...], seed: int | None, minutes: float | None) -> list[Tape]:
    """Run what options and file ask for; an option given on the command line wins."""
    from rich.console import Console

    from apex_nautilus.sim import Market, PopulationError

    populations, settings = _populations(config, ids)
    seed = settings.get("seed", 1) if seed is None else seed
    duration_ns = round((settings.get("minutes", 30.0) if minutes is None else minutes) * 60e9)
    tapes = []
    with Console(stderr=True).status("compiling (the first time takes some seconds)") as status:
        for population in populations:
            name = population.instrument.id
            market = Market(population, seed)
            try:
                tapes.append(
                    market.run(
                        duration_ns,
                        progress=lambda share, name=name: status.update(f"{name}: {share:.0%}"),
                    )
                )
            except PopulationError as error:
                raise click.ClickException(f"{name}: {error}") from None
    return tapes


def _populations(config: Path | None, ids: tuple[str, ...]) -> tuple[list[Population], dict[str, Any]]:
    from apex_nautilus.sim import PROFILES, PopulationError, profile

    if config is not None and ids:
        raise click.ClickException("--config names its own markets; leave out --market")
    settings: dict[str, Any] = {}
    markets = [_MarketConfig(name) for name in ids or PROFILES]
    if config is not None:
        try:
            loaded = msgspec.json.decode(config.read_bytes(), type=SimConfig)
        except msgspec.DecodeError as error:
            raise click.ClickException(f"{config}: {error}") from None
        if loaded.schema != SCHEMA:
            raise click.ClickException(f"{config}: schema: {loaded.schema!r} is not {SCHEMA!r}")
        if not loaded.markets:
            raise click.ClickException(f"{config}: markets: is empty")
        if loaded.seed is not None and loaded.seed < 0:
            raise click.ClickException(f"{config}: seed: {loaded.seed} is negative")
        if loaded.minutes is not None and not 0.0 < loaded.minutes < 1e6:
            raise click.ClickException(f"{config}: minutes: {loaded.minutes} is outside (0, 1e6)")
        markets = loaded.markets
        settings = {k: v for k in ("seed", "minutes") if (v := getattr(loaded, k)) is not None}
    populations = []
    for at, market in enumerate(markets):
        where = f"{config}: markets[{at}]: " if config is not None else ""
        try:
            changes: dict[str, Any] = dict(market.parameters)
            if market.start_price is not None:
                changes["start_price"] = market.start_price
            populations.append(profile(market.profile).replace(**changes))
        except KeyError as error:
            raise click.ClickException(f"{where}{error.args[0]}") from None
        except PopulationError as error:
            raise click.ClickException(f"{where}{error}") from None
    return populations, settings


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(title: str, headers: list[str], rows: list[list[str]], *, numbers: int = 99) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for at, header in enumerate(headers):
        table.add_column(header, justify="right" if 0 < at <= numbers else "left")
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)
