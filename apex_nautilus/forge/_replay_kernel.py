"""The replay of one genome over a stretch of rows: evaluate, enter, guard, leave. Compiled, without the GIL.

State between stretches is a record, so that many genomes can take turns on rows that are in cache. The genome
is evaluated in short blocks, and only while the agent is flat: what it would have said about a row on which
it holds a position changes nothing.
"""

from __future__ import annotations

import math

from apex_nautilus.forge._replay_fills import (
    bar_price,
    find_exit,
    first_at_or_after,
    first_row_at_or_after,
    market_price,
)
from apex_nautilus.forge._replay_jit import kernel
from apex_nautilus.forge._replay_passive import ask_policy, begin_resting, match, settle
from apex_nautilus.forge._replay_position import (
    close_position,
    equity_of,
    open_position,
    plan_position,
)
from apex_nautilus.forge._replay_records import EXIT_END, REST_NONE
from apex_nautilus.forge.fitness import time_to_target_kernel
from apex_nautilus.genome import LIMIT, range_kernel
from apex_nautilus.risk import (
    BELOW_MINIMUM,
    ORDER,
    calibrate_kernel,
    decide_at_deviation_kernel,
    return_deviation_kernel,
    signal_side_kernel,
)
from apex_nautilus.risk.bracket import STOP_VOLATILITY
from apex_nautilus.risk.entry_policy import EXECUTION_PASSIVE

#: Rows evaluated at once after an exit, doubled up to `MAX_BLOCK` while nothing is entered: what an entry
#: makes superfluous stays small, and long waits pay little for starting blocks.
BLOCK = 256
MAX_BLOCK = 1024

#: Rows on which confidence and size are evaluated at once, from the first row that signals.
FULL_BLOCK = 32


@kernel
def first_signal(signals, start: int, end: int, threshold: float) -> int:
    """Return the first place in [start, end) where the signal is beyond +-threshold, or `end`."""
    place = start
    while place + 32 <= end:
        beyond = 0
        for i in range(place, place + 32):
            beyond |= abs(signals[i]) > threshold
        if beyond != 0:
            break
        place += 32
    while place < end:
        if abs(signals[place]) > threshold:
            return place
        place += 1
    return end


@kernel
def try_entry(market, rules, state, result, row, signal, score, size_output, last_event, latency_ns) -> bool:
    """Decide on `row` and open the position where the order would fill by `last_event`; return whether it
    did."""
    p = calibrate_kernel(rules, score)
    # Cost only lowers the reward to risk, so most rows without an edge are known before any other arithmetic.
    if rules.taker_fee >= 0.0 and not p * (1.0 + rules.reward_risk) > 1.0:
        return False
    event = market.row_event[row]
    deviation = math.nan
    if rules.stop_kind == STOP_VOLATILITY:
        deviation = return_deviation_kernel(market.log_returns, row, rules.stop_window)
    order = decide_at_deviation_kernel(
        rules, signal, score, size_output, market.bid[event], market.ask[event], market.depth[event],
        deviation, equity_of(state), 1.0,
    )  # fmt: skip
    if order.reason != ORDER:
        result.n_below_minimum += order.reason == BELOW_MINIMUM
        return False

    if rules.execution == EXECUTION_PASSIVE:
        if event >= last_event:
            return False
        plan_position(state, row, order)
        begin_resting(market, state, order.side, event, latency_ns)
        settle(market, rules, state, result, event, last_event, latency_ns)
        return True

    entry_ts = market.ts_ns[event] + latency_ns
    fill = event
    if market.is_bars != 0:
        entry_ts = market.ts_ns[event]
        fill = event + 1
    elif latency_ns > 0:
        if entry_ts > market.ts_ns[last_event]:
            return False
        fill = first_at_or_after(market.ts_ns, entry_ts + 1, event) - 1
    # The legs need one event to be checked on.
    first_checked = fill if market.is_bars != 0 else fill + 1
    if first_checked > last_event:
        return False

    side = order.side
    plan_position(state, row, order)
    if market.is_bars != 0:
        price = market.open_ask[fill] if side > 0 else market.open_bid[fill]
        price = bar_price(market, rules, fill, side, order.quantity, price)
        middle = 0.5 * (market.open_ask[fill] + market.open_bid[fill])
    else:
        price = market_price(market, fill, side, order.quantity)
        middle = 0.5 * (market.ask[fill] + market.bid[fill])
    open_position(
        market, rules, state, side, fill, entry_ts, first_checked, price, side * (price - middle),
        rules.taker_fee, latency_ns,
    )  # fmt: skip
    return True


@kernel
def cleaned(value: float) -> float:
    """Return a feature as the interpreter reads it: NaN is 0, the rest held to +-LIMIT."""
    if math.isnan(value):
        return 0.0
    return min(max(value, -LIMIT), LIMIT)


@kernel
def pursue(
    market, rules, signal_code, signal_operands, constants, source, state, result, scratch, signals,
    signal_from, signal_to, row, hi, end, last_event, latency_ns,
):  # fmt: skip
    """Follow an entry that rests up to the event `end`, or until it is filled or given up.

    Returns the first row after that, and the rows whose signal is in `signals`.
    """
    event = state.next_event
    row = first_row_at_or_after(market.row_event, event, row)
    while state.rest != REST_NONE and event <= end:
        match(market, rules, state, result, event, latency_ns)
        ask_policy(market, rules, state, result, event, True, latency_ns)
        if row < hi and market.row_event[row] == event and state.rest != REST_NONE:
            if source >= 0:
                signal = cleaned(market.features[row, source])
                result.rows_evaluated += 1
            else:
                if not signal_from <= row < signal_to:
                    signal_from = row
                    signal_to = min(row + BLOCK, hi)
                    result.invalid += range_kernel(
                        signal_code, signal_operands, constants, market.features, signal_from, signal_to,
                        scratch, signals,
                    )  # fmt: skip
                    result.rows_evaluated += signal_to - signal_from
                signal = signals[0, row - signal_from]
            if signal_side_kernel(rules, signal) != state.rest_side:
                ask_policy(market, rules, state, result, event, False, latency_ns)
        settle(market, rules, state, result, event, last_event, latency_ns)
        event += 1
        row = first_row_at_or_after(market.row_event, event, row)
    if state.rest != REST_NONE:
        state.next_event = event
    state.next_row = row
    return row, signal_from, signal_to


@kernel
def advance(
    market, rules, signal_code, signal_operands, opcodes, operands, constants, sources, n_outputs, state,
    result, trades, scratch, signals, outputs, lo, hi, last_event, latency_ns,
) -> None:  # fmt: skip
    """Replay rows [lo, hi): check the open position up to the last of their events, decide wherever flat.

    Rows [signal_from, signal_to) have their signal in `signals`, rows [full_from, full_to) all outputs in
    `outputs`; outputs that are plain features are read from their columns instead.
    """
    end = market.row_event[hi - 1]
    columns = market.features.T
    direct = sources[0] >= 0 and sources[1] >= 0 and (n_outputs < 3 or sources[2] >= 0)
    row = max(lo, state.next_row)
    signal_from = signal_to = full_from = full_to = hi
    block = BLOCK
    while result.ruin_ts_ns < 0:
        if state.side != 0:
            event, kind = find_exit(
                market, state.side, state.take_profit, state.stop, state.next_event, end, state.close_event
            )
            if kind == 0:
                state.next_event = max(state.next_event, end + 1)
                break
            close_position(market, rules, state, result, trades, event, kind)
            # A row at the very event of the exit may be traded again.
            row = first_row_at_or_after(market.row_event, event, row)
            state.next_row = row
            block = BLOCK
            continue
        if state.rest != REST_NONE:
            row, signal_from, signal_to = pursue(
                market, rules, signal_code, signal_operands, constants, sources[0], state, result, scratch,
                signals, signal_from, signal_to, row, hi, end, last_event, latency_ns,
            )  # fmt: skip
            if state.rest != REST_NONE:
                break
            continue
        if row >= hi:
            break
        if sources[0] >= 0:
            begin = row
            row = first_signal(columns[sources[0]], begin, hi, rules.entry_threshold)
            result.rows_evaluated += min(row + 1, hi) - begin
            if row >= hi:
                break
        else:
            if not signal_from <= row < signal_to:
                signal_from = row
                signal_to = min(row + block, hi)
                block = min(2 * block, MAX_BLOCK)
                result.invalid += range_kernel(
                    signal_code,
                    signal_operands,
                    constants,
                    market.features,
                    signal_from,
                    signal_to,
                    scratch,
                    signals,
                )
                result.rows_evaluated += signal_to - signal_from
            row = signal_from + first_signal(
                signals[0], row - signal_from, signal_to - signal_from, rules.entry_threshold
            )
            if row >= signal_to:
                continue
        size_output = 0.0
        if direct:
            signal = cleaned(columns[sources[0], row])
            score = cleaned(columns[sources[1], row])
            if n_outputs > 2:
                size_output = cleaned(columns[sources[2], row])
        else:
            if not full_from <= row < full_to:
                full_from = row
                full_to = min(row + FULL_BLOCK, hi)
                range_kernel(
                    opcodes, operands, constants, market.features, full_from, full_to, scratch, outputs
                )
            place = row - full_from
            signal = outputs[0, place]
            score = outputs[1, place]
            if n_outputs > 2:
                size_output = outputs[2, place]
        try_entry(market, rules, state, result, row, signal, score, size_output, last_event, latency_ns)
        row += 1


@kernel
def finish(market, rules, state, result, trades, target, start_ns, last_event) -> None:
    """Close what is still open at the last event and derive the summary numbers."""
    if state.side != 0:
        close_position(market, rules, state, result, trades, last_event, EXIT_END)
    result.final_equity = equity_of(state)
    n = result.n_trades
    result.kurtosis = 3.0
    if n > 1:
        mean = result.sum_return / n
        raw2, raw3, raw4 = result.sum_return2 / n, result.sum_return3 / n, result.sum_return4 / n
        variance = raw2 - mean * mean
        if variance > 1e-12 * raw2:
            deviation = math.sqrt(variance)
            result.sharpe = mean / deviation
            result.skew = (raw3 - 3.0 * mean * raw2 + 2.0 * mean**3) / deviation**3
            result.kurtosis = (raw4 - 4.0 * mean * raw3 + 6.0 * mean**2 * raw2 - 3.0 * mean**4) / variance**2
    horizon = market.ts_ns[last_event] - start_ns
    target_after = result.target_ts_ns - start_ns if result.target_ts_ns >= 0 else -1
    ruin_after = result.ruin_ts_ns - start_ns if result.ruin_ts_ns >= 0 else -1
    result.fitness = time_to_target_kernel(
        result.final_equity / state.capital, target, float(target_after), float(ruin_after), float(horizon)
    )
