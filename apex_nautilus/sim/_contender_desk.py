"""What a contender does with what it hears: one bracketed position at a time, by orders that may be lost.

::

    IDLE --decision--> ENTERING --answered, something filled--> HOLDING --take-profit filled--> IDLE
                          |                                        |
                          +-- answered, nothing filled --> IDLE    +-- stop, max_hold --> CLOSING
                                                                                             |
                          IDLE <--- flat, and no order left that could still be filled ------+

The entry is a market order (immediate or cancel), or rests first and is followed (`_contender_entry`); then
ENTERING lasts until nothing of it is out. The take-profit rests at the venue; the stop is the
contender's own: the venue knows no stop orders, so it watches the touch and sends a market order when it sees
it cross. Closing sends the take-profit's cancellation and right behind it the market order; on one connection
they arrive in that order. A cancellation that is lost is sent again until the venue has answered it, and if
the take-profit was filled meanwhile the position that came of it is closed as well.

Every command waits for its answer as `risk.order_timeout` says. An order without an answer may be lost or
only late, and to send it again while it is late would be to trade twice. So its cancellation goes first: on
one connection nothing overtakes, so when that is answered and the order was not, the order is lost for
certain.
"""

import math

import numpy as np

from ..features import STATUS_PATH, STATUS_ROW, header
from ..risk import ORDER as DECIDED
from ..risk import RUINED, balance_kernel, fill_kernel, ruined_kernel
from ..risk.entry_policy import CANCEL as GIVE_UP
from ..risk.entry_policy import EXECUTION_AGGRESSIVE
from ..risk.order_timeout import (
    CANCEL,
    ENTRY,
    EXIT,
    RETRY,
    answered_kernel,
    clear_kernel,
    expire_kernel,
)
from . import _contender_records as r
from . import _world as w
from ._contender_entry import begin_entry, cross, go_on_entering, is_wanted, wish_now
from ._contender_orders import GTC, send_cancel, send_market, send_resting
from ._contender_row import apply_batch, decide_row, equity_seen, evaluate_row_of
from ._jit import apart, kernel

__all__ = ["attend", "mark_until"]

#: The venue takes no limit order further than this from the touch; its owner watches such a take-profit.
_BAND = 0.10

_ENTRY, _EXIT, _CANCEL = np.int64(ENTRY), np.int64(EXIT), np.int64(CANCEL)
_NO_RETRIES = np.int64(0)


# ------------------------------------------------------------------------------------------- the position


@kernel
def _place_profit(world, pit, who):
    """Send the take-profit for the whole position, unless it is too far away for the venue."""
    c = pit.contenders[who]
    touch = pit.floats[c.memory_at + header.BID]
    c.profit_held = 1 if abs(c.take_profit - touch) > _BAND * touch else 0
    if c.profit_held != 0:
        return
    send_resting(world, pit, who, -c.side, c.take_profit, abs(pit.ledgers[who].position_units), GTC)


@apart
def _send_exit(world, pit, who):
    held = pit.ledgers[who].position_units
    send_market(world, pit, who, -1 if held > 0 else 1, abs(held))


@kernel
def _begin(pit, who, side, take_profit, stop, p, fraction):
    """Start the books of a position that is about to be opened."""
    c = pit.contenders[who]
    ledger = pit.ledgers[who]
    c.side = side
    c.take_profit = take_profit
    c.stop = stop
    c.p = p
    c.fraction = fraction
    c.exit_kind = 0
    c.exit_due = 0
    c.profit_held = 0
    c.balance_before = balance_kernel(ledger)
    c.fees_before = ledger.fees
    c.entry_row = c.n_rows - 1
    c.entry_event = c.n_path - 1
    c.entry_ts_ns = c.exit_ts_ns = 0
    c.entry_units = c.exit_units = c.peak_units = 0
    c.entry_price = c.exit_price = math.nan


@apart
def _enter(world, pit, who, decision):
    c = pit.contenders[who]
    _begin(pit, who, decision.side, decision.take_profit, decision.stop, decision.p, decision.fraction)
    c.phase = r.ENTERING
    units = np.int64(math.floor(decision.quantity * pit.rules[who].size_scale + 0.5))
    begin_entry(world, pit, who, units)


@apart
def _close(world, pit, who, kind):
    """Leave the position: the take-profit's cancellation first, the market order right behind it."""
    c = pit.contenders[who]
    c.phase = r.CLOSING
    c.exit_kind = kind
    clear_kernel(pit.pending[who, r.RESTING])
    if c.resting_id >= 0 and pit.pending[who, r.CANCELLING].order_id < 0:
        send_cancel(world, pit, who, r.CANCELLING, c.resting_id, c.resting_slot)
    if pit.pending[who, r.WORKING].order_id < 0 and pit.ledgers[who].position_units != 0:
        _send_exit(world, pit, who)


@apart
def _finish(pit, who, kind):
    """The position is closed and nothing of it can be filled any more: write the trade, be idle."""
    c = pit.contenders[who]
    ledger = pit.ledgers[who]
    balance = balance_kernel(ledger)
    if c.peak_units > 0:
        trade = pit.trades[who, c.n_trades]
        c.n_trades += 1
        trade.entry_row = c.entry_row
        trade.entry_event = c.entry_event
        trade.exit_event = c.n_path - 1
        trade.entry_ts_ns = c.entry_ts_ns
        trade.exit_ts_ns = c.exit_ts_ns
        trade.side = c.side
        trade.quantity = c.peak_units / ledger.size_scale
        trade.entry_price = c.entry_price
        trade.exit_price = c.exit_price
        trade.take_profit = c.take_profit
        trade.stop = c.stop
        trade.exit_kind = kind
        trade.fees = ledger.fees - c.fees_before
        trade.profit = balance - c.balance_before
        trade.equity_after = balance
        trade.p = c.p
        trade.fraction = c.fraction
        touch = pit.floats[c.memory_at + (header.BID if c.side > 0 else header.ASK)]
        if c.ruin_ts_ns < 0 and ruined_kernel(pit.rules[who], balance, touch):
            c.ruin_ts_ns = c.exit_ts_ns
    c.phase = r.IDLE
    c.side = 0
    clear_kernel(pit.pending[who, r.WORKING])


@apart
def _go_on(world, pit, who):
    """Take the next step of the position's life, now that an answer is known or given up."""
    c = pit.contenders[who]
    held = pit.ledgers[who].position_units
    if pit.pending[who, r.WORKING].order_id >= 0:
        return
    if c.phase == r.ENTERING:
        how = go_on_entering(world, pit, who)
        if how == r.GOES_ON:
            return
        pit.entry_ends[who, how] += 1
        if held == 0:
            _finish(pit, who, r.NOT_ENTERED)
            return
        c.phase = r.HOLDING
        c.hold_until_ns = c.entry_ts_ns + pit.rules[who].max_hold_ns
    if c.phase == r.HOLDING:
        # While a take-profit may be at the venue it is left alone, filled in part or not.
        if held == 0:
            _finish(pit, who, r.EXIT_TAKE_PROFIT)
        elif c.resting_id < 0:
            _place_profit(world, pit, who)
    elif c.phase == r.CLOSING:
        if held != 0:
            c.exit_due = 1
        elif c.resting_id < 0:
            _finish(pit, who, c.exit_kind)


# -------------------------------------------------------------------------------------------- messages in


@kernel
def _mean(average, units, price, more):
    """The average price of `units` and `more` of them; exactly the price where there is only one."""
    if units == 0 or price == average:
        return price
    return (units * average + more * price) / (units + more)


@apart
def _book_fill(pit, who, message):
    """Book a fill, on the ledger and on the position it belongs to."""
    c = pit.contenders[who]
    rules = pit.rules[who]
    ledger = pit.ledgers[who]
    side = message.side
    order_id = message.order_id
    units = message.size * rules.lot_units
    price = (message.price * rules.tick_units) / rules.price_scale
    fee = (units / rules.size_scale) * price * (rules.maker_fee if message.maker != 0 else rules.taker_fee)
    c.late_fills += order_id == pit.pending[who, r.PROBING].order_id
    fill_kernel(ledger, side, units, price, fee)
    if side == c.side:
        c.entry_price = _mean(c.entry_price, c.entry_units, price, units)
        c.entry_units += units
        if c.entry_ts_ns == 0:
            c.entry_ts_ns = message.ts_ns
    else:
        c.exit_price = _mean(c.exit_price, c.exit_units, price, units)
        c.exit_units += units
    c.exit_ts_ns = message.ts_ns
    c.peak_units = max(c.peak_units, abs(ledger.position_units))
    if message.left == 0:
        _order_gone(pit, who, order_id)


@kernel
def _order_gone(pit, who, order_id):
    """Nothing more will come of an order."""
    c = pit.contenders[who]
    answered_kernel(pit.pending[who, r.WORKING], order_id)
    answered_kernel(pit.pending[who, r.RESTING], order_id)
    answered_kernel(pit.pending[who, r.CANCELLING], order_id)
    answered_kernel(pit.pending[who, r.PROBING], order_id)
    if order_id == c.resting_id:
        c.resting_id = r.NO_ORDER


@apart
def _write_row(pit, who, now_ns, decided, decision):
    c = pit.contenders[who]
    line = pit.rows[who, c.n_row_lines]
    c.n_row_lines += 1
    line.ts_ns = now_ns
    line.bid = pit.floats[c.memory_at + header.BID]
    line.ask = pit.floats[c.memory_at + header.ASK]
    line.signal = pit.outputs[who, 0]
    line.score = pit.outputs[who, 1]
    line.size = pit.outputs[who, 2]
    line.equity = equity_seen(pit, who)
    line.reason = decision.reason if decided else -1
    line.side = decision.side
    line.quantity = decision.quantity
    line.take_profit = decision.take_profit
    line.stop = decision.stop
    line.p = decision.p
    line.fraction = decision.fraction


@kernel
def _on_path(world, pit, who, now_ns):
    """Guard the position at a whole book: stop, holding time, an unfinished close."""
    c = pit.contenders[who]
    if c.phase == r.ENTERING:
        if wish_now(pit, who, now_ns):
            _go_on(world, pit, who)
    elif c.phase == r.HOLDING:
        side = c.side
        touch = pit.floats[c.memory_at + (header.BID if side > 0 else header.ASK)]
        if (touch - c.stop) * side <= 0.0:
            _close(world, pit, who, r.EXIT_STOP)
        elif c.profit_held != 0 and (touch - c.take_profit) * side >= 0.0:
            _close(world, pit, who, r.EXIT_TAKE_PROFIT)
        elif now_ns >= c.hold_until_ns:
            _close(world, pit, who, r.EXIT_MAX_HOLD)
    elif c.phase == r.CLOSING and c.exit_due != 0 and pit.pending[who, r.WORKING].order_id < 0:
        c.exit_due = 0
        if pit.ledgers[who].position_units != 0:
            _send_exit(world, pit, who)


@kernel
def _on_row(world, pit, who, now_ns):
    """Move the program on; decide when idle, and never again after a ruin, as in the replay."""
    c = pit.contenders[who]
    evaluate_row_of(pit, who)
    if c.phase == r.ENTERING and wish_now(pit, who, now_ns):
        _go_on(world, pit, who)
    idle = c.phase == r.IDLE and c.ruin_ts_ns < 0
    if c.ruin_ts_ns >= 0:
        pit.reasons[who, RUINED] += 1
    if idle or c.records != 0:
        decision = decide_row(pit, who)
        if c.records != 0:
            _write_row(pit, who, now_ns, idle, decision)
        if idle:
            pit.reasons[who, decision.reason] += 1
            if decision.reason == DECIDED:
                _enter(world, pit, who, decision)


@kernel
def _hear_batch(world, pit, who, message):
    c = pit.contenders[who]
    if c.records != 0:
        line = pit.heard[who, c.n_heard_lines]
        c.n_heard_lines += 1
        line.sequence = pit.lines[message.at & (len(pit.lines) - 1)].sequence
        line.ts_ns = message.due_ns
    memory = pit.memory[c.memory_at : c.memory_at + c.n_memory]
    status = apply_batch(memory, pit.lines, message.at, message.count, message.due_ns)
    if status & STATUS_PATH:
        c.n_path += 1
        _on_path(world, pit, who, message.due_ns)
        # Cold rows are not rows, as live.
        if status & STATUS_ROW and memory[header.ROW_WARM] != 0:
            _on_row(world, pit, who, message.due_ns)


@apart
def _lost(world, pit, who):
    """The market order under way is known to be lost: send another, if one is still wanted."""
    c = pit.contenders[who]
    now_ns = world.clock[w.NOW_NS]
    working = pit.pending[who, r.WORKING]
    if c.phase == r.ENTERING:
        if pit.rules[who].execution != EXECUTION_AGGRESSIVE:
            if expire_kernel(working, _ENTRY, now_ns, c.entry_retries, is_wanted(pit, who)) == RETRY:
                c.retries += 1
                cross(world, pit, who)
            else:
                _go_on(world, pit, who)
            return
        # The signal holds if the row evaluated last would still enter, as the book is seen now.
        decision = decide_row(pit, who)
        wanted = decision.reason == DECIDED and decision.side == c.side
        if expire_kernel(working, _ENTRY, now_ns, c.entry_retries, wanted) == RETRY:
            c.retries += 1
            _enter(world, pit, who, decision)
            return
    elif expire_kernel(working, _EXIT, now_ns, _NO_RETRIES, pit.ledgers[who].position_units != 0) == RETRY:
        c.retries += 1
        _send_exit(world, pit, who)
        return
    _go_on(world, pit, who)


@apart
def _missed(world, pit, who):
    """Look at the clock of every command under way."""
    c = pit.contenders[who]
    now_ns = world.clock[w.NOW_NS]
    working = pit.pending[who, r.WORKING]
    probing = pit.pending[who, r.PROBING]
    if (working.deadline_ns <= now_ns and probing.order_id < 0) or expire_kernel(
        probing, _CANCEL, now_ns, _NO_RETRIES, working.order_id >= 0
    ) == RETRY:
        send_cancel(world, pit, who, r.PROBING, working.order_id, c.working_slot)
    cancelling = pit.pending[who, r.CANCELLING]
    resting = pit.pending[who, r.RESTING]
    if expire_kernel(cancelling, _CANCEL, now_ns, _NO_RETRIES, c.resting_id >= 0) == RETRY:
        c.retries += 1
        send_cancel(world, pit, who, r.CANCELLING, c.resting_id, c.resting_slot)
    elif resting.deadline_ns <= now_ns:
        # Once its cancellation is answered a new order goes out; see `_go_on`.
        if c.phase != r.ENTERING:
            expire_kernel(resting, _EXIT, now_ns, _NO_RETRIES, False)
        elif expire_kernel(resting, _ENTRY, now_ns, c.entry_retries, is_wanted(pit, who)) != RETRY:
            c.wish = GIVE_UP
        if cancelling.order_id < 0:
            c.retries += 1
            send_cancel(world, pit, who, r.CANCELLING, c.resting_id, c.resting_slot)


@kernel
def mark_until(pit, who, now_ns):
    """Write the equity at every mark up to a time, from what was seen before it."""
    c = pit.contenders[who]
    while c.next_mark_ns <= now_ns:
        pit.curves[who, c.n_marks] = equity_seen(pit, who)
        c.n_marks += 1
        c.next_mark_ns += c.mark_ns


@kernel
def attend(world, pit, who):
    """Let a contender hear its next message, or look at the clock; the time is its `next_ns`."""
    c = pit.contenders[who]
    mark_until(pit, who, c.next_ns - 1)
    mask = pit.inbox.shape[1] - 1
    if c.head < c.tail and pit.inbox[who, c.head & mask].due_ns <= c.next_ns:
        message = pit.inbox[who, c.head & mask]
        kind = message.kind
        if kind == r.BATCH:
            _hear_batch(world, pit, who, message)
        elif kind == r.FILL:
            _book_fill(pit, who, message)
            _go_on(world, pit, who)
        elif kind == r.OPEN:
            answered_kernel(pit.pending[who, r.RESTING], message.order_id)
        elif kind == r.CLOSED:
            if message.count != 0 and message.order_id == pit.pending[who, r.WORKING].order_id:
                # Asked about, and never answered before: the order did not arrive.
                answered_kernel(pit.pending[who, r.PROBING], message.order_id)
                _lost(world, pit, who)
            else:
                _order_gone(pit, who, message.order_id)
                _go_on(world, pit, who)
        else:
            pit.ledgers[who].funding -= message.price / w.FEE_SCALE * world.values[w.TICK_LOT]
        c.head += 1
    else:
        _missed(world, pit, who)
    soonest = min(pit.pending[who, r.RESTING].deadline_ns, pit.pending[who, r.CANCELLING].deadline_ns)
    # A market order that is asked about has no deadline of its own any more.
    waits = r.WORKING if pit.pending[who, r.PROBING].order_id < 0 else r.PROBING
    soonest = min(soonest, pit.pending[who, waits].deadline_ns)
    if c.head < c.tail:
        soonest = min(soonest, pit.inbox[who, c.head & mask].due_ns)
    c.next_ns = soonest
