"""Import, download, record, simulate and inspect market data; build datasets.

Everything lands in a Nautilus data catalog (`--catalog`), whole or not at all. What an import refused, and
why, is counted and kept with the data.
"""

from __future__ import annotations

import click

from apex_nautilus.cli._lazy import ModuleGroup


@click.command(cls=ModuleGroup, package="apex_nautilus.cli.data_commands", help=__doc__)
def command() -> None:
    pass
