"""How a bracketed trade is recorded, in the replay of a recording as in the simulator."""

from __future__ import annotations

import numpy as np

__all__ = ["EXIT_END", "EXIT_KINDS", "EXIT_MAX_HOLD", "EXIT_STOP", "EXIT_TAKE_PROFIT", "TRADE"]

EXIT_STOP = 1
EXIT_TAKE_PROFIT = 2
EXIT_MAX_HOLD = 3
EXIT_END = 4

#: Names of the exit kinds, by code; `end` is the forced close at the last event replayed.
EXIT_KINDS = ("none", "stop", "take_profit", "max_hold", "end")

#: One closed trade. `entry_row` is the decision's row (in the simulator, the rows seen before it);
#: `entry_event` and `exit_event` are path events (in the simulator, the whole books seen at the decision and
#: at the last fill's report). Prices are averages over the fills, money is in quote units, `profit` is after
#: fees and funding, `exit_kind` indexes `EXIT_KINDS`.
TRADE = np.dtype(
    [
        ("entry_row", "i8"),
        ("entry_event", "i8"),
        ("exit_event", "i8"),
        ("entry_ts_ns", "i8"),
        ("exit_ts_ns", "i8"),
        ("side", "i8"),
        ("quantity", "f8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("take_profit", "f8"),
        ("stop", "f8"),
        ("exit_kind", "i8"),
        ("fees", "f8"),
        ("profit", "f8"),
        ("equity_after", "f8"),
        ("p", "f8"),
        ("fraction", "f8"),
    ],
    align=True,
)
