"""What the Watchtower's thresholds do to agents whose edge is known."""

from __future__ import annotations

import click

from apex_nautilus.cli._lazy import ModuleGroup

__all__ = ["command"]


@click.command(cls=ModuleGroup, package="apex_nautilus.cli.watchtower_commands")
def command() -> None:
    """What the Watchtower's thresholds do to agents whose edge is known."""
