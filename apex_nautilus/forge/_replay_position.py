"""The position of one genome in the replay: opened, marked, closed, and what each does to its account."""

from __future__ import annotations

from apex_nautilus.forge._replay_fills import exit_price, first_at_or_after
from apex_nautilus.forge._replay_jit import kernel
from apex_nautilus.forge._replay_records import EXIT_MAX_HOLD, EXIT_STOP, EXIT_TAKE_PROFIT
from apex_nautilus.risk import ruined_kernel


@kernel
def plan_position(state, row: int, order) -> None:
    """Note what was decided on `row`; the position is still to be opened."""
    state.entry_row = row
    state.quantity = order.quantity
    state.take_profit = order.take_profit
    state.stop = order.stop
    state.p = order.p
    state.fraction = order.fraction


@kernel
def open_position(
    market, rules, state, side: int, fill: int, entry_ts: int, first_checked: int, price: float, cost: float,
    fee: float, latency_ns: int,
) -> None:  # fmt: skip
    """Open what `plan_position` noted at `price`; one unit paid `cost` against the mid, and `fee` is a share.

    Its legs are checked from the event `first_checked` on, its holding time begins at `entry_ts`.
    """
    close_event = first_at_or_after(market.ts_ns, entry_ts + rules.max_hold_ns, first_checked)
    if latency_ns > 0 and market.is_bars == 0 and close_event < market.ts_ns.shape[0]:
        close_event = (
            first_at_or_after(market.ts_ns, market.ts_ns[close_event] + latency_ns + 1, close_event) - 1
        )
    state.side = side
    state.entry_event = fill
    state.entry_ts_ns = entry_ts
    state.next_event = first_checked
    state.close_event = close_event
    state.entry_price = price
    state.entry_fee = state.quantity * price * fee
    state.entry_cost = state.quantity * cost


@kernel
def equity_of(state) -> float:
    """Return the equity of a flat agent."""
    return state.capital + (state.realised - state.fees)


@kernel
def note_equity(state, result, equity: float) -> None:
    """Move the running peak and the largest drawdown."""
    if equity > state.peak:
        state.peak = equity
    fall = (state.peak - equity) / state.peak
    if fall > result.max_drawdown:
        result.max_drawdown = fall


@kernel
def marked_equity(market, state, event: int) -> float:
    """Return equity with the open position at the touch it would close on at `event`, its entry fee paid."""
    equity = equity_of(state)
    if state.side > 0 and event >= state.entry_event:
        return equity - state.entry_fee + state.quantity * (market.bid[event] - state.entry_price)
    if state.side < 0 and event >= state.entry_event:
        return equity - state.entry_fee - state.quantity * (market.ask[event] - state.entry_price)
    return equity


@kernel
def close_position(market, rules, state, result, trades, event: int, kind: int) -> None:
    """Leave the position at `event`, book the trade, and say whether target or ruin has come."""
    side = state.side
    quantity = state.quantity
    # A take-profit that the touch has passed before it was placed takes liquidity.
    rests = kind == EXIT_TAKE_PROFIT and (event > state.entry_event or market.is_bars != 0)
    price = exit_price(market, rules, event, kind, rests, side, quantity, state.take_profit, state.stop)
    notional = quantity * price
    fee = notional * (rules.maker_fee if rests else rules.taker_fee)
    before = equity_of(state)
    gross = side * quantity * (price - state.entry_price)
    fees = state.entry_fee + fee
    state.realised += gross
    state.fees += fees
    equity = equity_of(state)
    profit = gross - fees

    place = result.n_trades
    if place < trades.shape[0]:
        trade = trades[place]
        trade.entry_row = state.entry_row
        trade.entry_event = state.entry_event
        trade.exit_event = event
        trade.entry_ts_ns = state.entry_ts_ns
        trade.exit_ts_ns = market.ts_ns[event]
        trade.side = side
        trade.quantity = quantity
        trade.entry_price = state.entry_price
        trade.exit_price = price
        trade.take_profit = state.take_profit
        trade.stop = state.stop
        trade.exit_kind = kind
        trade.fees = fees
        trade.profit = profit
        trade.equity_after = equity
        trade.p = state.p
        trade.fraction = state.fraction

    result.n_trades += 1
    result.n_wins += profit > 0.0
    result.n_take_profits += kind == EXIT_TAKE_PROFIT
    result.n_stops += kind == EXIT_STOP
    result.n_timeouts += kind == EXIT_MAX_HOLD
    change = profit / before
    result.sum_return += change
    result.sum_return2 += change * change
    result.sum_return3 += change * change * change
    result.sum_return4 += change * change * change * change
    result.gross_profit += gross
    result.fees += fees
    result.traded_notional += notional + quantity * state.entry_price
    paid = fees + state.entry_cost
    if not rests:
        paid += side * quantity * (0.5 * (market.bid[event] + market.ask[event]) - price)
    result.costs += paid

    state.side = 0
    note_equity(state, result, equity)
    if result.target_ts_ns < 0 and equity >= state.target_equity:
        result.target_ts_ns = market.ts_ns[event]
    touch = market.bid[event] if side > 0 else market.ask[event]
    if ruined_kernel(rules, equity, touch):
        result.ruin_ts_ns = market.ts_ns[event]
