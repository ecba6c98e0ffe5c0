"""Lines of a recording: plain text, gzip, zstd, or the one file inside a zip; memory stays flat.

A line that is too long to be a message, and a file whose end is missing, end the reading with an error that
says where. Nothing here knows what the lines mean.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from apex_nautilus.data.errors import ImportRefused
from apex_nautilus.data.importers.report import RowLedger

__all__ = ["LONGEST_LINE", "lines", "unpacked"]

LONGEST_LINE = 1 << 24
_BLOCK = 1 << 18
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"


class _Truncated(Exception):
    pass


class _Zstd:
    """A zstd stream as a file. Arrow ends a cut stream in silence or with an error, by where the cut is."""

    def __init__(self, path: Path, stack: ExitStack):
        self._stream = stack.enter_context(
            pa.CompressedInputStream(stack.enter_context(pa.OSFile(str(path), "rb")), "zstd")
        )

    def read1(self, size: int) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as e:
            if "runcated" in str(e):
                raise _Truncated from e
            raise


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file and read through its packing (told by its first bytes, not its name).

    Raises
    ------
    ImportRefused
        When a zip holds anything but one file.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        head = file.read(4)
        file.seek(0)
        if head.startswith(_GZIP):
            yield cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
        elif head == _ZSTD:
            yield cast(Any, _Zstd(path, stack))
        elif head == _ZIP:
            packed = stack.enter_context(zipfile.ZipFile(file))
            members = [m for m in packed.infolist() if not m.is_dir()]
            if len(members) != 1:
                raise ImportRefused(f"{path}: a zip of {len(members)} files; expected one recording in it")
            yield stack.enter_context(packed.open(members[0]))
        else:
            yield file


def lines(path: Path, rows: RowLedger, *, allow_truncated: bool = False) -> Iterator[bytes]:
    """Yield the lines of a recording without their newline; `rows.line` counts them.

    Raises
    ------
    ImportRefused
        When the file cannot be read, a line is longer than 16 MiB, or the end of packed data is missing and
        `allow_truncated` is not set.
    """
    rows.place, rows.line = path.name, 0
    rest = b""
    packed = False
    try:
        with unpacked(path) as stream:
            packed = not _is_plain(stream)
            while block := _some(stream):
                *whole, rest = (rest + block).split(b"\n") if rest else block.split(b"\n")
                for line in whole:
                    rows.line += 1
                    yield line
                if len(rest) > LONGEST_LINE:
                    raise ImportRefused(
                        f"{path}: line {rows.line + 1} is longer than {LONGEST_LINE >> 20} MiB; this is no "
                        "recording of one message a line"
                    )
    except (EOFError, _Truncated):
        if not allow_truncated:
            raise ImportRefused(
                f"{path}: the packed data end in the middle, after line {rows.line}: the file is truncated. "
                "Fetch it again, or keep what is whole with --allow-truncated"
            ) from None
        rows.note("truncated_file")
        rest = b""  # half a line
    except (
        OSError,
        zlib.error,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        pa.ArrowException,
    ) as e:
        # RuntimeError: a zip with a password; NotImplementedError: a packing that Python does not know.
        raise ImportRefused(f"{path}: cannot be read after line {rows.line}: {e}") from e
    if rest:
        if packed:
            rows.note("no_newline_at_end")  # what a killed recorder leaves
        rows.line += 1
        yield rest


def _some(stream: Any) -> bytes:
    # Not `read`: what was unpacked before the place of a cut would be lost with the error.
    return stream.read1(_BLOCK)


def _is_plain(stream: Any) -> bool:
    return not isinstance(stream, gzip.GzipFile | _Zstd | zipfile.ZipExtFile)
