"""Run one market under many seeds and keep the facts of each; take up where a run was stopped."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._sim import MarketChoice, market_options


@click.command()
@market_options
@click.option(
    "--seeds",
    required=True,
    metavar="A..B",
    help="First and last seed, both included; one number is one seed.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for one JSON file a seed; seeds whose file is there are not run again.",
)
@click.option(
    "--workers", type=click.IntRange(min=1, max=256), default=1, show_default=True, help="Processes."
)
@click.option(
    "--resamples",
    type=click.IntRange(min=0, max=10_000),
    default=0,
    show_default=True,
    help="Of the bootstrap of each seed's errors; 0 for none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a seed instead of a table.")
def command(
    config: Path | None,
    ids: tuple[str, ...],
    changes: tuple[str, ...],
    minutes: float | None,
    seconds: float | None,
    seeds: str,
    out: Path,
    workers: int,
    resamples: int,
    as_json: bool,
) -> None:
    """Run one market under many seeds and show how its facts spread over them.

    The folder belongs to one market, its parameters and its length: another one is refused. A seed's file is
    written when it is done; after an interruption the same command goes on with those that are missing. With
    any number of workers the files are the same. Default: BTCUSDT-LINEAR.SIM, 30 minutes.

    \b
    apex sim many --market BTCUSDT-LINEAR.SIM --minutes 30 --seeds 1..20 --out seeds --workers 2
    """
    from apex_nautilus.cli._many import Job, run_missing, show_many

    choice = MarketChoice.of(
        config, ids, changes, minutes, seconds, default_ids=("BTCUSDT-LINEAR.SIM",), default_minutes=30.0
    )
    if len(choice.populations) != 1:
        raise click.ClickException("one market at a time: give one --market, or a --config with one")
    job = Job(choice.populations[0], choice.duration_ns, resamples)
    numbers = _seeds(seeds)
    results = run_missing(job, numbers, out, workers)
    show_many(job, results, out, as_json)


def _seeds(text: str) -> list[int]:
    first, dots, last = text.partition("..")
    try:
        a = int(first)
        b = int(last) if dots else a
    except ValueError:
        raise click.ClickException(f"--seeds {text!r} is not A..B, such as 1..20") from None
    if not 0 <= a <= b:
        raise click.ClickException(f"--seeds {text!r}: the first must be 0 or more and not beyond the last")
    if b - a >= 100_000:
        raise click.ClickException(f"--seeds {text!r}: {b - a + 1:,} seeds are more than 100,000")
    return list(range(a, b + 1))
