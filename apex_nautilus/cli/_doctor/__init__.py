"""What `apex doctor` looks at: the machine, the installation, and the folder it is run in.

A check is one module in `checks/` with a function ``check(place) -> iterable of Finding``; it is found by
import. Checks read and measure; the only thing they write is a file of their own that is gone again at
once.
"""

from apex_nautilus.cli._doctor.finding import Finding, Place, State, run_checks

__all__ = ["Finding", "Place", "State", "run_checks"]
