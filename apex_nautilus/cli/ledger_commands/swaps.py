"""Print which challengers took which slots, and how sure it was."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._ledger import common_options, open_ledger, print_rows

__all__ = ["command"]

_COLUMNS = (
    ("time (UTC)", "ts_ns"),
    ("slot", "slot"),
    ("epoch", "epoch"),
    ("outgoing", "outgoing"),
    ("incoming", "incoming"),
    ("P(better)", "probability"),
    ("marks", "marks"),
    ("flattened in s", "seconds"),
    ("reason", "reason"),
)


@click.command()
@common_options
@click.option("--slot", default=None, help="Only this slot.")
def command(root: Path, slot: str | None, last: int | None, as_json: bool) -> None:
    """Print the swaps below ROOT: which challenger took which slot from whom, and why.

    `flattened in s` is the engine time between the decision and the new champion's birth.

    \b
    apex ledger swaps runs/six-0001
    """
    begun: dict[str, tuple[int, dict]] = {}
    rows = []
    for line in open_ledger(root, ("swap_begin", "swap")):
        name = line.fields["slot"]
        if line.kind == "swap_begin":
            begun[name] = (line.ts_ns, line.fields)
        elif slot is None or name == slot:
            began_ns, why = begun.pop(name, (line.ts_ns, {}))
            row = {"ts_ns": line.ts_ns, **line.fields, "seconds": (line.ts_ns - began_ns) / 1e9}
            rows.append(row | {key: why.get(key) for key in ("probability", "marks", "reason")})
    print_rows("swaps", rows, _COLUMNS, last=last, as_json=as_json)
