"""Hold a market without intelligence against what theory says of its spread and depth."""

from __future__ import annotations

import json
from pathlib import Path

import click

from apex_nautilus.cli._numbers import FiniteRange

_GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@click.command()
@click.option(
    "--granularity",
    "grid",
    type=FiniteRange(min=0.003, max=1.0),
    multiple=True,
    default=_GRID,
    show_default=True,
    help="epsilon = 2 delta sigma / mu, repeatable.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Random seed.")
@click.option(
    "--market-orders",
    type=click.IntRange(min=1000, max=10_000_000),
    default=20_000,
    show_default=True,
    help="Length of each run.",
)
@click.option(
    "--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write table and pictures here."
)
@click.option(
    "--svg", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture alone here."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a run instead of a table.")
def command(
    grid: tuple[float, ...],
    seed: int,
    market_orders: int,
    page: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Hold a market without intelligence against theory.

    Runs the model of Smith, Farmer, Gillemot & Krishnamurthy (2003) in the simulator, over granularities, and
    sets its mean spread and depth beside the mean-field solution. Prices are in units of p_c = mu / 2 alpha,
    depth far from the touch in units of alpha / delta.

    \b
    apex sim theory --granularity 0.1 --granularity 1 --html theory.html
    """
    from rich.console import Console

    from apex_nautilus.cli._show import console_of_width, show_table
    from apex_nautilus.cli._theory_page import Point, svg, write_page
    from apex_nautilus.sim.theory import mean_field
    from apex_nautilus.sim.zero_intelligence import measure_model, run_model
    from apex_nautilus.store.atomic import write_atomic

    points = []
    with Console(stderr=True).status("compiling (the first time takes some seconds)") as status:
        for granularity in sorted(set(grid)):
            status.update(f"granularity {granularity:g}")
            tape, rates = run_model(granularity, seed, market_orders=market_orders)
            points.append(Point(mean_field(granularity), rates, measure_model(tape, rates)))
    try:
        if page is not None:
            write_page(page, points)
        if picture is not None:
            write_atomic(picture, svg(points).encode("utf-8"))
    except OSError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        for point in points:
            click.echo(json.dumps(point.record()))
        return
    show_table(
        console_of_width(),
        "a market without intelligence, and theory",
        Point.HEADERS,
        [p.cells() for p in points],
    )
