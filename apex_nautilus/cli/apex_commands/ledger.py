"""Query what the arena and the Forge wrote down: verdicts, swaps, births, jobs.

`apex ledger ROOT` prints one line an event, in engine time. Without `--kind` the fills and marks, of which
there are many, are left out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from apex_nautilus.store import CatalogLayout, LedgerRecord, StoreError, read_all

_MANY = frozenset({"fill", "mark"})
_FIRST = ("agent", "slot", "epoch", "genome", "verdict", "reason", "incoming", "outgoing")


@click.command(help=__doc__)
@click.argument(
    "root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("catalog")
)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind of line; may be repeated."
)
@click.option("--slot", default=None, help="Only lines of this slot.")
@click.option("--agent", default=None, help="Only lines of this agent.")
@click.option("--genome", default=None, help="Only lines that name this genome (a prefix of its id will do).")
@click.option("--last", type=click.IntRange(min=1), default=None, metavar="N", help="Only the last N lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def command(
    root: Path,
    kinds: tuple[str, ...],
    slot: str | None,
    agent: str | None,
    genome: str | None,
    last: int | None,
    as_json: bool,
) -> None:
    """Print the ledger below ROOT (a catalog or the folder of a run)."""
    folder = CatalogLayout(root).ledger
    if not folder.is_dir():
        raise click.ClickException(f"{root}: no ledger/ here; give a catalog or the folder of a run")
    try:
        lines = read_all(folder)
    except StoreError as error:
        raise click.ClickException(str(error)) from None
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
    table = Table("time (UTC)", "writer", "kind", "what", title=escape(f"{len(lines)} lines of {folder}"))
    for line in lines:
        table.add_row(_time(line.ts_ns), line.writer, line.kind, escape(_text(line.fields)))
    Console().print(table)


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


def _time(ts_ns: int) -> str:
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}"


def _text(fields: dict[str, Any]) -> str:
    order = sorted(fields, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), key))
    return "  ".join(f"{key} {_value(fields[key])}" for key in order if fields[key] not in (None, "", []))


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
