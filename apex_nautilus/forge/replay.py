"""The replay backtester: many genomes over recorded data, at the speed of the data's arrays.

In: rows to decide on and the path of touches between them (a dataset, or `MarketArrays`), compiled genomes,
and the rules each trades by. Out: one result a genome, its equity at equally spaced marks, or its trades one
by one.

Each decision is the kernel that the live strategy calls (`apex_nautilus.risk`); fills follow the model
written out in docs/replay.md. Genomes do not meet: each trades alone against the recorded book. Results do
not depend on the number of threads, on what else is in the batch, or on where blocks begin.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from apex_nautilus.forge._replay_kernel import FULL_BLOCK, MAX_BLOCK, advance, finish
from apex_nautilus.forge._replay_market import (
    DatasetLike,
    MarketArrays,
    bar_market,
    book_market,
    dataset_market,
)
from apex_nautilus.forge._replay_position import marked_equity, note_equity
from apex_nautilus.forge._replay_records import (
    EXIT_END,
    EXIT_KINDS,
    EXIT_MAX_HOLD,
    EXIT_STOP,
    EXIT_TAKE_PROFIT,
    RESULT,
    STATE,
    TRADE,
)
from apex_nautilus.forge._replay_signal import output_sources, signal_part
from apex_nautilus.genome import RING, Program, ProgramBatch, pack
from apex_nautilus.risk import RULES
from apex_nautilus.risk.entry_policy import (
    AGGRESSIVE,
    EXECUTION_AGGRESSIVE,
    EXECUTION_PASSIVE,
    PASSIVE,
)

__all__ = [
    "EXIT_END",
    "EXIT_KINDS",
    "EXIT_MAX_HOLD",
    "EXIT_STOP",
    "EXIT_TAKE_PROFIT",
    "RESULT",
    "TRADE",
    "MarketArrays",
    "bar_market",
    "book_market",
    "dataset_market",
    "replay",
    "replay_curves",
    "replay_trades",
]

#: Rows that all genomes of a thread pass before any goes on: their features stay in the second-level cache.
STRETCH = 4096

#: Marks at which drawdown is looked at when no curve is asked for.
DEFAULT_MARKS = 64


@njit(cache=True, nogil=True, error_model="numpy")
def _replay_chunk(
    market, rules, signal_code, signal_operands, signal_at, opcodes, operands, code_at, constants,
    constant_at, sources, n_outputs, first, last, edges, mark_of, states, results, trades, curves, scratch,
    signals, outputs, target, latency_ns,
):  # fmt: skip
    """Replay genomes [first, last) over the stretches between `edges`, together."""
    last_event = market.row_event[edges[-1] - 1]
    start_ns = market.ts_ns[market.row_event[edges[0]]]
    for s in range(edges.shape[0] - 1):
        for g in range(first, last):
            a, b = signal_at[g], signal_at[g + 1]
            i, j = code_at[g], code_at[g + 1]
            advance(
                market, rules[g], signal_code[a:b], signal_operands[4 * a : 4 * b], opcodes[i:j],
                operands[4 * i : 4 * j], constants[constant_at[g] : constant_at[g + 1]], sources[g],
                n_outputs[g], states[g], results[g], trades, scratch, signals, outputs, edges[s],
                edges[s + 1], last_event, latency_ns,
            )  # fmt: skip
            if mark_of[s] >= 0:
                equity = marked_equity(market, states[g], market.row_event[edges[s + 1] - 1])
                note_equity(states[g], results[g], equity)
                curves[g, mark_of[s]] = equity
    for g in range(first, last):
        finish(market, rules[g], states[g], results[g], trades, target, start_ns, last_event)


def _stretches(lo: int, hi: int, marks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row edges of the stretches, and for each stretch the number of the mark at its end or -1."""
    ends = lo + (np.arange(1, marks + 1) * (hi - lo)) // marks
    cuts = np.unique(np.concatenate([np.arange(lo, hi, STRETCH), [lo, hi], ends])).astype(np.int64)
    mark_of = np.full(cuts.size - 1, -1, dtype=np.int64)
    # With more marks than rows several marks share a stretch; the last of them names it, the others are
    # filled later.
    mark_of[np.searchsorted(cuts, ends) - 1] = np.arange(marks)
    return cuts, mark_of


def _check_rows(market: MarketArrays, rows: tuple[int, int] | None) -> tuple[int, int]:
    n = market.features.shape[0]
    lo, hi = (0, n) if rows is None else (int(rows[0]), int(rows[1]))
    if not 0 <= lo < hi <= n:
        raise ValueError(f"replay: rows must satisfy 0 <= lo < hi <= {n}, got ({lo}, {hi})")
    return lo, hi


def _check_execution(rules: NDArray[np.void], market: MarketArrays) -> None:
    """Refuse entries that the compiled loop cannot make."""
    for place in np.flatnonzero(rules["execution"] != EXECUTION_AGGRESSIVE):
        if rules["execution"][place] != EXECUTION_PASSIVE:
            raise ValueError(
                f"replay: rules[{place}]: the genome enters by a policy registered in Python; the replay is "
                f"compiled and knows {AGGRESSIVE} and {PASSIVE}"
            )
        if market.is_bars:
            raise ValueError(
                f"replay: rules[{place}]: execution {PASSIVE!r} rests in an order book and bars have none; "
                f"use {AGGRESSIVE!r}, or a clock of the book"
            )


def _run(
    data: DatasetLike | MarketArrays,
    programs: ProgramBatch,
    rules: NDArray[np.void],
    rows: tuple[int, int] | None,
    equity: float,
    target: float,
    threads: int | None,
    latency_ns: int,
    marks: int,
    trade_room: int,
) -> tuple[NDArray[np.void], NDArray[np.float64], NDArray[np.void]]:
    market = data if isinstance(data, MarketArrays) else dataset_market(data)
    lo, hi = _check_rows(market, rows)
    records = np.atleast_1d(np.asarray(rules))
    count = len(programs)
    if records.dtype != RULES or records.shape != (count,):
        raise ValueError(
            f"replay: {count} programs need as many records of dtype RULES, got shape {records.shape} "
            f"of {'RULES' if records.dtype == RULES else records.dtype}"
        )
    if count and programs.n_features > market.features.shape[1]:
        raise ValueError(
            f"replay: the programs read {programs.n_features} features, "
            f"the rows have {market.features.shape[1]}"
        )
    _check_execution(records, market)
    n_outputs = np.ascontiguousarray(programs.shape[:, 4])
    if count and n_outputs.min() < 2:
        raise ValueError("replay: a program needs two outputs, signal and confidence")
    if not equity > 0.0 or not target > 1.0 or latency_ns < 0 or marks < 1:
        raise ValueError(
            f"replay: need equity > 0, target > 1, latency_ns >= 0 and marks >= 1, "
            f"got {equity!r}, {target!r}, {latency_ns!r}, {marks!r}"
        )
    edges, mark_of = _stretches(lo, hi, marks)
    results = np.zeros(count, dtype=RESULT)
    results["target_ts_ns"] = -1
    results["ruin_ts_ns"] = -1
    states = np.zeros(count, dtype=STATE)
    states["capital"] = equity
    states["peak"] = equity
    states["target_equity"] = equity * target
    curves = np.full((count, marks), np.nan)
    trades = np.zeros(trade_room, dtype=TRADE)

    signal_code, signal_operands, signal_at = signal_part(programs)
    sources = output_sources(programs)

    def work(first: int, last: int) -> None:
        _replay_chunk(
            market, records, signal_code, signal_operands, signal_at, programs.opcodes, programs.operands,
            programs.code_at, programs.constants, programs.constant_at, sources, n_outputs, first, last,
            edges, mark_of, states, results, trades, curves, np.zeros((programs.n_slots, RING + MAX_BLOCK)),
            np.zeros((1, MAX_BLOCK)), np.zeros((programs.n_outputs, FULL_BLOCK)), float(target),
            int(latency_ns),
        )  # fmt: skip

    workers = max(1, min(threads or os.cpu_count() or 1, count))
    if workers == 1:
        if count:
            work(0, count)
    else:
        # More shares than threads even out that some genomes trade far more than others.
        cuts = np.unique(np.linspace(0, count, min(count, 8 * workers) + 1).astype(int))
        with ThreadPoolExecutor(workers) as pool:
            for task in [pool.submit(work, int(a), int(b)) for a, b in pairwise(cuts)]:
                task.result()
    return results, _filled(curves, equity), trades


def _filled(curves: NDArray[np.float64], equity: float) -> NDArray[np.float64]:
    """Give marks that fell on no row of their own the equity of the mark before."""
    missing = np.isnan(curves)
    if missing.any():
        for mark in range(curves.shape[1]):
            before = curves[:, mark - 1] if mark else equity
            curves[:, mark] = np.where(missing[:, mark], before, curves[:, mark])
    return curves


def replay(
    data: DatasetLike | MarketArrays,
    programs: ProgramBatch,
    rules: NDArray[np.void],
    rows: tuple[int, int] | None = None,
    *,
    equity: float = 200.0,
    target: float = 2.0,
    threads: int | None = None,
    latency_ns: int = 0,
) -> NDArray[np.void]:
    """Replay many genomes, each alone, and sum up each run.

    Parameters
    ----------
    data : Dataset or MarketArrays
        What to trade. Calls in a row are cheaper with `MarketArrays` made once.
    programs : ProgramBatch
        G compiled genomes, outputs signal, confidence and (sizing "evolved") size.
    rules : (G,) array of dtype RULES
        What each trades by, from `apex_nautilus.risk.rules_array`.
    rows : (lo, hi), optional
        Decision rows to replay, all by default. Windows of features and of a volatility stop read rows before
        `lo`. A position open at the last row's event is closed there at market.
    equity : float
        Capital of each agent, quote units.
    target : float
        Multiple of `equity` to reach.
    threads : int, optional
        As many as there are cores by default; the result does not depend on it.
    latency_ns : int
        From a decision to its order's arrival; 0 meets the row's own book. Resting exits have none. Not used
        in bar markets, where an entry meets the next bar's open.

    Returns
    -------
    (G,) array of dtype RESULT

    Raises
    ------
    ValueError
        When shapes, rows or parameters do not fit.
    """
    return _run(data, programs, rules, rows, equity, target, threads, latency_ns, DEFAULT_MARKS, 0)[0]


def replay_curves(
    data: DatasetLike | MarketArrays,
    programs: ProgramBatch,
    rules: NDArray[np.void],
    rows: tuple[int, int] | None = None,
    *,
    marks: int = DEFAULT_MARKS,
    equity: float = 200.0,
    target: float = 2.0,
    threads: int | None = None,
    latency_ns: int = 0,
) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """Replay as `replay` does, and mark each agent's equity `marks` times, equally spaced in rows.

    Returns
    -------
    results : (G,) array of dtype RESULT
        `max_drawdown` sees these marks; everything else is as `replay` gives it.
    curves : (G, marks) float64
        Equity at the touch an open position would close on, at the end of each of the `marks` equal stretches
        of rows; after a ruin what was left. Per-mark returns are ``np.diff`` of it over its start, `equity`
        the first.

    Raises
    ------
    ValueError
        As `replay`.
    """
    results, curves, _ = _run(data, programs, rules, rows, equity, target, threads, latency_ns, marks, 0)
    return results, curves


def replay_trades(
    data: DatasetLike | MarketArrays,
    program: Program | ProgramBatch,
    rules: np.void | NDArray[np.void],
    rows: tuple[int, int] | None = None,
    *,
    equity: float = 200.0,
    latency_ns: int = 0,
) -> NDArray[np.void]:
    """Replay one genome and return its trades, in order.

    Parameters
    ----------
    data, rows, equity, latency_ns
        As `replay`.
    program : Program
        The compiled genome (or a batch of one).
    rules : numpy.void
        Its record of dtype RULES.

    Returns
    -------
    (n,) array of dtype TRADE

    Raises
    ------
    ValueError
        As `replay`, or when `program` is a batch of more than one.
    """
    batch = program if isinstance(program, ProgramBatch) else pack([program])
    if len(batch) != 1:
        raise ValueError(f"replay_trades: one program, got a batch of {len(batch)}")
    market = data if isinstance(data, MarketArrays) else dataset_market(data)
    room = 1024
    while True:
        results, _, trades = _run(market, batch, rules, rows, equity, 2.0, 1, latency_ns, DEFAULT_MARKS, room)
        count = int(results["n_trades"][0])
        if count <= room:
            return trades[:count].copy()
        room = count
