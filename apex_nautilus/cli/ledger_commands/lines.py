"""Print the lines of a ledger as they are, one an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.markup import escape

from apex_nautilus.cli._ledger import common_options, open_ledger, time_text
from apex_nautilus.cli._show import console_of_width, show_table
from apex_nautilus.store import LedgerRecord

__all__ = ["command"]

_MANY = frozenset({"fill", "funding", "mark", "allocation", "trade"})
_LONG = 8  # items of a list that are shown
_FIRST = ("agent", "slot", "epoch", "genome", "verdict", "reason", "incoming", "outgoing")


@click.command()
@common_options
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind of line; may be repeated."
)
@click.option("--slot", default=None, help="Only lines of this slot.")
@click.option("--agent", default=None, help="Only lines of this agent.")
@click.option("--genome", default=None, help="Only lines that name this genome (a prefix of its id will do).")
def command(
    root: Path,
    kinds: tuple[str, ...],
    slot: str | None,
    agent: str | None,
    genome: str | None,
    last: int | None,
    as_json: bool,
) -> None:
    """Print the ledgers below ROOT (a catalog or the folder of a run), one line an event, in engine time.

    Without `--kind` the fills, funding, trades, marks and allocations, of which there are many, are left out.

    \b
    apex ledger lines runs/six-0001 --kind verdict --kind swap
    apex ledger runs/six-0001 --last 20
    """
    lines = open_ledger(root)
    known = sorted({line.kind for line in lines})
    unknown = sorted(set(kinds) - set(known))
    if unknown and lines:
        raise click.ClickException(f"no line of kind {', '.join(unknown)} (kinds here: {', '.join(known)})")
    lines = [line for line in lines if _matches(line, kinds, slot, agent, genome)]
    if last is not None:
        lines = lines[-last:]
    if as_json:
        for line in lines:
            click.echo(msgspec.json.encode(line).decode())
        return
    rows = [(time_text(line.ts_ns), line.writer, line.kind, escape(_text(line.fields))) for line in lines]
    title = escape(f"lines of {root}: {len(lines):,}")
    show_table(console_of_width(), title, ("time (UTC)", "writer", "kind", "what"), rows)


def _matches(
    line: LedgerRecord, kinds: tuple[str, ...], slot: str | None, agent: str | None, genome: str | None
) -> bool:
    fields = line.fields
    if line.kind not in kinds if kinds else line.kind in _MANY:
        return False
    if slot is not None and slot != fields.get("slot", str(fields.get("agent", "")).rpartition(".e")[0]):
        return False  # fills and marks name their agent alone: `<slot>.e<epoch>`
    if agent is not None and fields.get("agent") != agent:
        return False
    if genome is not None:
        named = (
            fields.get(key) for key in ("genome", "genome_id", "incoming", "outgoing", "terminated", "seed")
        )
        return any(isinstance(value, str) and value.startswith(genome) for value in named)
    return True


def _text(fields: dict[str, Any]) -> str:
    order = sorted(fields, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), key))
    return "  ".join(f"{key} {_value(fields[key])}" for key in order if fields[key] not in (None, "", []))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} {_value(v)}" for k, v in value.items() if v not in (None, "", [])) + "}"
    if isinstance(value, list):
        shown = [_value(item) for item in value[:_LONG]]
        return f"[{', '.join(shown)}{f', … {len(value)} in all' if len(value) > _LONG else ''}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
