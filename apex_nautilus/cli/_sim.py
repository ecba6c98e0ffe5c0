"""What the verbs of `apex sim` share: which markets, for how long, and their configuration file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from apex_nautilus._field_errors import readable
from apex_nautilus.cli._numbers import FiniteRange

if TYPE_CHECKING:
    from apex_nautilus.sim import Population, Tape

__all__ = [
    "SCHEMA",
    "MarketChoice",
    "SimConfig",
    "market_options",
    "one_sided_note",
    "one_sided_seconds",
    "running",
    "seed_option",
    "utc",
]

SCHEMA = "apex.sim/1"


class _MarketConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One market: a profile and what differs from it."""

    profile: str
    parameters: dict[str, float | int] = {}
    start_price: float | None = None


class SimConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A file for ``--config``."""

    schema: str
    markets: list[_MarketConfig]
    seed: int | None = None
    minutes: float | None = None


seed_option = click.option("--seed", type=click.IntRange(min=0), help="Random seed (default: 1).")


def market_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options --config, --market, --set, --minutes and --seconds; `MarketChoice.of` takes them."""
    options = [
        click.option(
            "--config",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help=f'JSON: {{"schema": "{SCHEMA}", "markets": '
            '[{"profile": ID, "parameters": {NAME: VALUE}}]}.',
        ),
        click.option(
            "--market",
            "ids",
            multiple=True,
            metavar="ID",
            help="Profile to run, repeatable; see `parameters` (default: all three, or as said above).",
        ),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="NAME=VALUE",
            help="Change a parameter of every market that is run, repeatable; `start_price` too.",
        ),
        click.option(
            "--minutes",
            type=FiniteRange(min=0.0, max=1e6, min_open=True),
            help="Simulated minutes (default: 30, or as said above).",
        ),
        click.option(
            "--seconds",
            type=FiniteRange(min=0.0, max=6e7, min_open=True),
            help="Simulated seconds, in place of --minutes.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class MarketChoice:
    """What options and file ask for, checked before anything runs."""

    populations: list[Population]
    seed: int
    duration_ns: int

    @staticmethod
    def of(
        config: Path | None,
        ids: Sequence[str],
        changes: Sequence[str],
        minutes: float | None,
        seconds: float | None,
        seed: int | None = None,
        *,
        default_ids: Sequence[str] | None = None,
        default_minutes: float = 30.0,
    ) -> MarketChoice:
        """Bring options and file together; an option given on the command line wins.

        Raises
        ------
        click.ClickException
            Naming the field, its value and the bound it breaks.
        """
        from apex_nautilus.sim import PROFILES, PopulationError

        if config is not None and ids:
            raise click.ClickException("--config names its own markets; leave out --market")
        if minutes is not None and seconds is not None:
            raise click.ClickException("--minutes and --seconds: give one of them")
        named = list(dict.fromkeys(ids)) or list(PROFILES if default_ids is None else default_ids)
        markets = [_MarketConfig(name) for name in named]
        if config is not None:
            loaded = _load(config)
            markets = loaded.markets
            seed = loaded.seed if seed is None else seed
            if minutes is None and seconds is None:
                minutes = loaded.minutes
        changed = _parse(changes)
        populations = []
        for at, market in enumerate(markets):
            where = f"{config}: markets[{at}]: " if config is not None else ""
            population = _population(market, where)
            try:
                population = population.replace(**changed)
                population.check_rates()
            except PopulationError as error:
                raise click.ClickException(f"{'--set ' if changed else where}{error}") from None
            populations.append(population)
        total = seconds if seconds is not None else 60.0 * (default_minutes if minutes is None else minutes)
        return MarketChoice(populations, 1 if seed is None else seed, max(round(total * 1e9), 1))

    def tapes(self, *, record_orders: bool = False) -> Iterator[Tape]:
        """Run the markets one after the other, telling on the standard error how far they are."""
        from rich.console import Console

        from apex_nautilus.sim import Market

        with Console(stderr=True).status("compiling (the first time takes some seconds)") as status:
            for population in self.populations:
                name = population.instrument.id
                with running(name):
                    tape = Market(population, self.seed, record_orders=record_orders).run(
                        self.duration_ns,
                        progress=lambda share, name=name: status.update(f"{name}: {share:.0%}"),
                    )
                yield tape


@contextmanager
def running(name: str) -> Iterator[None]:
    """Turn what a market refuses into one clear message."""
    from apex_nautilus.sim import PopulationError

    try:
        yield
    except PopulationError as error:
        raise click.ClickException(f"{name}: {error}") from None


def one_sided_seconds(tape: Tape) -> float:
    """For how long on the tape a side of the book was empty.

    `TapeStats.one_sided_ns` counts from the market's birth, when nobody has quoted yet.
    """
    import numpy as np

    from apex_nautilus.features import FLAG_LAST, NO_ASK, NO_BID, Ladder

    touches = Ladder(capacity=None).apply(tape.events)
    times = tape.events["ts_event_ns"][(tape.events["flags"] & FLAG_LAST) != 0]
    empty = (touches[: len(times), 2] == NO_BID) | (touches[: len(times), 3] == NO_ASK)
    return float(np.diff(times, append=tape.end_ns)[empty].sum() * 1e-9)


def one_sided_note(name: str, empty_s: float) -> str | None:
    """What to say of a market that had no buyers or no sellers for a time; None when it always had both."""
    if not empty_s:
        return None
    return (
        f"{name}: one side of the book was empty for {empty_s:.3g} s; the market went on running. Raise "
        "limit_rate or the makers, or lower market_rate, if that is not wanted"
    )


def utc(ns: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _load(config: Path) -> SimConfig:
    try:
        loaded = msgspec.json.decode(config.read_bytes(), type=SimConfig)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{config}: {readable(str(error), SimConfig)}") from None
    if loaded.schema != SCHEMA:
        raise click.ClickException(f"{config}: schema: {loaded.schema!r} is not {SCHEMA!r}")
    if not loaded.markets:
        raise click.ClickException(f"{config}: markets: is empty")
    if loaded.seed is not None and loaded.seed < 0:
        raise click.ClickException(f"{config}: seed: {loaded.seed} is negative")
    if loaded.minutes is not None and not 0.0 < loaded.minutes < 1e6:
        raise click.ClickException(f"{config}: minutes: {loaded.minutes} is outside (0, 1e6)")
    return loaded


def _population(market: _MarketConfig, where: str) -> Population:
    from apex_nautilus.sim import PopulationError, profile

    try:
        changes: dict[str, Any] = dict(market.parameters)
        if market.start_price is not None:
            changes["start_price"] = market.start_price
        return profile(market.profile).replace(**changes)
    except KeyError as error:
        raise click.ClickException(f"{where}{error.args[0]}") from None
    except PopulationError as error:
        raise click.ClickException(f"{where}{error}") from None


def _parse(changes: Sequence[str]) -> dict[str, float]:
    from apex_nautilus.sim import PARAMETERS

    known = {row.name for row in PARAMETERS} | {"start_price"}
    parsed: dict[str, float] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        try:
            if not equals or not name:
                raise ValueError
            # A whole number stays one: counts are checked for it.
            parsed[name] = int(text) if text.strip().lstrip("+-").isdigit() else float(text)
        except ValueError:
            raise click.ClickException(
                f"--set {change!r} is not NAME=NUMBER; `apex sim parameters` lists the names"
            ) from None
        if name not in known:
            near = get_close_matches(name, sorted(known), n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see `apex sim parameters`"
            raise click.ClickException(f"--set {name}: no such parameter; {hint}")
    return parsed
