"""The interpreter: one row live, ranges and populations in blocks.

All entries give the same bits on the same rows. `row_kernel` and `range_kernel` are for calling from other
compiled loops; `evaluate_row` and `evaluate_block` are their faces in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit

from apex_nautilus.genome import scalar
from apex_nautilus.genome._block import clean_column, run_body
from apex_nautilus.genome._codes import OP_ADD_C, RING, STEP
from apex_nautilus.genome._operations import apply
from apex_nautilus.genome._window import window_block, window_row
from apex_nautilus.genome.bytecode import BLOCK, Program, ProgramBatch, pack
from apex_nautilus.genome.primitives import (
    OP_CONSTANT,
    OP_FEATURE,
    OP_ZSCORE,
)


@njit(cache=True)
def row_kernel(opcodes, operands, constants, row, state, out):
    """Evaluate a program on the next row.

    Parameters
    ----------
    opcodes, operands, constants : ndarray
        Of the `Program`.
    row : ndarray of float64, shape (>= n_features,)
        The features now.
    state : ndarray of float64, shape (state_size,)
        From `new_state`; moved on by one row.
    out : ndarray of float64, shape (>= n_outputs,)
        Filled.

    Returns
    -------
    int
        How many of the features read were NaN.
    """
    rows = int(state[0]) + 1
    state[0] = rows
    base = int(state[1])
    invalid = 0
    for i in range(opcodes.size):
        op = opcodes[i]
        j = 4 * i
        to = operands[j]
        a = operands[j + 1]
        b = operands[j + 2]
        if op >= OP_ADD_C:
            value = apply(np.int64(op), state[base + a], constants[b], 0.0)
        elif op > OP_CONSTANT:
            value = apply(np.int64(op), state[base + a], state[base + b], state[base + operands[j + 3]])
        elif op == OP_CONSTANT:
            value = constants[a]
        elif op == OP_FEATURE:
            x = row[a]
            if x != x:
                invalid += 1
            value = scalar.clean(x)
            if b >= 0:
                state[2 + RING * b + ((rows - 1) & (RING - 1))] = value
        else:
            value = window_row(op, b, state, 2 + RING * operands[j + 3], rows, state[base + a])
        if to >= 0:
            state[base + to] = value
        else:
            out[-1 - to] = value
    return invalid


@njit(cache=True)
def _fill_window(flat, stride, register, source, spare, op, k, row, n):
    """Registers by number instead of by offset, for `window_block`."""
    window_block(
        flat,
        np.uint64(register * stride + RING),
        np.uint64(source * stride + RING),
        np.uint64(spare * stride + RING),
        np.int64(op),
        np.int64(k),
        row,
        np.uint64(n),
    )


@njit(cache=True)
def range_kernel(opcodes, operands, constants, X, lo, hi, scratch, out):
    """Evaluate a program on rows lo .. hi - 1.

    Parameters
    ----------
    opcodes, operands, constants : ndarray
        Of the `Program`.
    X : ndarray of float64, shape (rows, features)
        Windows read rows before `lo`, as far as there are any.
    lo, hi : int
        ``0 <= lo <= hi <= len(X)``.
    scratch : ndarray of float64, shape (>= n_slots, RING + block)
        Work space, from `Program.scratch`; a range longer than the block runs block by block. Of the block's
        rows only whole multiples of 16 are used.
    out : ndarray of float64, shape (n_outputs, >= hi - lo)
        Filled: ``out[o, i]`` is output o at row lo + i.

    Returns
    -------
    int
        How many of the feature values read were NaN.
    """
    block = (scratch.shape[1] - RING) // STEP * STEP
    if block <= 0 < hi - lo:
        raise ValueError("the scratch holds too few rows for a step")
    spare = scratch.shape[0] - 1
    flat = scratch.reshape(scratch.size)
    n_columns = 0
    while n_columns < opcodes.size and opcodes[n_columns] <= OP_ZSCORE:
        n_columns += 1
    invalid = 0
    for start in range(lo, hi, block):
        n = min(block, hi - start)
        for i in range(n_columns):
            op = opcodes[i]
            j = 4 * i
            if op == OP_FEATURE:
                invalid += clean_column(scratch[operands[j]], X, operands[j + 1], start, start + n)
            else:
                _fill_window(
                    flat, scratch.shape[1], operands[j], operands[j + 1], spare, op, operands[j + 2], start, n
                )
        run_body(
            opcodes,
            operands,
            n_columns,
            opcodes.size,
            constants,
            np.int64(0),
            scratch,
            spare,
            out,
            start - lo,
            n,
        )
    return invalid


@njit(cache=True, nogil=True)
def batch_kernel(
    columns,
    body_opcodes,
    body_operands,
    body_at,
    constants,
    constant_at,
    opcodes,
    operands,
    code_at,
    shape,
    first,
    last,
    X,
    lo,
    hi,
    scratch,
    out,
    invalid,
):
    """Evaluate programs first .. last - 1 of a linked batch on rows lo .. hi - 1.

    `scratch` has shape (n_work, RING + block), `out` (programs, outputs, hi - lo), `invalid` (programs,); the
    rest are the arrays of `ProgramBatch`. A block's columns and shared values are computed once, then every
    program runs on them.
    """
    block = (scratch.shape[1] - RING) // STEP * STEP
    if block <= 0 < hi - lo:
        raise ValueError("the scratch holds too few rows for a step")
    spare = scratch.shape[0] - 1
    flat = scratch.reshape(scratch.size)
    bad = np.zeros(X.shape[1], np.int64)
    for start in range(lo, hi, block):
        n = min(block, hi - start)
        for i in range(columns.shape[0]):
            op = columns[i, 0]
            if op == OP_FEATURE:
                bad[columns[i, 1]] = clean_column(scratch[i], X, columns[i, 1], start, start + n)
            else:
                _fill_window(
                    flat,
                    scratch.shape[1],
                    np.int32(i),
                    columns[i, 3],
                    spare,
                    np.uint8(op),
                    columns[i, 2],
                    start,
                    n,
                )
        run_body(
            body_opcodes,
            body_operands,
            np.int64(0),
            body_at[0],
            constants,
            np.int64(0),
            scratch,
            spare,
            out[0],
            start - lo,
            n,
        )
        for g in range(first, last):
            run_body(
                body_opcodes,
                body_operands,
                body_at[g],
                body_at[g + 1],
                constants,
                constant_at[g],
                scratch,
                spare,
                out[g],
                start - lo,
                n,
            )
            for i in range(code_at[g], code_at[g] + shape[g, 1]):
                if opcodes[i] == OP_FEATURE:
                    invalid[g] += bad[operands[4 * i + 1]]


def _aligned(registers: int) -> np.ndarray:
    """Zeroed scratch whose rows start at multiples of 64 bytes: one cache line, one widest vector."""
    width = RING + BLOCK
    raw = np.zeros(registers * width + 8)
    skip = (-raw.ctypes.data // 8) % 8
    return raw[skip : skip + registers * width].reshape(registers, width)


def new_state(program: Program) -> np.ndarray:
    """The state of a live evaluation before its first row; copying it is a snapshot."""
    state = np.zeros(program.state_size)
    state[1] = 2 + RING * program.n_rings
    return state


def evaluate_row(program: Program, row: np.ndarray, state: np.ndarray, out: np.ndarray) -> int:
    """Evaluate a program on the next row; see `row_kernel`. Nothing is allocated."""
    return row_kernel(program.opcodes, program.operands, program.constants, row, state, out)


def evaluate_block(
    programs: ProgramBatch | Sequence[Program],
    X: np.ndarray,
    *,
    threads: int = 1,
    lo: int = 0,
    hi: int | None = None,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate many programs on many rows.

    Parameters
    ----------
    programs : ProgramBatch or sequence of Program
        A batch spares linking them again.
    X : ndarray of float64, shape (rows, features)
        Windows read rows before `lo`.
    threads : int
        Programs are shared out over that many threads; results do not depend on it.
    lo, hi : int
        Rows to evaluate, by default all.
    out : ndarray of float64, shape (programs, outputs, hi - lo), optional
        Where to put the outputs.

    Returns
    -------
    out : ndarray of float64, shape (programs, outputs, hi - lo)
        Where a program has fewer outputs than another, 0.
    invalid : ndarray of int64, shape (programs,)
        Feature values read that were NaN, over those rows.

    Raises
    ------
    ValueError
        On arrays of the wrong shape, or a range outside the rows.
    """
    batch, X, hi = _arguments(programs, X, lo, hi)
    wanted = (len(batch), batch.n_outputs, hi - lo)
    if out is None:
        same = bool((batch.shape[:, 4] == batch.n_outputs).all())
        out = np.empty(wanted) if same else np.zeros(wanted)
    elif out.shape != wanted or out.dtype != np.float64 or not out.flags.c_contiguous:
        raise ValueError(f"out has shape {out.shape}, a contiguous float64 array of shape {wanted} is needed")
    invalid = np.zeros(len(batch), np.int64)

    def work(first: int, last: int) -> None:
        _run(batch, X, first, last, lo, hi, _aligned(batch.n_work), out, invalid)

    threads = max(1, min(threads, len(batch)))
    if threads == 1:
        work(0, len(batch))
    else:
        # Equal shares of instructions, not of programs: sizes differ by an order of magnitude.
        targets = np.linspace(0, batch.body_at[-1], threads + 1)[1:-1]
        edges = [0, *(int(e) for e in np.searchsorted(batch.body_at, targets)), len(batch)]
        with ThreadPoolExecutor(threads) as pool:
            for task in [pool.submit(work, a, b) for a, b in pairwise(edges)]:
                task.result()
    return out, invalid


def evaluate_blocks(
    programs: ProgramBatch | Sequence[Program],
    X: np.ndarray,
    *,
    lo: int = 0,
    hi: int | None = None,
    rows: int = BLOCK,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Evaluate many programs on many rows, a block of rows at a time, on one core.

    For a caller that uses up each block's outputs before it asks for the next (a sum, a count, a fitness):
    they stay in cache, where all outputs of a population are many times larger than it.

    Parameters
    ----------
    programs, X, lo, hi
        As in `evaluate_block`.
    rows : int
        Rows of a block, at least 1.

    Yields
    ------
    first, last : int
        The rows of the block are first .. last - 1.
    out : ndarray of float64, shape (programs, outputs, last - first)
        Overwritten by the next block; the same bits as `evaluate_block` gives.

    Raises
    ------
    ValueError
        As `evaluate_block`, and when `rows` is below 1.
    """
    batch, X, hi = _arguments(programs, X, lo, hi)
    if rows < 1:
        raise ValueError(f"rows is {rows}; a block has at least 1")
    scratch = _aligned(batch.n_work)
    invalid = np.zeros(len(batch), np.int64)
    buffer = np.empty(len(batch) * batch.n_outputs * rows)
    mixed = bool((batch.shape[:, 4] != batch.n_outputs).any())
    for first in range(lo, hi, rows):
        last = min(first + rows, hi)
        shape = (len(batch), batch.n_outputs, last - first)
        out = buffer[: shape[0] * shape[1] * shape[2]].reshape(shape)
        if mixed:
            out.fill(0.0)
        _run(batch, X, 0, len(batch), first, last, scratch, out, invalid)
        yield first, last, out


def _arguments(
    programs: ProgramBatch | Sequence[Program], X: np.ndarray, lo: int, hi: int | None
) -> tuple[ProgramBatch, np.ndarray, int]:
    """The batch, contiguous rows and the end of the range; ValueError when they do not go together."""
    batch = programs if isinstance(programs, ProgramBatch) else pack(programs)
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] < batch.n_features:
        raise ValueError(f"X has shape {X.shape}, (rows, {batch.n_features} features) are needed")
    if X.dtype != np.float64 or not X.flags.c_contiguous:
        X = np.ascontiguousarray(X, np.float64)
    hi = len(X) if hi is None else hi
    if not 0 <= lo <= hi <= len(X):
        raise ValueError(f"rows {lo} to {hi} of {len(X)}")
    return batch, X, hi


def _run(
    batch: ProgramBatch,
    X: np.ndarray,
    first: int,
    last: int,
    lo: int,
    hi: int,
    scratch: np.ndarray,
    out: np.ndarray,
    invalid: np.ndarray,
) -> None:
    batch_kernel(
        batch.columns,
        batch.body_opcodes,
        batch.body_operands,
        batch.body_at,
        batch.constants,
        batch.constant_at,
        batch.opcodes,
        batch.operands,
        batch.code_at,
        batch.shape,
        first,
        last,
        X,
        lo,
        hi,
        scratch,
        out,
        invalid,
    )
