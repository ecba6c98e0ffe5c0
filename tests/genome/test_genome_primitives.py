"""The table of primitives and the page that shows it."""

from __future__ import annotations

import re

from apex_nautilus.genome import (
    MAX_CONSTANT,
    MAX_DEPTH,
    MAX_FEATURES,
    MAX_FILE_BYTES,
    MAX_KNOTS,
    MAX_NODES,
    PRIMITIVES,
    WINDOWS,
    Genome,
)
from apex_nautilus.genome.reference import _PLAIN


def test_the_documented_table_is_the_table(root):
    page = (root / "docs" / "genome.md").read_text()
    shown = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| (float|bool) \| (.*) \|$", page, re.MULTILINE)
    table = [
        (p.name, ", ".join(p.arguments), p.result, p.doc.replace("|", "\\|")) for p in PRIMITIVES.values()
    ]
    assert shown == table


def test_the_documented_limits_are_the_limits(root):
    page = (root / "docs" / "genome.md").read_text()
    for line in (
        f"| file | {MAX_FILE_BYTES // 1024} KiB |",
        f"| nodes of a tree | {MAX_NODES} |",
        f"| depth of a tree (edges from the root) | {MAX_DEPTH} |",
        f"| constants | finite, magnitude at most 1e{round(len(str(int(MAX_CONSTANT))) - 1)} |",
        f"| features | {MAX_FEATURES}, all known, each once |",
        f"| knots of a calibration | {MAX_KNOTS} |",
        "k is one of " + ", ".join(map(str, WINDOWS)),
    ):
        assert line in page


def test_every_field_of_the_file_is_documented(root):
    page = (root / "docs" / "genome.md").read_text()
    for name in Genome.__struct_fields__:
        assert f"`{name}`" in page


def test_opcodes_are_distinct_and_every_primitive_has_its_plain_twin():
    codes = [p.opcode for p in PRIMITIVES.values()]
    assert len(set(codes)) == len(codes)
    assert set(_PLAIN) == {p.name for p in PRIMITIVES.values() if not p.windowed}
