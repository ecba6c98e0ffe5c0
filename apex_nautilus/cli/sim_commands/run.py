"""Simulate markets and write them down: to a catalog, as tape files, or only in numbers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from apex_nautilus.cli._sim import (
    MarketChoice,
    market_options,
    one_sided_note,
    one_sided_seconds,
    seed_option,
    utc,
)


@click.command()
@market_options
@seed_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Nautilus data catalog to write to."
)
@click.option(
    "--tape",
    "tapes",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for tapes, one .npz a market: everything the simulator knows, agents' accounts too.",
)
@click.option(
    "--lobster",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for LOBSTER files: every order's life, and ten levels of the book after each step of it.",
)
@click.option(
    "--replace", is_flag=True, help="Overwrite what catalog or folder hold of the same market and time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a market instead of a table.")
def command(
    config: Path | None,
    ids: tuple[str, ...],
    changes: tuple[str, ...],
    minutes: float | None,
    seconds: float | None,
    seed: int | None,
    out: Path | None,
    tapes: Path | None,
    lobster: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Simulate markets and write them down, as if they had been recorded.

    With none of --out, --tape and --lobster nothing is written, only the digest of each market is told. The
    same seed and parameters give the same digest on every machine. A market that runs out of buyers or
    sellers goes on, and that is said.

    \b
    apex sim run --market BTCUSDT-LINEAR.SIM --minutes 60 --seed 3 --out catalog/market
    apex sim run --set start_price=60000 --tape tapes
    """
    from rich.console import Console

    from apex_nautilus.cli._show import console_of_width, show_table
    from apex_nautilus.data import DataError, to_catalog
    from apex_nautilus.data.lobster import to_lobster
    from apex_nautilus.sim.tape_file import tape_bytes
    from apex_nautilus.store.atomic import write_atomic

    choice = MarketChoice.of(config, ids, changes, minutes, seconds, seed)
    results = []
    for tape in choice.tapes(record_orders=lobster is not None):
        name = tape.instrument.id
        try:
            if out is not None:
                to_catalog(tape, tape.instrument, out, replace=replace)
            if tapes is not None:
                tapes.mkdir(parents=True, exist_ok=True)
                write_atomic(tapes / f"{name}-{choice.seed}.npz", tape_bytes(tape))
            if lobster is not None:
                to_lobster(tape, lobster, replace=replace)
        except (DataError, OSError) as error:
            raise click.ClickException(str(error)) from None
        empty_s = one_sided_seconds(tape)
        if note := one_sided_note(name, empty_s):
            Console(stderr=True, markup=False).print(note, soft_wrap=True)
        results.append(
            {
                "instrument_id": name,
                "seed": choice.seed,
                "start": utc(tape.start_ns),
                "end": utc(tape.end_ns),
                "events": len(tape.events),
                "trades": len(tape.trades),
                "one_sided_s": empty_s,
                "digest": tape.digest(),
            }
        )
    if as_json:
        for result in results:
            click.echo(json.dumps(result))
        return
    where = " and ".join(str(path) for path in (out, tapes, lobster) if path is not None)
    rows = [
        [r["instrument_id"], r["start"], r["end"], f"{r['events']:,}", f"{r['trades']:,}", r["digest"][:12]]
        for r in results
    ]
    title = f"written to {where}" if where else "simulated, nothing written"
    show_table(console_of_width(), title, ["market", "start", "end", "events", "trades", "digest"], rows)
