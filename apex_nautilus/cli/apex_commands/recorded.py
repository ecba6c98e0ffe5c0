"""Evolve and trade on recorded books: in sample and out of sample side by side."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._numbers import FiniteRange

__all__ = ["command"]


def _capture(_ctx, _param, values: tuple[str, ...]) -> dict[str, list[Path]]:
    captures: dict[str, list[Path]] = {}
    for value in values:
        instrument, _, file = value.partition("=")
        if not file:
            raise click.BadParameter(
                f"{value!r} is not INSTRUMENT=FILE, such as BTCUSDT-PERP.BINANCE=btcusdt.gz"
            )
        if not Path(file).is_file():
            raise click.BadParameter(f"{file}: no such file")
        captures.setdefault(instrument, []).append(Path(file))
    return captures


@click.command()
@click.argument("captures", nargs=-1, required=True, callback=_capture, metavar="INSTRUMENT=FILE...")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Of every random number.")
@click.option(
    "--population", type=click.IntRange(4), default=150, show_default=True, help="Individuals of each study."
)
@click.option(
    "--generations", type=click.IntRange(0), default=15, show_default=True, help="Generations of each study."
)
@click.option(
    "--max-hold",
    type=FiniteRange(0.5),
    default=20.0,
    show_default=True,
    help="Time-out of a position, seconds.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("recorded"),
    show_default=True,
    help="Folder of the results; one that this command made before is made anew.",
)
def command(
    captures: dict[str, list[Path]], seed: int, population: int, generations: int, max_hold: float, out: Path
) -> None:
    """Import Binance captures, evolve on their first part, trade their last part in Nautilus, and compare.

    Name the files of one instrument in the order of time. The rows are cut in time: train 60 %, validation
    20 %, test 20 %, with gaps of twice the time-out. Genomes are bred on train and chosen on validation; the
    test part is opened once, by the Forge's replay and by Nautilus. Beside each trades a genome drawn by lot
    that claims to win.

    \b
    apex recorded BTCUSDT-PERP.BINANCE=monday.gz BTCUSDT-PERP.BINANCE=tuesday.gz --max-hold 20
    """
    from apex_nautilus.cli._show import console_of_width, fresh_folder, show_table, teller

    console = console_of_width()

    say = teller(console)
    fresh_folder(out)
    say("loading; the first run on a machine compiles its kernels (a minute or so), later runs start at once")
    from apex_nautilus.cli._demo import page
    from apex_nautilus.cli._demo.real import run_real
    from apex_nautilus.cli._demo.settings import DemoSettings
    from apex_nautilus.data import DataError
    from apex_nautilus.engine import Curve, write_report
    from apex_nautilus.forge import ForgeError

    settings = DemoSettings(seed=seed, population=population, generations=generations)
    try:
        real = run_real(out / "run", captures, settings, say, max_hold_s=max_hold)
    except (DataError, ForgeError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("\nstopped; run the command again to start anew", err=True)
        raise SystemExit(130) from None
    report = out / "report.html"
    write_report(
        report,
        title="Recorded books, in and out of sample",
        subtitle=f"Seed {seed}. The picture shows the test part in Nautilus.",
        curves=[
            Curve(a.slot, a.mark_ts_ns, a.mark_equity) for a in real.backtest.agents if len(a.mark_ts_ns)
        ],
        tables=page.real_tables(real),
    )
    show_table(
        console,
        "The Forge, in and out of sample",
        page.STUDY_HEADERS,
        page.study_rows(real.studies),
        drop=page.NOT_IN_TERMINAL,
    )
    show_table(console, "Replay and Nautilus", page.REAL_HEADERS, page.real_rows(real), drop=("genome",))
    console.print(page.honest_words(real), soft_wrap=True)
    console.print(f"[bold]report[/bold]  {report}")
