"""The file that a fitted cost model lives in (schema ``apex.costs/1``): the model, and how good it is."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from apex_nautilus._field_errors import readable
from apex_nautilus.risk.bar_costs import BarCosts

__all__ = ["COSTS_SCHEMA", "CostFile", "FitNote", "decode_cost_file", "encode_cost_file"]

COSTS_SCHEMA: Final = "apex.costs/1"


class FitNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one number of the model comes from, and its error.

    Parameters
    ----------
    name : str
        The parameter.
    method : str
        How it was found, in words, with the paper.
    source : str
        From what data.
    span_ns : (int, int), optional
        Of the data.
    samples : int
    value : float
    standard_error : float, optional
    r2 : float, optional
        Share of the (uncentred) variance explained, in the part fitted on.
    held_out_r2 : float, optional
        The same in a later part that the fit did not see; below 0 it does worse than no model.
    held_out_error : float, optional
        Root of the mean squared error there; its unit is told by `method`.
    """

    name: str
    method: str
    source: str
    span_ns: tuple[int, int] | None = None
    samples: int
    value: float
    standard_error: float | None = None
    r2: float | None = None
    held_out_r2: float | None = None
    held_out_error: float | None = None


class CostFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cost model of one instrument on bars of one length.

    Parameters
    ----------
    schema : str
    instrument_id : str
    bar_minutes : int
        The length of the bars that orders meet; sigma and volume are of such bars.
    costs : BarCosts
    notes : list of FitNote
    """

    schema: Literal["apex.costs/1"]
    instrument_id: str
    bar_minutes: int
    costs: BarCosts
    notes: list[FitNote] = []


def decode_cost_file(
    data: bytes, source: str, *, instrument_id: str, bar_minutes: int | None = None
) -> BarCosts:
    """Return the cost model in a cost file's bytes.

    Parameters
    ----------
    source : str
        The file's name, for messages.
    instrument_id, bar_minutes
        What it must be of; any length of bars where it is left out.

    Raises
    ------
    ValueError
        When it is not JSON, has an unknown field or a value out of range, or is of another instrument or
        length of bars; the message names file and field.
    """
    try:
        file = msgspec.json.decode(data, type=CostFile)
        file.costs.check()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ValueError(f"{source}: not a cost model: {readable(str(error), CostFile)}") from None
    if file.instrument_id != instrument_id:
        raise ValueError(
            f"{source}: instrument_id: the model is of {file.instrument_id}, not of {instrument_id}"
        )
    if bar_minutes is not None and file.bar_minutes != bar_minutes:
        raise ValueError(
            f"{source}: bar_minutes: the model is of bars of {file.bar_minutes} minutes, orders meet bars of "
            f"{bar_minutes}; fit it on those (apex data fit-costs --clock {bar_minutes}m)"
        )
    return file.costs


def encode_cost_file(file: CostFile) -> bytes:
    """Return the bytes of a cost file, indented.

    Raises
    ------
    ValueError
        When the model cannot be used.
    """
    file.costs.check()
    notes = [
        msgspec.structs.replace(note, **{
            name: None
            for name in ("standard_error", "r2", "held_out_r2", "held_out_error")
            if (value := getattr(note, name)) is not None and not math.isfinite(value)
        })
        for note in file.notes
    ]  # fmt: skip
    return (
        msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(file, notes=notes)), indent=2) + b"\n"
    )
