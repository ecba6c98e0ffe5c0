"""Reading the Arrow streams that Nautilus's streaming writer leaves, whole or torn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair, Instrument
from nautilus_trader.serialization.arrow.serializer import ArrowSerializer

from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers.report import RowLedger

__all__ = ["DEFINITIONS", "StreamFile", "find_instruments", "messages", "recording_folder", "stream_files"]

DEFINITIONS: dict[str, type[Instrument]] = {
    "crypto_perpetual": CryptoPerpetual,
    "currency_pair": CurrencyPair,
}
_STAMPED = re.compile(r"(.+)_(\d{10,20})\.feather")


@dataclass(frozen=True, order=True)
class StreamFile:
    """One stream file: when it was begun, what it holds (`order_book_deltas`, `bar`, …) and of what.

    `torn` says whether its end may be missing: it is the last of its line, the one that was open when the
    recorder stopped.
    """

    began_ns: int
    kind: str
    identifier: str
    path: Path
    torn: bool


def recording_folder(path: Path) -> Path:
    """Return the folder of a recording, named by itself, its `recording.json` or one of its files.

    Raises
    ------
    ImportRefused
        When no folder of a recording is there.
    """
    for folder in (path, *path.resolve().parents[:3]):
        if folder.is_dir() and (
            (folder / "recording.json").is_file() or any(folder.glob("crypto_perpetual_*.feather"))
        ):
            return folder
    raise ImportRefused(
        f"{path}: neither it nor a folder around it is a recording of Nautilus's streaming writer "
        "(config.json and crypto_perpetual_<time>.feather stand in it)"
    )


def stream_files(folder: Path) -> list[StreamFile]:
    """Return the per-instrument streams of a recording, in the order in which they were begun."""
    found = []
    for directory in sorted(p for p in folder.glob("*/*") if p.is_dir()):
        stamped = []
        for path in directory.glob("*.feather"):
            match = _STAMPED.fullmatch(path.name)
            if match is None:
                raise ImportRefused(f"{path}: expected <identifier>_<nanoseconds>.feather; remove the file")
            stamped.append((int(match[2]), path))
        newest = max((ns for ns, _ in stamped), default=0)
        found += [
            StreamFile(ns, directory.parent.name, directory.name, path, ns == newest) for ns, path in stamped
        ]
    return sorted(found)


def find_instruments(folder: Path) -> dict[str, Instrument]:
    """Return the instruments that a recording defines, by id; of several definitions the last."""
    found: dict[str, Instrument] = {}
    for name, cls in DEFINITIONS.items():
        for path in sorted(folder.glob(f"{name}_*.feather")):
            for batch in _batches(path):
                for instrument in ArrowSerializer.deserialize(cls, batch):
                    found[instrument.id.value] = instrument
    return found


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the whole record batches of a stream; the end of a torn one raises nothing."""
    with pa.OSFile(str(path)) as file:
        try:
            reader = pa.ipc.open_stream(file)
            yield from reader
        except (pa.ArrowInvalid, OSError):
            return


def messages(
    files: Sequence[StreamFile], rows: RowLedger, *, allow_truncated: bool
) -> Iterator[pa.RecordBatch]:
    """Yield what was written at once, one record batch a message, file after file.

    A torn end of the file that was open last is noted (`torn_end`, `empty_stream`): a killed recorder leaves
    one. Anywhere else it means that data are missing in the middle.

    Raises
    ------
    ImportRefused
        When another file than the last is torn and `allow_truncated` does not accept that.
    """
    for file in files:
        rows.place, rows.line = file.path.name, 0
        with pa.OSFile(str(file.path)) as source:
            size = source.size()
            try:
                reader = pa.ipc.open_stream(source)
            except (pa.ArrowInvalid, OSError):
                _torn(file, rows, "empty_stream", f"no schema in {size} bytes", allow_truncated)
                continue
            while True:
                rows.line += 1
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
                except (pa.ArrowInvalid, OSError) as e:
                    _torn(file, rows, "torn_end", f"message {rows.line}: {e}", allow_truncated)
                    break
                if batch.num_rows:
                    yield batch


def _torn(file: StreamFile, rows: RowLedger, reason: str, detail: str, allow_truncated: bool) -> None:
    if not (file.torn or allow_truncated):
        raise ImportRefused(
            f"{file.path}: the stream ends in the middle ({detail}) though newer files follow it: data are "
            "missing. Keep what is whole with --allow-truncated"
        )
    rows.note(reason)
