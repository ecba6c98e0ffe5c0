"""Python and the packages that this one names: there, new enough, importable."""

from __future__ import annotations

import importlib
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check", "meets"]

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_BOUND = re.compile(r"(>=|<=|==|!=|~=|<|>)\s*([0-9][0-9.]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
#: What a package is imported as, where that is not its name.
_MODULES = {"python-flint": "flint"}


def check(place: Place) -> Iterator[Finding]:
    yield _python()
    try:
        wanted = metadata.requires("apex_nautilus") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages", "warn",
            "apex_nautilus is not installed, only on the path: its requirements are unknown",
            "pip install -e . in the checkout",
        )  # fmt: skip
        return
    missing: list[str] = []
    held = 0
    extras: dict[str, list[str]] = {}
    for line in wanted:
        extra = _EXTRA.search(line)
        problem = _problem(line.partition(";")[0].strip())
        if extra is not None:
            extras.setdefault(extra.group(1), []).extend([problem] if problem else [])
        elif problem:
            missing.append(problem)
        else:
            held += 1
    if missing:
        yield Finding("packages", "fail", "; ".join(missing), "pip install --upgrade apex_nautilus")
    else:
        nautilus = metadata.version("nautilus_trader")
        yield Finding("packages", "ok", f"all {held} there and importable; NautilusTrader {nautilus}")
    for extra, problems in sorted(extras.items()):
        mend = f"only if you use it: pip install 'apex_nautilus[{extra}]'" if problems else ""
        yield Finding(
            f"extra {extra}", "warn" if problems else "ok", "; ".join(problems) or "installed", mend
        )


def _python() -> Finding:
    found = f"Python {platform.python_version()} ({sys.executable})"
    if (3, 12) <= sys.version_info[:2] < (3, 15):
        return Finding("python", "ok", found)
    return Finding("python", "fail", found, "use Python 3.12, 3.13 or 3.14")


def _problem(requirement: str) -> str:
    """What is wrong with one requirement, as ``numba 0.50 (needs >=0.61)``; empty when met."""
    name = _NAME.match(requirement)
    if name is None:
        return ""
    bounds = requirement[name.end() :]
    try:
        version = metadata.version(name.group())
    except metadata.PackageNotFoundError:
        return f"{name.group()} is not installed"
    if not meets(version, bounds):
        return f"{name.group()} {version} (needs {bounds.strip()})"
    module = _MODULES.get(name.group(), name.group().replace("-", "_"))
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken extension module may raise anything
        return f"{name.group()} {version} cannot be imported ({error})"
    return ""


def meets(version: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as ``>=1.231,<2``; only the numbers in front are compared."""
    have = _numbers(version)
    for sign, text in _BOUND.findall(bounds):
        want = _numbers(text)
        width = max(len(have), len(want))
        a, b = have + (0,) * (width - len(have)), want + (0,) * (width - len(want))
        held = {
            ">=": a >= b, "<=": a <= b, ">": a > b, "<": a < b, "==": a == b, "!=": a != b,
            "~=": a >= b and a[: len(want) - 1] == want[:-1],
        }[sign]  # fmt: skip
        if not held:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    digits = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in digits.group().split(".")) if digits else ()
