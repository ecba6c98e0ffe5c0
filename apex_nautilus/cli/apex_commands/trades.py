"""Show the trade log of a run: every execution, as the venue told it."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--session", help="Only this session (default: all in the folder).")
@click.option("--strategy", help="Only executions of this strategy id.")
@click.option("--instrument", help="Only executions in this instrument.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N executions.")
@click.option("--totals", is_flag=True, help="One line a strategy and instrument, not one an execution.")
@click.option("--funding", is_flag=True, help="The funding payments in place of the executions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
def command(
    root: Path,
    session: str | None,
    strategy: str | None,
    instrument: str | None,
    last: int | None,
    totals: bool,
    funding: bool,
    as_json: bool,
) -> None:
    """Show the executions logged below ROOT, the folder of a run (or a folder of logs).

    They come from the order events alone, in the order in which they were told; what the arena and the
    backtest reckon for themselves is in the ledger (`apex ledger`). See docs/trade-log.md.

    \b
    apex trades runs/six-0001 --last 20
    apex trades runs/six-0001 --totals
    """
    from collections import deque
    from collections.abc import Callable, Iterator

    from apex_nautilus.engine.trade_files import Execution, Payment, read_executions, read_payments, sessions
    from apex_nautilus.engine.trade_log import LOG_FOLDER
    from apex_nautilus.store import StoreError

    folder = root / LOG_FOLDER if (root / LOG_FOLDER).is_dir() else root
    known = sessions(folder)
    if not known:
        raise click.ClickException(f"{root}: no trade log here; give the folder of a run")
    if session is not None and session not in known:
        raise click.ClickException(f"{root}: no session {session!r} (there are: {', '.join(known)})")

    def asked[T: (Execution, Payment)](table: str, read: Callable[[Path], Iterator[T]]) -> list[T]:
        kept: deque[T] = deque(maxlen=last)
        for name in known if session is None else [session]:
            for one in read(folder / f"{table}_{name}.csv"):
                if strategy in (None, one.strategy_id) and instrument in (None, one.instrument_id):
                    kept.append(one)
        return list(kept)

    if totals and funding:
        raise click.UsageError("--totals and --funding: the totals have the funding; give one of them")
    try:
        found = [] if funding else asked("trades", read_executions)
        paid = asked("funding", read_payments) if funding or totals else []
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    if totals:
        _show(_totals(found, paid), as_json, f"{len(found)} executions, {len(paid)} funding payments")
    elif funding:
        rows = [_payment_row(one) for one in paid]
        _show(rows, as_json, f"{len(paid)} funding payments of {folder}", "funding payments")
    else:
        _show([_row(one) for one in found], as_json, f"{len(found)} executions of {folder}")


def _row(one) -> dict[str, str]:
    from apex_nautilus.engine.trade_files import time_text

    return {
        "time": time_text(one.ts_ns),
        "session": one.session,
        "strategy": one.strategy_id,
        "instrument": one.instrument_id,
        "order": one.client_order_id,
        "side": one.side,
        "quantity": f"{one.quantity:f}",
        "price": f"{one.price:f}",
        "commission": f"{one.commission:f} {one.commission_currency}",
        "liquidity": one.liquidity,
    }


def _payment_row(one) -> dict[str, str]:
    from apex_nautilus.engine.trade_files import time_text

    return {
        "time": time_text(one.ts_ns),
        "session": one.session,
        "strategy": one.strategy_id,
        "instrument": one.instrument_id,
        "quantity": f"{one.quantity:f}",
        "mark": f"{one.mark:f}",
        "rate": f"{one.rate:f}",
        "funding": f"{one.funding:f} {one.currency}",
    }


def _totals(found, paid) -> list[dict[str, str]]:
    sums: dict[tuple[str, str, str], list] = defaultdict(lambda: [0, *[Decimal(0)] * 4])
    for one in found:
        total = sums[one.strategy_id, one.instrument_id, one.commission_currency]
        total[0] += 1
        total[1] += one.quantity if one.side == "BUY" else -one.quantity
        total[2] += one.cash
        total[3] += one.commission
    for one in paid:
        sums[one.strategy_id, one.instrument_id, one.currency][4] += one.funding
    return [
        {
            "strategy": strategy,
            "instrument": instrument,
            "executions": str(number),
            "net quantity": f"{held:f}",
            "cash": f"{cash:f}",
            "commission": f"{fees:f} {currency}",
            "funding": f"{received:f} {currency}",
        }
        for (strategy, instrument, currency), (number, held, cash, fees, received) in sums.items()
    ]


def _show(rows: list[dict[str, str]], as_json: bool, title: str, what: str = "executions") -> None:
    import json

    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    from apex_nautilus.cli._show import console_of_width, show_table

    console = console_of_width()
    if not rows:
        console.print(f"no {what}")
        return
    show_table(console, title, tuple(rows[0]), [tuple(row.values()) for row in rows])
