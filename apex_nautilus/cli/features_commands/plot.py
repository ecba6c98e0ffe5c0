"""Draw features over a recorded market, the price on top, as one page of HTML."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._data import catalog_option, clear_errors, time_text
from apex_nautilus.cli._times import UtcTime

_MOST_PANELS = 20


@click.command()
@catalog_option
@click.option("--instrument", required=True, metavar="ID", help="As `apex data inspect` lists it.")
@click.option(
    "--features",
    "wanted",
    required=True,
    metavar="A,B,...",
    help="Names, a panel each, from top to bottom; see `apex features list`.",
)
@click.option(
    "--clock",
    type=click.Choice(["book", "1s", "1m", "5m", "15m"]),
    default="1s",
    show_default=True,
    help="When a row closes: book features take the first two clocks, bar features the others.",
)
@click.option(
    "--conflate-ms",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Least time between two rows of the clock book, milliseconds.",
)
@click.option(
    "--from", "start", type=UtcTime(), default=None, help="First time of the data, UTC; default all."
)
@click.option("--to", "end", type=UtcTime(), default=None, help="Where the data end, UTC, itself left out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("features.html"),
    show_default=True,
    help="Page to write; it needs no network.",
)
@click.option(
    "--points",
    type=click.IntRange(100, 50_000),
    default=2_000,
    show_default=True,
    help="Stretches a line is thinned to, at the least; each keeps its lowest and its highest value.",
)
def command(
    catalog: Path,
    instrument: str,
    wanted: str,
    clock: str,
    conflate_ms: int,
    start: int | None,
    end: int | None,
    out: Path,
    points: int,
) -> None:
    """Draw features over a recorded market, the price on top, as one page of HTML.

    The features are computed here from the catalog's events or bars. Long series are thinned: a line keeps
    the lowest and the highest value of each stretch of rows, so no peak is lost. Rows before the last warm-up
    are shaded.

    \b
    apex features plot --instrument BTCUSDT-PERP.BINANCE --features imbalance,ofi_5,spread_bps
    """
    from apex_nautilus.cli._feature_page import write_page
    from apex_nautilus.cli._feature_rows import feature_series

    chosen = [name.strip() for name in wanted.split(",") if name.strip()]
    if len(chosen) > _MOST_PANELS:
        raise click.ClickException(f"--features names {len(chosen)} features; a page holds {_MOST_PANELS}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise click.ClickException(f"--out {out}: pages are HTML; give a name that ends in .html")
    with clear_errors():
        found = feature_series(
            catalog, instrument, chosen, clock, start, end, conflate_ms=conflate_ms, stretches=points
        )
        series = found.series
        if series.rows == 0:
            raise click.ClickException(
                f"{instrument}: no row closed at {clock} in this span; "
                f"see: apex data inspect --catalog {catalog}"
            )
        drawn = len(series.points(1)[0])
        thinned = (
            f"drawn as the lowest and the highest of each {series.rows_each:,}"
            if series.rows_each > 1
            else "each drawn"
        )
        span = f"{time_text(found.first_ns)} to {time_text(found.last_ns)} UTC"
        subtitle = (
            f"{series.rows:,} rows at clock {clock}, {thinned}. {span}. {found.warm_rows:,} rows are warm."
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        write_page(
            out,
            title=f"{instrument}: features",
            subtitle=subtitle,
            specs=found.specs,
            series=series,
            price=found.price,
            first_warm_ns=found.first_warm_ns,
        )
    click.echo(f"{out}: {series.rows:,} rows, {thinned} ({drawn:,} points a line)")
    click.echo(f"{span}; {found.warm_rows:,} rows are warm")
