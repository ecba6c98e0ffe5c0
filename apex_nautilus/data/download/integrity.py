"""What proves that a file is whole: the venue's SHA-256, or the checksums inside a zip or gzip file."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from pathlib import Path

__all__ = ["Damaged", "check_packing", "read_checksum", "sha256_of"]

_BLOCK = 1 << 20
_CHECKSUM = re.compile(r"\s*\\?([0-9a-fA-F]{64})(?:\s|$)")
# Deflate packs at most 1032 to 1. Recordings come to 5 to 30; what unpacks to far more is no recording.
_MOST_PER_BYTE = 200
_MOST_AT_LEAST = 1 << 26


class Damaged(Exception):
    """A file that is not what the venue has; the message says how it shows."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksum(text: bytes) -> str:
    """Return the SHA-256 that a checksum file (``<hex>  <name>``) begins with.

    Raises
    ------
    Damaged
        When it does not begin with one.
    """
    match = _CHECKSUM.match(text.decode("ascii", "replace"))
    if match is None:
        raise Damaged(f"no SHA-256 at the beginning of the checksum file: {text[:40]!r}")
    return match[1].lower()


def check_packing(path: Path, packing: str) -> None:
    """Unpack a zip or gzip file block by block, keeping nothing, and hold it against the CRCs inside.

    Raises
    ------
    Damaged
        When the end is missing, a CRC does not fit, or it unpacks to more than any recording does.
    """
    most = max(_MOST_AT_LEAST, path.stat().st_size * _MOST_PER_BYTE)
    try:
        if packing == "zip":
            _check_zip(path, most)
        else:
            _check_gzip(path, most)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise Damaged(f"no whole {packing} file: {e}") from e


def _check_zip(path: Path, most: int) -> None:
    unpacked = 0
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as member:  # reading to the end compares the CRC
                while block := member.read(_BLOCK):
                    unpacked += len(block)
                    if unpacked > most:
                        raise Damaged(f"unpacks to more than {most:,} bytes")


def _check_gzip(path: Path, most: int) -> None:
    unpacked = 0
    with path.open("rb") as file:
        unpacker = zlib.decompressobj(wbits=31)  # compares CRC and length at the end of each member
        waiting = file.read(_BLOCK)
        if not waiting:
            raise EOFError("the file is empty")
        while waiting:
            unpacked += len(unpacker.decompress(waiting, _BLOCK))
            if unpacked > most:
                raise Damaged(f"unpacks to more than {most:,} bytes")
            waiting = unpacker.unconsumed_tail
            if unpacker.eof:
                waiting = unpacker.unused_data or file.read(_BLOCK)
                if not waiting:
                    return
                unpacker = zlib.decompressobj(wbits=31)
            elif not waiting:
                waiting = file.read(_BLOCK)
        # What is left in the unpacker when the file is at its end would show at `eof`.
        while block := unpacker.decompress(b"", _BLOCK):
            unpacked += len(block)
        if not unpacker.eof:
            raise EOFError("the data end in the middle")
