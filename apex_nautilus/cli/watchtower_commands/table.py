"""Print how often each rule kills or promotes simulated agents of a known Sharpe ratio."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from apex_nautilus.stats import ErrorRow, ErrorSettings

__all__ = ["command"]

_TITLES = {
    "decay psr": "Killed by PSR(0) below the threshold",
    "decay dsr": "Killed by DSR below the threshold",
    "drawdown": "Killed by equity below half, by the share of equity at risk in a trade",
    "promote": "Promoted by DSR above the threshold",
}


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of all draws.")
@click.option(
    "--agents",
    type=click.IntRange(min=10),
    default=4000,
    show_default=True,
    help="Simulated agents a shape and Sharpe ratio; 4000 take half a minute.",
)
@click.option(
    "--within",
    type=click.Choice(["30", "50", "100", "300", "500"]),
    default="300",
    show_default=True,
    help="Trades within which a kill or promotion counts.",
)
@click.option(
    "--min-trades",
    type=click.IntRange(min=3, max=30),
    default=30,
    show_default=True,
    help="Trades before the rules look at an agent.",
)
@click.option(
    "--window",
    type=click.IntRange(min=30, max=500),
    default=100,
    show_default=True,
    help="Latest trades that decay is judged by.",
)
@click.option("--markdown", is_flag=True, help="Markdown, as in docs/watchtower.md.")
@click.option("--json", "as_json", is_flag=True, help="All rows and all numbers of trades, for machines.")
def command(
    seed: int, agents: int, within: str, min_trades: int, window: int, markdown: bool, as_json: bool
) -> None:
    """Print the Watchtower's error table.

    Agents with a true Sharpe ratio per trade trade brackets of 3 to 1 (and normal returns, and both in
    streaks); the rules look at each agent after every trade. For a true ratio above 0 a kill is an error, for
    one at or below 0 a promotion is, and so is being kept. The same seed prints the same table.

    \b
    apex watchtower table --agents 1000 --within 100
    """
    import numpy as np

    from apex_nautilus.stats import ErrorSettings, choose_decay_threshold, error_table

    settings = ErrorSettings(agents=agents, min_trades=min_trades, window=window)
    rows = error_table(np.random.default_rng(seed), settings)
    if as_json:
        body = {
            "seed": seed,
            "settings": settings._asdict(),
            "rows": [row._asdict() for row in rows],
        }
        click.echo(json.dumps(body))
        return
    try:
        chosen = f"{choose_decay_threshold(rows):g}"
    except ValueError as error:
        chosen = f"none ({error})"
    note = (
        f"seed {seed}, {agents} agents a cell, {min_trades} to {window} trades looked at; shares of agents "
        f"hit within {within} trades, in per cent"
    )
    closing = (
        "Largest PSR(0) threshold that kills at most 5 % of agents with a true Sharpe ratio of 0.1 a trade "
        f"within 300 trades, in the worst of the bracket shapes: {chosen}"
    )
    if markdown:
        click.echo(_markdown(rows, settings, int(within), note))
        click.echo(f"\n{closing}")
        return
    from apex_nautilus.cli._show import console_of_width, show_table

    console = console_of_width()
    console.print(note, soft_wrap=True)
    for rule, title in _TITLES.items():
        show_table(console, title, _headers(settings), _cells(rows, rule, settings, int(within)))
    console.print(closing, soft_wrap=True)


def _headers(settings: ErrorSettings) -> list[str]:
    return ["shape", "threshold", *(f"SR {s:g}" for s in settings.sharpes)]


def _cells(rows: list[ErrorRow], rule: str, settings: ErrorSettings, within: int) -> list[list[str]]:
    """One line a shape and threshold, one column a true Sharpe ratio."""
    found: dict[tuple[str, str], dict[float, float]] = {}
    for row in rows:
        if row.rule == rule:
            name = f"{row.threshold:g}" + (f", N {row.trials}" if row.trials else "")
            found.setdefault((row.shape, name), {})[row.sharpe] = row.hit[row.within.index(within)]
    return [[*key, *(f"{100.0 * hits[s]:.1f}" for s in settings.sharpes)] for key, hits in found.items()]


def _markdown(rows: list[ErrorRow], settings: ErrorSettings, within: int, note: str) -> str:
    headers = _headers(settings)
    lines = [note]
    for rule, title in _TITLES.items():
        lines += ["", f"**{title}**", "", f"| {' | '.join(headers)} |", "|" + "---|" * len(headers)]
        lines += [f"| {' | '.join(cells)} |" for cells in _cells(rows, rule, settings, within)]
    return "\n".join(lines)
