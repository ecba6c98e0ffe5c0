"""One row of one contender: features, program, decision. The kernels are those of live and replay."""

from ..features import KIND_TRADE, apply_event, header, top_levels
from ..genome import row_kernel
from ..risk import balance_kernel, decide_kernel, unrealised_kernel
from ._jit import apart, kernel

__all__ = ["apply_batch", "decide_row", "equity_seen", "evaluate_row_of"]


@kernel
def apply_batch(memory, lines, at, count, received_ns):
    """Apply the lines of a batch to a feature machine; returns the status of the last.

    Trades are received a nanosecond before the levels they changed, as on the tape.
    """
    status = 0
    mask = len(lines) - 1
    for k in range(at, at + count):
        line = lines[k & mask]
        ts_ns = received_ns - 1 if line.kind == KIND_TRADE else received_ns
        status = apply_event(memory, ts_ns, line.price, line.size, line.kind, line.side, line.flags)
    return status


@kernel
def evaluate_row_of(pit, who):
    """Move the program on by the row just released, and note its mid."""
    c = pit.contenders[who]
    row_at = c.memory_at + pit.memory[c.memory_at + header.ROW_AT]
    c.invalid += row_kernel(
        pit.opcodes[c.code_at : c.code_at + c.n_codes],
        pit.operands[4 * c.code_at : 4 * (c.code_at + c.n_codes)],
        pit.constants[c.constant_at : c.constant_at + c.n_constants],
        pit.floats[row_at : row_at + c.n_features],
        pit.states[c.state_at : c.state_at + c.n_state],
        pit.outputs[who],
    )
    bid = pit.floats[c.memory_at + header.BID]
    ask = pit.floats[c.memory_at + header.ASK]
    # Written twice, `mids` apart, so that the latest ones are always one stretch, oldest first.
    place = c.mids_at + c.mid_count % c.mids
    pit.mids[place] = 0.5 * (bid + ask)
    pit.mids[place + c.mids] = 0.5 * (bid + ask)
    c.mid_count += 1
    c.n_rows += 1


@apart
def decide_row(pit, who):
    """Return the `Decision` on the outputs of the row evaluated last, against the book as it is seen now."""
    c = pit.contenders[who]
    held = min(c.mid_count, c.mids)
    first = c.mids_at + (c.mid_count - held) % c.mids
    if abs(pit.outputs[who, 0]) > pit.rules[who].entry_threshold:
        # Without a signal nothing looks at the levels.
        top_levels(pit.memory[c.memory_at : c.memory_at + c.n_memory], pit.top)
    return decide_kernel(
        pit.rules[who],
        pit.outputs[who, 0],
        pit.outputs[who, 1],
        pit.outputs[who, 2],
        pit.floats[c.memory_at + header.BID],
        pit.floats[c.memory_at + header.ASK],
        pit.top,
        pit.mids[first : first + held],
        balance_kernel(pit.ledgers[who]),
        c.multiplier,
    )


@kernel
def equity_seen(pit, who):
    """Balance plus the profit of closing at the touch as it is seen; the balance alone when flat."""
    c = pit.contenders[who]
    ledger = pit.ledgers[who]
    if ledger.position_units == 0:
        return balance_kernel(ledger)
    bid = pit.floats[c.memory_at + header.BID]
    ask = pit.floats[c.memory_at + header.ASK]
    return balance_kernel(ledger) + unrealised_kernel(ledger, bid, ask)
