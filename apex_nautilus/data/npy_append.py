"""A .npy file that grows by chunks, so that what does not fit in memory can still be memory-mapped later."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

__all__ = ["NpyAppender"]


class NpyAppender:
    """Writes chunks to one .npy file; `close` puts the final length into its header and flushes it to the
    disk.

    Parameters
    ----------
    path : file to create.
    dtype : of the array.
    shape : of one row; () for a vector.
    """

    def __init__(self, path: Path, dtype: np.dtype | type, shape: tuple[int, ...] = ()):
        self._path = path
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._file = path.open("w+b")
        self.rows = 0
        self._write_header()
        self._begin = self._file.tell()

    def _write_header(self) -> None:
        # numpy pads the header for a first axis of up to 21 digits, so that it can be written anew in place.
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, chunk: np.ndarray) -> None:
        """Add the rows of `chunk`."""
        array = np.ascontiguousarray(chunk, dtype=self._dtype)
        if array.shape[1:] != self._shape:
            raise ValueError(f"{self._path.name}: rows of shape {array.shape[1:]} do not fit {self._shape}")
        self._file.write(memoryview(array).cast("B") if array.size else b"")
        self.rows += array.shape[0]

    def abandon(self) -> None:
        """Close the file as it is; it is not to be read. May be called again, also after `close`."""
        with contextlib.suppress(OSError):  # a full disk refuses the rest of the buffer
            self._file.close()

    def close(self) -> None:
        """Finish the file."""
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._begin:
            raise RuntimeError(f"{self._path.name}: numpy changed the length of its header")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
