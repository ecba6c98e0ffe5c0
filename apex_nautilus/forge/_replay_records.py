"""Records of the replay: one result a genome, one record a trade, and the state between two stretches of
rows."""

from __future__ import annotations

import numpy as np

from apex_nautilus.risk.trades import (
    EXIT_END,
    EXIT_KINDS,
    EXIT_MAX_HOLD,
    EXIT_STOP,
    EXIT_TAKE_PROFIT,
    TRADE,
)

__all__ = [
    "EXIT_END",
    "EXIT_KINDS",
    "EXIT_MAX_HOLD",
    "EXIT_STOP",
    "EXIT_TAKE_PROFIT",
    "REST_CROSSING",
    "REST_NONE",
    "REST_NOTHING_OUT",
    "REST_ORDER_OUT",
    "RESULT",
    "STATE",
    "TRADE",
]

#: One result a genome. Times are absolute, -1 where the event did not come. `sum_return` to `sum_return4` are
#: sums of powers of the per-trade returns (profit after fees over equity before); `sharpe`, `skew` and raw
#: `kurtosis` are made from them, per trade. `max_drawdown` is the largest fall from a running peak over the
#: equity after each trade and at each mark. `n_rested`, `n_crossed` and `n_given_up` say how entries ended
#: that rested first: filled where they rested, at market when patience was over, or not at all. `fees` are
#: commissions, `costs` fees plus what market orders paid against the mid. `invalid` counts evaluations that
#: yielded no number, over `rows_evaluated` rows (rows are not evaluated while a position is open).
#: `n_below_minimum` counts rows whose order was smaller than the venue takes.
RESULT = np.dtype(
    [
        ("fitness", "f8"),
        ("final_equity", "f8"),
        ("target_ts_ns", "i8"),
        ("ruin_ts_ns", "i8"),
        ("n_trades", "i8"),
        ("n_wins", "i8"),
        ("n_take_profits", "i8"),
        ("n_stops", "i8"),
        ("n_timeouts", "i8"),
        ("n_below_minimum", "i8"),
        ("n_rested", "i8"),
        ("n_crossed", "i8"),
        ("n_given_up", "i8"),
        ("sum_return", "f8"),
        ("sum_return2", "f8"),
        ("sum_return3", "f8"),
        ("sum_return4", "f8"),
        ("sharpe", "f8"),
        ("skew", "f8"),
        ("kurtosis", "f8"),
        ("max_drawdown", "f8"),
        ("gross_profit", "f8"),
        ("fees", "f8"),
        ("costs", "f8"),
        ("traded_notional", "f8"),
        ("invalid", "i8"),
        ("rows_evaluated", "i8"),
    ],
    align=True,
)

#: What is out of an entry that rests: nothing, as there is none; a post-only order, out or on its way;
#: nothing, as the venue refused an order that would have traded; a market order, on its way.
REST_NONE, REST_ORDER_OUT, REST_NOTHING_OUT, REST_CROSSING = range(4)

#: What one genome carries from one stretch of rows to the next. `side` 0 is flat; `next_event` is the first
#: path event at which the open position's legs are still to be checked; `close_event` the one at which
#: max_hold closes it. `rest` says what is out of an entry that is not filled yet (`REST_*`); while it is not
#: `REST_NONE`, `next_event` is the next event at which the entry meets the book. `arrives_ns` and `cancel_ns`
#: are when its order and that order's cancellation reach the venue, `wish` what its policy wants done then.
STATE = np.dtype(
    [
        ("side", "i8"),
        ("entry_row", "i8"),
        ("entry_event", "i8"),
        ("entry_ts_ns", "i8"),
        ("next_event", "i8"),
        ("close_event", "i8"),
        ("next_row", "i8"),
        ("rest", "i8"),
        ("rest_side", "i8"),
        ("wish", "i8"),
        ("is_in_book", "i8"),
        ("arrives_ns", "i8"),
        ("cancel_ns", "i8"),
        ("decided_ns", "i8"),
        ("priced_ns", "i8"),
        ("rest_price", "f8"),
        ("quantity", "f8"),
        ("entry_price", "f8"),
        ("take_profit", "f8"),
        ("stop", "f8"),
        ("entry_fee", "f8"),
        ("entry_cost", "f8"),
        ("p", "f8"),
        ("fraction", "f8"),
        ("capital", "f8"),
        ("target_equity", "f8"),
        ("realised", "f8"),
        ("fees", "f8"),
        ("peak", "f8"),
    ],
    align=True,
)
