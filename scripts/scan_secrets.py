#!/usr/bin/env python3
"""Refuse key-like strings, private keys and package-registry addresses in tracked files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 2_000_000

RULES = {
    "an assigned key or secret": re.compile(
        r"(?i)(api|secret|access|private)[_-]?(key|secret|token)?['\"]?\s*[:=]\s*['\"][A-Za-z0-9/+_-]{16,}['\"]"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a cloud access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a package index address": re.compile(
        r"(?i)(--?(extra-)?index-url|find-links|registry)\s*[= ]\s*https?://"
    ),
}


def tracked_files() -> list[Path]:
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    return [ROOT / name.decode() for name in out.split(b"\0") if name]


def findings(path: Path) -> list[str]:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MAX_BYTES:
        return []
    data = path.read_bytes()
    if b"\0" in data:
        return []
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        for what, pattern in RULES.items():
            if pattern.search(line):
                # The line itself is not printed: it may hold the secret.
                found.append(f"{path.relative_to(ROOT)}:{number}: looks like {what}")
    return found


def main() -> int:
    found = [line for path in tracked_files() for line in findings(path)]
    print("\n".join(found) if found else "scan: no key-like strings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
