"""Print every agent that ever lived: its money, its trades, its end."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._ledger import common_options, open_ledger, print_rows

__all__ = ["command"]

_COLUMNS = (
    ("agent", "agent"),
    ("genome", "genome"),
    ("instrument", "instrument_id"),
    ("born (UTC)", "born_ts_ns"),
    ("end", "end"),
    ("fills", "fills"),
    ("trades", "trades"),
    ("equity", "equity"),
    ("growth %", "growth_percent"),
    ("fees", "fees"),
    ("funding", "funding"),
    ("Sharpe", "sharpe"),
    ("weight", "weight"),
)


@click.command()
@common_options
@click.option("--slot", default=None, help="Only champions and challengers of this slot.")
@click.option("--living", is_flag=True, help="Only agents that were not buried.")
def command(root: Path, slot: str | None, living: bool, last: int | None, as_json: bool) -> None:
    """Print the agents of the arena below ROOT, in the order of their births.

    Equity is the cash at the burial, or the value at the last mark written; Sharpe is per trade over all
    closed trades; weight is the allocator's latest.

    \b
    apex ledger agents runs/six-0001 --living
    """
    from apex_nautilus.stats import sharpe_ratio

    kinds = ("birth", "fill", "funding", "mark", "burial", "verdict", "allocation")
    lives: dict[tuple[str, str], dict] = {}
    cash: dict[tuple[str, str], float] = {}
    returns: dict[tuple[str, str], list[float]] = {}
    for line in open_ledger(root, kinds):
        fields = line.fields
        if line.kind == "allocation":
            for name, weight in zip(fields["agents"], fields["weights"], strict=True):
                if (line.writer, name) in lives:
                    lives[line.writer, name]["weight"] = weight
            continue
        key = (line.writer, fields["agent"])
        if line.kind == "birth":
            lives[key] = {
                **fields, "born_ts_ns": line.ts_ns, "end": None, "fills": 0, "trades": 0, "fees": 0.0,
                "funding": 0.0, "equity": fields["capital"], "sharpe": None, "weight": None,
            }  # fmt: skip
            cash[key], returns[key] = fields["capital"], []
            continue
        life = lives.get(key)
        if life is None:
            continue
        if line.kind == "fill":
            life["fills"] += 1
            life["fees"] += fields["fee"]
            if fields["position"] == 0.0:
                returns[key].append((fields["cash"] - cash[key]) / cash[key] if cash[key] > 0.0 else 0.0)
                cash[key] = fields["cash"]
        elif line.kind == "funding":
            life["funding"] += fields["amount"]
        elif line.kind == "mark":
            life["equity"] = fields["equity"]
        elif line.kind == "burial":
            life["equity"], life["end"], life["buried_ts_ns"] = fields["cash"], fields["cause"], line.ts_ns
    rows = []
    for key, life in lives.items():
        if (slot is not None and life["slot"] != slot) or (living and life["end"] is not None):
            continue
        life["trades"] = len(returns[key])
        life["sharpe"] = sharpe_ratio(returns[key]) if len(returns[key]) > 1 else None
        life["growth_percent"] = (
            None if life["equity"] is None else 100.0 * (life["equity"] / life["capital"] - 1.0)
        )
        rows.append(life)
    print_rows("agents", rows, _COLUMNS, last=last, as_json=as_json)
