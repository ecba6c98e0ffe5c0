"""Compare simulated markets with a recording, fact by fact, against how much the recording varies."""

from __future__ import annotations

import json
from pathlib import Path

import click

from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.cli._sim import MarketChoice, market_options, seed_option


@click.command()
@click.option(
    "--catalog",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Nautilus data catalog with the recording.",
)
@click.option("--instrument", required=True, metavar="ID", help="Of the catalog: the real market.")
@market_options
@seed_option
@click.option(
    "--window",
    type=FiniteRange(min=5.0, max=86_400.0),
    default=30.0,
    show_default=True,
    help="Seconds of a window; the recording must hold four.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write table and pictures to this file too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a fact instead of a table.")
def command(
    catalog: Path,
    instrument: str,
    config: Path | None,
    ids: tuple[str, ...],
    changes: tuple[str, ...],
    minutes: float | None,
    seconds: float | None,
    seed: int | None,
    window: float,
    page: Path | None,
    as_json: bool,
) -> None:
    """Compare simulated markets with a recording, fact by fact.

    Recording and markets are cut into windows. Of each fact: the mean distance of a market's windows from the
    recording's, beside the distance below which 95 % of the recording's own windows lie from each other. A
    fact passes within that. Beside each market stands the same one with noise traders alone (zero
    intelligence): what a market gains over that, its agents have brought. Default: the market whose base
    currency is the recording's, 10 minutes.

    \b
    apex sim realism --catalog catalog/market --instrument BTCUSDT-PERP.BINANCE --window 10
    """
    from apex_nautilus.cli._facts import number, observe_catalog
    from apex_nautilus.cli._show import console_of_width
    from apex_nautilus.cli._sim import running
    from apex_nautilus.sim import PROFILES, Market
    from apex_nautilus.sim.observation import ObservationError
    from apex_nautilus.sim.realism import RealismError, realism
    from apex_nautilus.sim.stylized_facts import observe_tape
    from apex_nautilus.sim.zero_intelligence import zero_intelligence

    alike = [name for name in PROFILES if name.split("USD")[0] == instrument.split("USD")[0]]
    choice = MarketChoice.of(
        config,
        ids,
        changes,
        minutes,
        seconds,
        seed,
        default_ids=alike or list(PROFILES),
        default_minutes=10.0,
    )
    length_ns = round(window * 1e9)
    _, real = observe_catalog(catalog, instrument)
    candidates = {}
    try:
        for tape, population in zip(choice.tapes(), choice.populations, strict=True):
            name = tape.instrument.id
            candidates[name] = observe_tape(tape)
            with running(f"{name} without intelligence"):
                baseline = Market(zero_intelligence(population), choice.seed).run(choice.duration_ns)
            candidates[f"{name} zero"] = observe_tape(baseline)
        lines = realism(
            real.windows(length_ns), {name: o.windows(length_ns) for name, o in candidates.items()}
        )
    except (RealismError, ObservationError) as error:
        raise click.ClickException(str(error)) from None
    if page is not None:
        from apex_nautilus.cli._facts_page import write_realism_page

        try:
            write_realism_page(page, instrument, real, window, candidates, lines)
        except OSError as error:
            raise click.ClickException(str(error)) from None
    if as_json:
        for line in lines:
            click.echo(
                json.dumps(
                    {
                        "fact": line.fact.name,
                        "real_w1_95": number(line.wasserstein_limit),
                        "real_l1_95": number(line.l1_limit),
                        "markets": {
                            name: {"w1": number(v.wasserstein), "l1": number(v.l1), "passes": v.passes}
                            for name, v in line.verdicts.items()
                        },
                    }
                )
            )
        return
    from apex_nautilus.cli._facts import realism_table

    console = console_of_width()
    count = len(real.windows(length_ns))
    console.print(
        realism_table(lines, f"{instrument}: {real.seconds / 60:.1f} min in {count} windows of {window:g} s")
    )
    if real.seconds < 3600:
        console.print(
            "So short a recording shows one mood of the market: its own windows are alike, and a fact that "
            "fails here may hold on another day."
        )
