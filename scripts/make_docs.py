#!/usr/bin/env python3
"""Make the generated parts of docs/ anew: the tables of features, between their markers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from apex_nautilus.features.reference import feature_table

DOCS = Path(__file__).resolve().parents[1] / "docs"


def filled(page: str, kind: str) -> str:
    """`page` with the table of one kind of feature between its markers."""
    begin, end = f"<!-- {kind} features: begin -->\n", f"<!-- {kind} features: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"docs/features.md: the markers {begin.strip()} and {end} are missing")
    return pattern.sub(lambda _: begin + feature_table(kind) + end, page)


def main() -> int:
    path = DOCS / "features.md"
    before = path.read_text(encoding="utf-8")
    after = before
    for kind in ("book", "bar", "external"):
        after = filled(after, kind)
    if after == before:
        print("docs: nothing has changed")
    else:
        path.write_text(after, encoding="utf-8")
        print("docs: wrote docs/features.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
