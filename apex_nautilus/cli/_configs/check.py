"""Everything that is wrong with a file, each with the field it is at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from apex_nautilus.cli._configs.kind import Kind, Reference, find_kind
from apex_nautilus.cli._configs.secrets import find_secrets
from apex_nautilus.cli._configs.shape import Problem, shape_problems

__all__ = ["Problem", "Report", "check_file", "read_file"]

_MAX_BYTES = 4 * 1024 * 1024


class Report(msgspec.Struct, frozen=True):
    """What was found in one file; `kind` is empty where it could not be told."""

    file: str
    kind: str
    problems: list[Problem]


class _Duplicates(Exception):
    """Raised out of the JSON parser at a name that an object has twice."""


def check_file(path: Path, kind: str | None = None, *, references: bool = True) -> Report:
    """Check one file.

    First what JSON allows, then keys that belong into the environment, then each field by name and type, then
    what the programs' own loader says of the whole, last whether the paths it names are there. A later
    question is only asked when the earlier ones found nothing that would make its answer a guess. Without
    `references` the last one is not.
    """
    data, problems = read_file(path)
    if problems:
        return Report(str(path), kind or "", problems)
    found = find_kind(data, kind)
    problems = find_secrets(data)
    if isinstance(found, str):
        field, _, message = found.partition(": ")
        return Report(str(path), "", [*problems, Problem(field, message)])
    wrong = [] if found.shape is None else shape_problems(data, found.shape())
    secret = {problem.field for problem in problems}
    problems += [problem for problem in wrong if problem.field not in secret]
    if not problems:
        problems = _load_problems(found, path, references)
    return Report(str(path), found.name, problems)


def read_file(path: Path) -> tuple[Any, list[Problem]]:
    """The JSON value in a file, or what keeps it from being one."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None, [Problem("", f"{path.stat().st_size:,} bytes; a configuration has at most 4 MiB")]
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return None, [Problem("", f"cannot be read ({error.strerror or error})")]
    except UnicodeDecodeError as error:
        return None, [Problem("", f"not UTF-8 text (byte {error.start})")]
    try:
        return json.loads(text, object_pairs_hook=_unique), []
    except json.JSONDecodeError as error:
        line, column, what = _where_and_what(text, error)
        return None, [Problem(f"line {line}, column {column}", f"not JSON: {what}")]
    except _Duplicates as error:
        return None, [Problem(str(error), "stands twice in one object; remove one of them")]
    except RecursionError:
        return None, [Problem("", "nested too deeply for a configuration")]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise _Duplicates(name)
        seen[name] = value
    return seen


def _where_and_what(text: str, error: json.JSONDecodeError) -> tuple[int, int, str]:
    """Line, column and, of a common mistake, its name; Python's versions tell some differently."""
    at, rest = error.pos, text[error.pos :]
    before = text[:at].rstrip()
    if error.msg.startswith("Illegal trailing comma") or (before.endswith(",") and rest[:1] in ("}", "]")):
        at = at if rest[:1] == "," else len(before) - 1
        what = "a comma before the closing bracket; remove it"
    elif rest[:1] == "#" or rest[:2] in ("//", "/*"):
        what = "JSON knows no comments; remove it"
    elif rest[:1] == "'":
        what = "texts and names stand in double quotes"
    else:
        what = error.msg[:1].lower() + error.msg[1:]
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at), what


def _load_problems(kind: Kind, path: Path, references: bool) -> list[Problem]:
    from apex_nautilus.forge import ForgeError
    from apex_nautilus.store import StoreError

    try:
        loaded = kind.load(path)
    except (ValueError, msgspec.MsgspecError, ForgeError, StoreError) as error:
        return [_from_message(str(error), path)]
    except OSError as error:
        return [Problem("", f"{error.filename or path}: {error.strerror or error}")]
    if not references:
        return []
    return [problem for reference in kind.references(loaded) if (problem := _missing(reference))]


def _from_message(message: str, path: Path) -> Problem:
    """Take a loader's ``FILE: FIELD: what`` apart."""
    message = message.removeprefix(f"{path}: ")
    field, colon, rest = message.partition(": ")
    if colon and re.fullmatch(r"[A-Za-z_][\w.\[\]]*(, [\w.\[\]]+)*", field):
        return Problem(field, rest)
    return Problem("", message)


def _missing(reference: Reference) -> Problem | None:
    path, what = reference.path, reference.what
    if what == "file":
        return None if path.is_file() else Problem(reference.field, f"no such file: {path}")
    if not path.is_dir():
        return Problem(reference.field, f"no such folder: {path}")
    if what == "market" and not (path / "data").is_dir():
        return Problem(
            reference.field,
            f"{path} is no market catalog yet (it has no `data` folder); import data into it first",
        )
    return None
