"""Close the loop once: simulate, evolve, trade, judge, swap, replace; then the same on a real excerpt."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._numbers import FiniteRange

__all__ = ["command"]


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=7,
    show_default=True,
    help="Of every random number; same seed, same bytes.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder of the demonstration; one that it made before is made anew.",
)
@click.option(
    "--arena-minutes",
    type=FiniteRange(5.0, 600.0),
    default=None,
    help="Market time that the arena trades.",
)
@click.option(
    "--history-minutes",
    type=FiniteRange(30.0, 6000.0),
    default=None,
    help="Market time that the Forge sees.",
)
def command(seed: int, out: Path, arena_minutes: float | None, history_minutes: float | None) -> None:
    """Close the whole loop once, in under five minutes on two cores.

    Simulates three markets; evolves a challenger for each of six slots that genomes drawn by lot hold; runs
    the arena in Nautilus, where agents die, are swapped and replaced by what they earn; then evolves and
    trades on a recorded excerpt. Ends with tables and one HTML report.

    \b
    apex demo --seed 7 --out demo
    """
    from dataclasses import replace

    from apex_nautilus.cli._show import console_of_width, fresh_folder, teller

    console = console_of_width()

    say = teller(console)
    fresh_folder(out)
    say("loading; the first run on a machine compiles its kernels (a minute or so), later runs start at once")
    from apex_nautilus.cli._demo import page
    from apex_nautilus.cli._demo.real import EXCERPTS, run_real
    from apex_nautilus.cli._demo.settings import DemoSettings
    from apex_nautilus.cli._demo.simulated import run_simulated

    excerpts = _excerpts(EXCERPTS)
    settings = DemoSettings(seed=seed)
    if arena_minutes is not None:
        settings = replace(settings, arena_minutes=arena_minutes)
    if history_minutes is not None:
        settings = replace(settings, history_minutes=history_minutes)
    try:
        simulated = run_simulated(out, settings, say)
        say("[bold]a recorded excerpt[/bold] (Binance, 2024-08-08, 90 s of BTC and ETH perpetuals)")
        real = run_real(out / "real", excerpts, settings, say)
    except KeyboardInterrupt:
        click.echo("\nstopped; run the command again to start anew", err=True)
        raise SystemExit(130) from None
    report = out / "report.html"
    page.write_page(report, simulated, real, seed)
    _tables(console, simulated, real)
    console.print(f"\n[bold]report[/bold]  {report}   (open it in a browser)")
    console.print(f"[bold]ledger[/bold]  apex ledger {out / 'runs' / 'arena'}")
    console.print(
        "[bold]next[/bold]    apex demo --seed 8; apex data import binance-capture --help; apex-forge "
        "evolve --help; "
        "docs/architecture.md"
    )
    say("done")


def _excerpts(names: dict[str, str]) -> dict[str, list[Path]]:
    folder = Path(__file__).resolve().parents[3] / "tests" / "data"
    missing = [name for name in names.values() if not (folder / name).is_file()]
    if missing:
        raise click.ClickException(
            f"{folder} lacks {', '.join(missing)}: the demonstration runs in a checkout of the repository, "
            f"which holds them"
        )
    return {instrument: [folder / name] for instrument, name in names.items()}


def _tables(console, simulated, real) -> None:
    from apex_nautilus.cli._arena_report import agent_headers, agent_rows
    from apex_nautilus.cli._demo import page
    from apex_nautilus.cli._show import show_table

    def show(title: str, headers, rows, *, drop: tuple[str, ...] = ()) -> None:
        show_table(console, title, headers, rows, drop=drop)

    show(
        "Simulated arena: every agent began with 200 USDT",
        agent_headers(simulated.arena),
        agent_rows(simulated.arena),
        drop=("genome",),
    )
    for _, d in simulated.arena.deaths:
        console.print(f"  {d.agent} died ({d.verdict}): {d.reason}")
    for _, j in simulated.arena.jobs:
        heirs = [
            n
            for n, a in simulated.arena.agents.items()
            if a.birth.slot == j.slot and a.born_ns > j.created_ns
        ]
        asked = f"{j.slot}: replacement asked for, seeded with {j.seed or 'nothing'}"
        console.print(f"  {asked}; followed by {', '.join(heirs) or 'nobody'}")
    show(
        "The Forge, in and out of sample",
        page.STUDY_HEADERS,
        page.study_rows({**simulated.studies, **real.studies}),
        drop=page.NOT_IN_TERMINAL,
    )
    show(
        "Recorded excerpt in Nautilus, out of sample",
        page.REAL_HEADERS,
        page.real_rows(real),
        drop=("genome",),
    )
    console.print(page.honest_words(real), soft_wrap=True)
