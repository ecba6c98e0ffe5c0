"""Check configurations before they run; show them with their defaults."""

from __future__ import annotations

import click

from apex_nautilus.cli._lazy import ModuleGroup

__all__ = ["command"]


@click.command(cls=ModuleGroup, package="apex_nautilus.cli.config_commands")
def command() -> None:
    """Check configurations before they run; show them with their defaults."""
