"""Query what the arena and the Forge wrote down: agents, trades, verdicts, swaps, trials."""

from __future__ import annotations

import click

from apex_nautilus.cli._lazy import ModuleGroup

__all__ = ["command"]


class _LedgerGroup(ModuleGroup):
    """What is no verb is the ROOT of `lines`: ``apex ledger runs/x`` is ``apex ledger lines runs/x``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_help = any(a in ctx.help_option_names for a in args[:1])
        if not args or (not wants_help and args[0] not in self.list_commands(ctx)):
            args = ["lines", *args]
        return super().parse_args(ctx, args)


@click.command(cls=_LedgerGroup, package="apex_nautilus.cli.ledger_commands")
def command() -> None:
    """Query what the arena and the Forge wrote down: agents, trades, verdicts, swaps, trials.

    Each verb takes a catalog or the folder of a run. Without a verb the lines themselves are printed.
    """
