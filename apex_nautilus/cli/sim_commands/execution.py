"""Measure what plain schedules of executing a large order cost."""

from __future__ import annotations

import json
import math

import click

from apex_nautilus.cli._numbers import FiniteRange


@click.command()
@click.option(
    "--market",
    "instrument",
    metavar="ID",
    default="BTCUSDT-LINEAR.SIM",
    show_default=True,
    help="Profile to run; see `apex sim parameters`.",
)
@click.option(
    "--side",
    type=click.Choice(["both", "buy", "sell", "random"]),
    default="both",
    show_default=True,
    help="Of the order; both: each market twice, so that its drift cancels.",
)
@click.option(
    "--size-usd",
    type=FiniteRange(min=0.0, min_open=True),
    default=50_000.0,
    show_default=True,
    help="Worth of the order when it arrives.",
)
@click.option(
    "--horizon", type=FiniteRange(min=0.05), default=60.0, show_default=True, help="Seconds there are."
)
@click.option(
    "--step", type=FiniteRange(min=0.05), default=1.0, show_default=True, help="Seconds between decisions."
)
@click.option(
    "--markets", type=click.IntRange(min=1), default=100, show_default=True, help="How many, one a seed."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a schedule instead of a table.")
def command(
    instrument: str,
    side: str,
    size_usd: float,
    horizon: float,
    step: float,
    markets: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure what plain schedules of executing a large order cost.

    Every schedule meets the same simulated markets. The cost is the implementation shortfall: what the order
    cost more than it would have at the mid of its arrival, with fees, in basis points of its worth.

    \b
    apex sim execution --size-usd 250000 --horizon 300 --markets 20
    """
    from rich.console import Console

    from apex_nautilus.cli._show import console_of_width, show_table
    from apex_nautilus.sim.execution import ExecutionSettings
    from apex_nautilus.sim.execution_baselines import BASELINES, summarise

    costs = {}
    seeds = range(seed, seed + markets)
    try:
        settings = ExecutionSettings(
            instrument_id=instrument,
            side="random" if side == "both" else side,  # pyright: ignore[reportArgumentType]
            size_usd=size_usd,
            horizon_s=horizon,
            step_s=step,
        )
        with Console(stderr=True).status("compiling (the first time takes some seconds)") as status:
            for name, baseline in BASELINES.items():
                costs[name] = summarise(baseline, settings, seeds, both_sides=side == "both")
                status.update(f"{name} done")
    except KeyError as error:
        raise click.ClickException(str(error.args[0])) from None
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        for name, cost in costs.items():
            fields = {
                "schedule": name,
                "markets": cost.seeds,
                "mean_bps": cost.mean,
                "standard_error_bps": cost.standard_error,
                "deviation_bps": cost.deviation,
                "steps": cost.steps,
                "untraded_share": cost.untraded,
            }
            click.echo(json.dumps({k: None if v != v else v for k, v in fields.items()}))
        return
    rows = [
        (
            name,
            BASELINES[name].doc,
            f"{cost.mean:.2f}",
            "-" if math.isnan(cost.standard_error) else f"{cost.standard_error:.2f}",
            "-" if math.isnan(cost.deviation) else f"{cost.deviation:.2f}",
            f"{cost.steps:.1f}",
            f"{100 * cost.untraded:.2f} %",
        )
        for name, cost in costs.items()
    ]
    headers = (
        "schedule",
        "what it does",
        "mean, bps",
        "standard error",
        "between markets",
        "steps",
        "untraded",
    )
    show_table(
        console_of_width(), f"{instrument}: shortfall of {size_usd:g} USDT in {horizon:g} s", headers, rows
    )
