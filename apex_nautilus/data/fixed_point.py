"""Nautilus's fixed-point columns to integers and back, without an object a row.

Nautilus stores prices and sizes as little-endian two's-complement integers scaled by
``10**FIXED_PRECISION``: 16 bytes and 16 decimals in its high-precision build, 8 bytes and 9 decimals
otherwise. Market events hold the same number in units of ``10**-precision`` of the instrument, so the two
differ by the exact factor ``k = 10**(FIXED_PRECISION - precision)``. Because k = 2^s 5^s, an exact division
of the 128-bit number is a shift by s bits and one multiplication by the inverse of 5^s modulo 2^64: the
quotient fits 64 bits, so arithmetic modulo 2^64 is enough.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from nautilus_trader.core import nautilus_pyo3

from apex_nautilus.data.errors import DataError

__all__ = ["FIXED_BYTES", "FIXED_DECIMALS", "column_to_units", "units_to_column"]

FIXED_BYTES: int = nautilus_pyo3.PRECISION_BYTES
FIXED_DECIMALS: int = nautilus_pyo3.FIXED_PRECISION

_LOW32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def _exponent(precision: int) -> int:
    if not 0 <= precision <= FIXED_DECIMALS:
        raise DataError(
            f"precision {precision} is outside 0..{FIXED_DECIMALS}, what this Nautilus build can store"
        )
    return FIXED_DECIMALS - precision


def _wide_product(units: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high) 64-bit words of ``units * factor``, both unsigned below 2^63."""
    f_low, f_high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    u_low, u_high = units & _LOW32, units >> _32
    low_low, low_high = u_low * f_low, u_low * f_high
    high_low, high_high = u_high * f_low, u_high * f_high
    carry = ((low_low >> _32) + (low_high & _LOW32) + (high_low & _LOW32)) >> _32
    return units * np.uint64(factor), high_high + (low_high >> _32) + (high_low >> _32) + carry


def units_to_column(units: np.ndarray, precision: int) -> pa.Array:
    """Return `units` of ``10**-precision`` as a Nautilus fixed-point column.

    Parameters
    ----------
    units : ndarray of int64, shape (n,)
        Not negative.
    precision : int
        Decimal places of the instrument.

    Raises
    ------
    DataError
        When a unit is negative, or the precision is more than the build can store.
    """
    units = np.ascontiguousarray(units, dtype=np.int64)
    if units.size and units.min() < 0:
        raise DataError(f"a price or size is negative ({units.min()} units); the catalog stores none")
    factor = 10 ** _exponent(precision)
    if FIXED_BYTES == 8:
        words = (units * np.int64(factor)).astype("<i8")
    else:
        words = np.empty((units.size, 2), dtype="<u8")
        words[:, 0], words[:, 1] = _wide_product(units.view(np.uint64), factor)
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(FIXED_BYTES), units.size, [None, pa.py_buffer(words)]
    )


def column_to_units(column: pa.Array | pa.ChunkedArray, precision: int) -> np.ndarray:
    """Return a Nautilus fixed-point column in units of ``10**-precision``; the inverse of `units_to_column`.

    Raises
    ------
    DataError
        When the column is not as wide as this Nautilus stores numbers, has holes, or a value is not a whole
        number of units: the precision is not the one the column was written with.
    """
    if column.type != pa.binary(FIXED_BYTES):
        raise DataError(
            f"a price or size is stored as {column.type}, this Nautilus build stores {FIXED_BYTES} bytes; "
            "write the catalog again with this build"
        )
    if column.null_count:
        raise DataError(f"{column.null_count} prices or sizes are missing")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # zero chunks
            column = (
                pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.binary(FIXED_BYTES))
            )
    if len(column) == 0:
        return np.empty(0, dtype=np.int64)
    shift = _exponent(precision)
    data = np.frombuffer(column.buffers()[1], dtype=np.uint8)
    data = data[column.offset * FIXED_BYTES : (column.offset + len(column)) * FIXED_BYTES]
    if FIXED_BYTES == 8:
        units, rest = np.divmod(data.view("<i8"), np.int64(10**shift))
        exact = not rest.any() and not (units < 0).any()
    else:
        words = data.view("<u8").reshape(-1, 2)
        low, high = words[:, 0], words[:, 1]
        if shift:
            low = (low >> np.uint64(shift)) | (high << np.uint64(64 - shift))
        units = (low * np.uint64(pow(5**shift, -1, 2**64))).view(np.int64)
        # A number that was no multiple, or is negative, gives a quotient that does not multiply back.
        back_low, back_high = _wide_product(units.view(np.uint64), 10**shift)
        exact = bool(((units >= 0) & (back_low == words[:, 0]) & (back_high == words[:, 1])).all())
    if not exact:
        raise DataError(
            f"a stored value is negative or has more than {precision} decimals; "
            "read it with the precision it was written with"
        )
    return units
