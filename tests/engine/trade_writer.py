"""Writes a trade log until it is killed, for crash tests. Arguments: folder, how many executions."""

from __future__ import annotations

import sys
from decimal import Decimal

from apex_nautilus.engine.trade_files import Execution, TradeFiles

START_NS = 1_700_000_000 * 10**9


def execution(number: int, **changes) -> Execution:
    fields = {
        "ts_ns": START_NS + number * 10**9,
        "session": "s1",
        "desk": "btc",
        "account_id": "SIM-001",
        "strategy_id": "S-1",
        "instrument_id": "BTCUSDT-LINEAR.SIM",
        "client_order_id": f"O-{number // 2}",
        "venue_order_id": f"V-{number // 2}",
        "trade_id": f"T-{number}",
        "position_id": "",
        "side": "BUY" if number % 4 < 2 else "SELL",
        "order_type": "MARKET",
        "liquidity": "TAKER",
        "quantity": Decimal("0.010"),
        "price": Decimal("50000.10"),
        "currency": "USDT",
        "commission": Decimal("0.27500055"),
        "commission_currency": "USDT",
        "reconciliation": False,
    }
    return Execution(**fields | changes)


if __name__ == "__main__":
    files = TradeFiles(sys.argv[1], "s1", "btc", {"capital": 200.0})
    for number in range(int(sys.argv[2])):
        one = execution(number)
        if files.execution(one):
            files.event(one.ts_ns, "OrderFilled", {"trade_id": one.trade_id})
        print(number, flush=True)
    files.close()
