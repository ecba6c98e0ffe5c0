"""Draw a market's book as a heat map with mid, trades and spread, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from apex_nautilus.cli._sim import MarketChoice, market_options, seed_option

if TYPE_CHECKING:
    import numpy as np

    from apex_nautilus.risk import InstrumentSpec


@click.command()
@market_options
@seed_option
@click.option(
    "--tape",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Draw this tape (`apex sim run --tape`).",
)
@click.option(
    "--catalog",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Draw a recording in this Nautilus catalog, from its beginning.",
)
@click.option("--instrument", metavar="ID", help="Of the catalog.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The page to write (HTML)."
)
def command(
    config: Path | None,
    ids: tuple[str, ...],
    changes: tuple[str, ...],
    minutes: float | None,
    seconds: float | None,
    seed: int | None,
    tape: Path | None,
    catalog: Path | None,
    instrument: str | None,
    out: Path,
) -> None:
    """Draw a market: the book as a heat map with mid and trades, below it the spread.

    One market a page: a tape, a recording, or a market simulated on the spot (default BTCUSDT-LINEAR.SIM, 10
    minutes). --minutes or --seconds also cut tapes and recordings. However long the market is, the page holds
    a few hundred columns of the book, the largest trades and the extremes of the spread; it needs no network.

    \b
    apex sim plot --market ETHUSDT-LINEAR.SIM --minutes 5 --out market.html
    """
    from apex_nautilus.cli._market_page import write_page
    from apex_nautilus.sim.observation import ObservationError

    if (catalog is None) != (instrument is None):
        raise click.ClickException("--catalog and --instrument go together")
    if sum((tape is not None, catalog is not None, bool(ids or config))) > 1:
        raise click.ClickException("one market a page: give --tape, or --catalog, or --market")
    if (tape or catalog) and changes:
        raise click.ClickException("--set is for simulated markets")
    choice = MarketChoice.of(
        config,
        ids,
        changes,
        minutes,
        seconds,
        seed,
        default_ids=("BTCUSDT-LINEAR.SIM",),
        default_minutes=10.0,
    )
    if len(choice.populations) != 1:
        raise click.ClickException("one market a page: give one --market, or a --config with one")
    limit_ns = choice.duration_ns if minutes is not None or seconds is not None or catalog else None
    if catalog is not None and instrument is not None:
        events, spec = _recorded(catalog, instrument, limit_ns)
    else:
        events, spec = _simulated(choice, tape)
        if limit_ns is not None and len(events):
            events = events[events["ts_init_ns"] < int(events["ts_init_ns"][0]) + limit_ns]
    try:
        write_page(out, events, spec)
    except (ObservationError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{spec.id} drawn to {out}")


def _simulated(choice: MarketChoice, path: Path | None) -> tuple[np.ndarray, InstrumentSpec]:
    from apex_nautilus.sim.tape_file import TapeFileError, load_tape

    try:
        tape = load_tape(path) if path is not None else next(choice.tapes())
    except (TapeFileError, OSError) as error:
        raise click.ClickException(str(error)) from None
    return tape.events, tape.instrument


def _recorded(catalog: Path, instrument: str, limit_ns: int | None) -> tuple[np.ndarray, InstrumentSpec]:
    import numpy as np

    from apex_nautilus.data import DataError, load_instrument, read_events

    parts = []
    try:
        spec = load_instrument(catalog, instrument)
        for chunk in read_events(catalog, instrument):
            parts.append(chunk)
            if limit_ns is not None and chunk["ts_init_ns"][-1] >= parts[0]["ts_init_ns"][0] + limit_ns:
                break
    except (DataError, OSError) as error:
        raise click.ClickException(str(error)) from None
    events = np.concatenate(parts)
    if limit_ns is not None:
        events = events[events["ts_init_ns"] < int(events["ts_init_ns"][0]) + limit_ns]
    return events, spec
