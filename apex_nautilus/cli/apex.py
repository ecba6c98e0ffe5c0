"""Entry point of `apex`: market data, simulation, backtests and the arena."""

from __future__ import annotations

import click

from apex_nautilus import __version__
from apex_nautilus.cli._lazy import ModuleGroup

__all__ = ["main"]


@click.command(
    cls=ModuleGroup,
    package="apex_nautilus.cli.apex_commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, package_name="apex_nautilus")
def main() -> None:
    """Trade, judge and swap evolved strategies on NautilusTrader."""


if __name__ == "__main__":
    main()
