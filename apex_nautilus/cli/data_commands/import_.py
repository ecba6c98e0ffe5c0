"""Bring recordings of other people's making into a catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from apex_nautilus.cli._data import (
    catalog_option,
    clear_errors,
    json_option,
    max_bad_option,
    paths_argument,
    replace_option,
    show_reports,
)
from apex_nautilus.cli._numbers import FiniteRange
from apex_nautilus.data import DataError
from apex_nautilus.data.importers import registry

_CLICK_TYPES: dict[type, click.ParamType] = {
    str: click.STRING,
    int: click.INT,
    float: FiniteRange(),
    Path: click.Path(path_type=Path, exists=True, dir_okay=False),
}


class _Kinds(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(registry.kinds())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        try:
            return _command(registry.get(cmd_name))
        except DataError as e:
            raise click.UsageError(str(e), ctx) from e


@click.command(cls=_Kinds, name="import", help=__doc__)
def command() -> None:
    pass


def _command(importer: registry.Importer) -> click.Command:
    def run(paths: tuple[Path, ...], as_json: bool, **kwargs: Any) -> None:
        with clear_errors():
            reports = importer.run(paths, progress=lambda text: click.echo(text, err=True), **kwargs)
        show_reports(reports, as_json)

    decorated: Any = run
    for option in reversed(importer.options):
        decorated = _option(option)(decorated)
    if importer.allow_truncated:
        decorated = click.option(
            "--allow-truncated", is_flag=True, help="Keep what is whole of a file whose end is missing."
        )(decorated)
    if importer.instrument != "never":
        decorated = click.option(
            "--instrument",
            required=importer.instrument == "required",
            default=None,
            metavar="ID",
            help="Nautilus instrument id, BTCUSDT-PERP.BINANCE or BTCUSDT-LINEAR.BYBIT"
            + ("." if importer.instrument == "required" else "; by default read off the source."),
        )(decorated)
    for shared in (json_option, replace_option, max_bad_option, catalog_option, paths_argument):
        decorated = shared(decorated)
    first_line = importer.help.partition("\n")[0]
    return click.command(importer.kind, help=importer.help, short_help=first_line)(decorated)


def _option(option: registry.ImporterOption) -> Any:
    flag = "--" + option.name.replace("_", "-")
    if option.type is bool:
        return click.option(flag, option.name, is_flag=True, default=bool(option.default), help=option.help)
    kind = click.Choice(option.choices) if option.choices else _CLICK_TYPES[option.type]
    return click.option(
        flag,
        option.name,
        type=kind,
        default=option.default,
        show_default=option.default is not None,
        help=option.help,
    )
