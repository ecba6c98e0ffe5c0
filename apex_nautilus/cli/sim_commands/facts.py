"""Measure the stylised facts of simulated markets, tapes and recordings, each with its error."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._sim import MarketChoice, market_options, seed_option


@click.command()
@market_options
@seed_option
@click.option(
    "--tape",
    "tapes",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure this tape (`apex sim run --tape`), repeatable.",
)
@click.option(
    "--catalog",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure recordings in this Nautilus catalog, those of --instrument or all.",
)
@click.option("--instrument", "instruments", multiple=True, metavar="ID", help="Of the catalog, repeatable.")
@click.option(
    "--resamples",
    type=click.IntRange(min=0, max=10_000),
    default=200,
    show_default=True,
    help="Of the bootstrap that gives the errors; 0 for none.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write table and pictures to this file too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a market instead of a table.")
def command(
    config: Path | None,
    ids: tuple[str, ...],
    changes: tuple[str, ...],
    minutes: float | None,
    seconds: float | None,
    seed: int | None,
    tapes: tuple[Path, ...],
    catalog: Path | None,
    instruments: tuple[str, ...],
    resamples: int,
    page: Path | None,
    as_json: bool,
) -> None:
    """Measure markets side by side: recordings, tapes, and markets simulated on the spot.

    Without --tape or --catalog, or with --market or --config beside them, markets are simulated, measured and
    not kept. Errors are of the stationary bootstrap. What each fact is: docs/stylized-facts.md.

    \b
    apex sim facts --market BTCUSDT-LINEAR.SIM --minutes 10
    apex sim facts --catalog catalog/market --instrument BTCUSDT-PERP.BINANCE --html facts.html
    """
    import numpy as np

    from apex_nautilus.cli._facts import FactTable, observe_catalog, observe_tape_file
    from apex_nautilus.cli._show import console_of_width, show_table
    from apex_nautilus.data import instrument_ids
    from apex_nautilus.sim.observation import ObservationError
    from apex_nautilus.sim.stylized_facts import observe_tape, stylized_facts

    if resamples == 1:
        raise click.ClickException("--resamples: one tells of no spread; give 0, or 2 and more")
    if instruments and catalog is None:
        raise click.ClickException("--instrument picks out of a catalog; name it with --catalog")
    given = bool(tapes) or catalog is not None
    if given and not (ids or config) and (changes or minutes or seconds):
        raise click.ClickException("--set, --minutes and --seconds are for simulated markets; add --market")
    choice = None
    if not given or ids or config is not None:
        choice = MarketChoice.of(config, ids, changes, minutes, seconds, seed)

    observed = []
    if catalog is not None:
        names = list(dict.fromkeys(instruments)) or instrument_ids(catalog)
        if not names:
            raise click.ClickException(f"{catalog}: no instrument is stored")
        observed += [observe_catalog(catalog, name) for name in names]
    observed += [observe_tape_file(path) for path in tapes]
    if choice is not None:
        for tape in choice.tapes():
            try:
                observed.append((tape.instrument.id, observe_tape(tape)))
            except ObservationError as error:
                raise click.ClickException(str(error)) from None

    rng_seed = 1 if seed is None else seed
    table = FactTable(
        names=[name for name, _ in observed],
        seconds=[o.seconds for _, o in observed],
        measured=[
            stylized_facts(o, np.random.default_rng(rng_seed), resamples=resamples) for _, o in observed
        ],
    )
    if page is not None:
        from apex_nautilus.cli._facts_page import write_page

        try:
            write_page(page, table, [o for _, o in observed])
        except OSError as error:
            raise click.ClickException(str(error)) from None
    if as_json:
        for line in table.json_lines():
            click.echo(line)
        return
    show_table(console_of_width(), "stylised facts", table.headers(), table.rows())
