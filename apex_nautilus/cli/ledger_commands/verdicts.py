"""Print who was ended or promoted, with the numbers it was judged by."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._ledger import common_options, open_ledger, print_rows

__all__ = ["command"]

_COLUMNS = (
    ("time (UTC)", "ts_ns"),
    ("agent", "agent"),
    ("genome", "genome"),
    ("verdict", "verdict"),
    ("equity", "equity"),
    ("floor", "floor"),
    ("trades", "trades"),
    ("Sharpe", "sharpe"),
    ("PSR(0)", "psr"),
    ("SR0", "benchmark"),
    ("DSR", "dsr"),
    ("N", "trials"),
    ("V", "trials_variance"),
    ("reason", "reason"),
)


@click.command()
@common_options
@click.option("--slot", default=None, help="Only agents of this slot.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["ruin", "drawdown", "decay", "promote"]),
    help="Only these verdicts; may be repeated.",
)
def command(root: Path, slot: str | None, kinds: tuple[str, ...], last: int | None, as_json: bool) -> None:
    """Print the Watchtower's verdicts below ROOT: who was ended or promoted, and by which numbers.

    \b
    apex ledger verdicts runs/six-0001 --kind decay
    """
    rows = [
        {"ts_ns": line.ts_ns, **line.fields}
        for line in open_ledger(root, ("verdict",))
        if (slot is None or line.fields.get("slot") == slot)
        and (not kinds or line.fields.get("verdict") in kinds)
    ]
    print_rows("verdicts", rows, _COLUMNS, last=last, as_json=as_json)
