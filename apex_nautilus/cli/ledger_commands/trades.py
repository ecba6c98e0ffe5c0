"""Print closed trades: what was believed, what came of it, what it cost."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click

from apex_nautilus.cli._ledger import common_options, open_ledger, print_rows, time_text

__all__ = ["command"]

_COLUMNS = (
    ("exit (UTC)", "exit_ts_ns"),
    ("agent", "agent"),
    ("#", "number"),
    ("side", "side"),
    ("quantity", "quantity"),
    ("entry", "entry_price"),
    ("exit", "exit_price"),
    ("by", "exit_kind"),
    ("p", "p"),
    ("fees", "fees"),
    ("spread", "spread"),
    ("slippage", "slippage"),
    ("profit", "pnl"),
)


@click.command()
@common_options
@click.option("--slot", default=None, help="Only champions of this slot (a backtest's agents are slots).")
@click.option("--agent", default=None, help="Only trades of this agent.")
@click.option("--genome", default=None, help="Only trades by this genome (a prefix of its id will do).")
@click.option(
    "--by", "kind", default=None, metavar="KIND", help="Only trades that ended so: stop, max_hold, …"
)
@click.option(
    "--sort",
    type=click.Choice(["time", "profit"]),
    default="time",
    show_default=True,
    help="Order of the rows; by profit the worst comes first.",
)
@click.option("--csv", "as_csv", is_flag=True, help="All fields as CSV, every digit kept.")
def command(
    root: Path,
    slot: str | None,
    agent: str | None,
    genome: str | None,
    kind: str | None,
    sort: str,
    as_csv: bool,
    last: int | None,
    as_json: bool,
) -> None:
    """Print the closed trades below ROOT, the folder of an arena's run or of a backtest.

    p is the probability of the take-profit that the entry was decided on. Fees, spread and slippage are in
    the quote currency, positive where they cost; the profit is net of all three. Spread: from the mid to the
    touch when an order at market was sent. Slippage: from that touch, the stop's trigger or the limit to the
    price of the fill. docs/backtest.md says more.

    \b
    apex ledger trades runs/six-0001 --sort profit --last 10
    """
    from apex_nautilus.cli._trades import TRADE_FIELDS, trade_row

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    genomes: dict[tuple[str, str], str] = {}  # a backtest says it once, at the birth
    rows = []
    for line in open_ledger(root, ("birth", "trade")):
        fields = line.fields
        who = (line.writer, str(fields.get("agent", fields.get("slot", ""))))
        if line.kind == "birth":
            genomes[who] = fields.get("genome", fields.get("genome_id", ""))
            continue
        row = trade_row(fields) | {"genome": genomes.get(who)}
        if (
            (slot is None or slot in (who[1], who[1].rpartition(".e")[0]))
            and agent in (None, who[1])
            and (genome is None or str(row["genome"]).startswith(genome))
            and kind in (None, row["exit_kind"])
        ):
            rows.append(row)
    if sort == "profit":
        rows.sort(key=lambda row: row["pnl"])
    if as_csv:
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(("exit_time", *TRADE_FIELDS))
        for row in rows if last is None else rows[-last:]:
            out.writerow((time_text(row["exit_ts_ns"]), *(row[name] for name in TRADE_FIELDS)))
        return
    print_rows("trades", rows, _COLUMNS, last=last, as_json=as_json)
