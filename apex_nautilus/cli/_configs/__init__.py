"""The kinds of files that a person writes, and what is wrong with one of them.

In: the path of a JSON file. Out: its kind, everything wrong with it (`check_file`), or its fields with the
defaults filled in (`resolve_file`). A kind is one module in `kinds/` that makes a `Kind` called `KIND`; it is
found by import.
"""

from apex_nautilus.cli._configs.check import Problem, Report, check_file
from apex_nautilus.cli._configs.kind import Kind, Reference, known_kinds
from apex_nautilus.cli._configs.resolve import Field, resolve_file

__all__ = [
    "Field",
    "Kind",
    "Problem",
    "Reference",
    "Report",
    "check_file",
    "known_kinds",
    "resolve_file",
]
