"""A tape as a file: numpy arrays in a zip, nothing that could run when it is read."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..features import EVENT
from ..risk import InstrumentSpec
from . import _world as w
from .market import Tape, TapeStats

__all__ = ["TapeFileError", "load_tape", "tape_bytes"]

_SCHEMA = "apex.tape/1"
_ARRAYS = {
    "events": EVENT,
    "trades": w.TRADE,
    "accounts": w.ACCOUNT,
    "value": w.SAMPLE,
    "orders": w.ORDER_EVENT,
}


class TapeFileError(ValueError):
    """A file is no tape, or a damaged one; the message names file and part."""


class _Header(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    schema: str
    instrument: InstrumentSpec
    start_ns: int
    end_ns: int
    stats: dict[str, int]
    digest: str


def tape_bytes(tape: Tape) -> bytes:
    """The whole tape as an ``.npz``: equal tapes give equal bytes."""
    header = _Header(
        schema=_SCHEMA,
        instrument=tape.instrument,
        start_ns=tape.start_ns,
        end_ns=tape.end_ns,
        stats=asdict(tape.stats),
        digest=tape.digest(),
    )
    out = io.BytesIO()
    parts: dict[str, Any] = {name: _packed(getattr(tape, name)) for name in _ARRAYS}
    np.savez_compressed(out, header=np.frombuffer(msgspec.json.encode(header), np.uint8), **parts)
    return out.getvalue()


def _packed(array: np.ndarray) -> np.ndarray:
    """Without padding, whose bytes mean nothing and differ from run to run."""
    dtype = np.dtype([(name, array.dtype[name]) for name in array.dtype.names or ()])
    packed = np.empty(len(array), dtype)
    for name in dtype.names or ():
        packed[name] = array[name]
    return packed


def load_tape(path: str | os.PathLike[str]) -> Tape:
    """Read what `tape_bytes` made.

    Raises
    ------
    TapeFileError
        When the file is no tape, or its content is not what was written.
    OSError
        When it cannot be read.
    """
    raw = Path(path).read_bytes()
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            header = msgspec.json.decode(file["header"].tobytes(), type=_Header)
            stored = {name: file[name] for name in _ARRAYS}
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise TapeFileError(f"{path}: not a tape written by `apex sim run --tape`: {error}") from None
    if header.schema != _SCHEMA:
        raise TapeFileError(f"{path}: schema: {header.schema!r} is not {_SCHEMA!r}")
    arrays = {}
    for name, dtype in _ARRAYS.items():
        if stored[name].dtype.names != dtype.names or stored[name].ndim != 1:
            raise TapeFileError(f"{path}: {name}: fields {stored[name].dtype.names} are not {dtype.names}")
        arrays[name] = stored[name].astype(dtype)
    try:
        stats = TapeStats(**header.stats)
    except TypeError as error:
        raise TapeFileError(f"{path}: stats: {error}") from None
    tape = Tape(
        instrument=header.instrument,
        start_ns=header.start_ns,
        end_ns=header.end_ns,
        stats=stats,
        **arrays,
    )
    if tape.digest() != header.digest:
        raise TapeFileError(f"{path}: its content is not what was written: the digests differ")
    return tape
