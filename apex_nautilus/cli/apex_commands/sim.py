"""Run simulated markets, look at them, measure them, and list what can be set.

Agents with latency trade on a real order book. The same seed always gives the same market, byte for byte. See
docs/simulator.md and docs/stylized-facts.md.
"""

from __future__ import annotations

import click

from apex_nautilus.cli._lazy import ModuleGroup


@click.command(cls=ModuleGroup, package="apex_nautilus.cli.sim_commands", help=__doc__)
def command() -> None:
    pass
