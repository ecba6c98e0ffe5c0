"""Genome to bytes and back, and the id of what acts.

`decode` is the only door for foreign files: whatever is wrong raises `GenomeError`, within bounded time and
memory, and nothing of the content is ever executed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Collection
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.genome._parser import parse
from apex_nautilus.genome.errors import GenomeError
from apex_nautilus.genome.schema import MAX_FILE_BYTES, Artifact, Genome, Node
from apex_nautilus.genome.trees import tree_from_json, tree_to_json
from apex_nautilus.genome.validation import validate

_TREES = ("signal", "confidence", "size")
#: Fields that do not act: they say where a genome comes from and how it did.
_SILENT = ("id", "provenance", "evidence")
#: An artifact beside a genome is read at most this far.
MAX_ARTIFACT_BYTES = 256 * 1024 * 1024
_TYPES = {field.name: field.type for field in msgspec.structs.fields(Genome)}

CONVERT_HINT = "this is the older form; turn it with: apex-forge convert --instrument ID --dataset D"


def decode(data: bytes, *, known_features: Collection[str], source: str = "<bytes>") -> Genome:
    """Read a genome and check all of it.

    Parameters
    ----------
    data : bytes
        The file's content, UTF-8 JSON, at most 256 KiB.
    known_features : collection of str
        Names of the feature registry.
    source : str
        File name for error messages.

    Returns
    -------
    Genome
        With its id set; an id in the file must be the right one.

    Raises
    ------
    GenomeError
        Whatever is wrong, with source, JSON path and limit.
    """
    value = parse(data, source)
    if not isinstance(value, dict):
        raise GenomeError("a genome is a JSON object", source=source)
    if "root" in value and "schema" not in value:
        raise GenomeError(CONVERT_HINT, path="root", source=source)
    if "schema" not in value:
        raise GenomeError("the field is missing", path="schema", source=source)
    for name in value:
        if name not in _TYPES:
            near = difflib.get_close_matches(name[:64], _TYPES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise GenomeError(f"unknown field {name[:64]!a}{hint}", source=source)
    head: dict[str, object] = dict(value)
    for name in _TREES:
        if head.get(name) is not None:
            head[name] = tree_from_json(head[name], name, source)
    try:
        genome = msgspec.convert(head, Genome)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `")
        path = where.rstrip("`").removeprefix("$").removeprefix(".")
        raise GenomeError(reason, path=path, source=source) from None
    except (OverflowError, RecursionError, ValueError) as error:
        raise GenomeError(f"{type(error).__name__}: {str(error)[:200]}", source=source) from None
    validate(genome, known_features, source)
    right = genome_id(genome)
    if genome.id and genome.id != right:
        raise GenomeError(
            f"{genome.id[:32]!r} does not belong to the content, whose id is {right!r}; "
            "a changed genome is another genome, drop the field to have it computed",
            path="id",
            source=source,
        )
    return msgspec.structs.replace(genome, id=right)


def load(path: str | Path, *, known_features: Collection[str]) -> Genome:
    """Read a genome file, and check the artifact beside it if it names one.

    Raises
    ------
    GenomeError
        As `decode`; also when the file cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise GenomeError(f"cannot be read: {error.strerror}", source=path.name) from error
    genome = decode(data, known_features=known_features, source=path.name)
    if genome.artifact is not None:
        check_artifact(genome.artifact, path.parent, source=path.name)
    return genome


def encode(genome: Genome) -> bytes:
    """The file of a genome: one field a line, each tree on its own line, fields in a fixed order.

    Fields that stand at their default None are left out. Reading it back gives an equal genome.

    Raises
    ------
    GenomeError
        When a number is not finite or the file would exceed 256 KiB.
    """
    lines = []
    for name, value in _fields(genome).items():
        if value is None or (name == "id" and not value):
            continue
        compact = name in _TREES
        text = json.dumps(value, indent=None if compact else 2, ensure_ascii=False)
        lines.append(f"  {json.dumps(name)}: " + text.replace("\n", "\n  "))
    data = ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    if len(data) > MAX_FILE_BYTES:
        raise GenomeError(f"{len(data)} bytes, the limit is {MAX_FILE_BYTES} (256 KiB)")
    return data


def canonical_json(genome: Genome) -> bytes:
    """What acts, in one spelling: keys sorted, no spaces, shortest round-trip floats, 0.0 for -0.0.

    Defaults are written out, so a file that leaves them out has the same id as one that states them.
    """
    acting = {name: value for name, value in _fields(genome).items() if name not in _SILENT}
    return json.dumps(acting, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def genome_id(genome: Genome) -> str:
    """First 16 hex digits of the SHA-256 of `canonical_json`."""
    return hashlib.sha256(canonical_json(genome)).hexdigest()[:16]


def sealed(genome: Genome) -> Genome:
    """The genome with its id set."""
    return msgspec.structs.replace(genome, id=genome_id(genome))


def check_artifact(artifact: Artifact, folder: Path, *, source: str = "<genome>") -> Path:
    """Check the file beside a genome against its SHA-256.

    Parameters
    ----------
    artifact : Artifact
        Of a validated genome: its name holds no separator.
    folder : Path
        Where the genome's JSON lies.

    Returns
    -------
    Path
        The artifact.

    Raises
    ------
    GenomeError
        When the file is absent, not a regular file, larger than 256 MiB, or another file.
    """
    path = folder / artifact.file
    if path.name != artifact.file or path.is_symlink() or not path.is_file():
        raise GenomeError(
            f"{artifact.file[:64]!r} is not a regular file beside the genome",
            path="artifact.file",
            source=source,
        )
    if path.stat().st_size > MAX_ARTIFACT_BYTES:
        raise GenomeError(
            f"{path.stat().st_size} bytes, the limit is {MAX_ARTIFACT_BYTES}",
            path="artifact.file",
            source=source,
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact.sha256:
        raise GenomeError(
            f"the file {artifact.file!r} has SHA-256 {found}", path="artifact.sha256", source=source
        )
    return path


def _fields(genome: Genome) -> dict[str, object]:
    """The genome as JSON values, by field, in one spelling of each number.

    A whole number in a float field (``BpsStop(value=10)``) becomes 10.0, as it would when read back; -0.0
    becomes 0.0; numpy scalars become Python's.
    """
    result: dict[str, object] = {}
    for name, kind in _TYPES.items():
        value = getattr(genome, name)
        if isinstance(value, Node):
            result[name] = tree_to_json(value)
            continue
        try:
            typed = msgspec.convert(_builtins(value), kind)
        except msgspec.ValidationError as error:
            raise GenomeError(str(error), path=name) from None
        result[name] = _plain(_builtins(typed), name)
    return result


def _builtins(value: object) -> object:
    return msgspec.to_builtins(value, enc_hook=_unwrap)


def _unwrap(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise GenomeError(f"{type(value).__name__} has no place in a genome")


def _plain(value: object, path: str) -> object:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise GenomeError(f"{value!r} is not finite", path=path)
        return value + 0.0
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise GenomeError("a lone surrogate in a string", path=path) from None
    if isinstance(value, dict):
        return {name: _plain(item, f"{path}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    return value
