"""List the features that strategies see; draw them over a market."""

from __future__ import annotations

import click

from apex_nautilus.cli._lazy import ModuleGroup


@click.command(cls=ModuleGroup, package="apex_nautilus.cli.features_commands", help=__doc__)
def command() -> None:
    pass
