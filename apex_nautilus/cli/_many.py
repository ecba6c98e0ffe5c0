"""One market under many seeds: a file a seed, so that what is done stays done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np

from apex_nautilus.sim import PARAMETERS, Market, Population, PopulationError
from apex_nautilus.store.atomic import write_atomic

__all__ = ["Job", "run_missing", "show_many"]

_SCHEMA = "apex.sim-many/1"


@dataclass(frozen=True, slots=True)
class Job:
    """What is run under each seed."""

    population: Population
    duration_ns: int
    resamples: int

    def header(self) -> dict[str, Any]:
        """What two files of one folder must agree in."""
        return {
            "schema": _SCHEMA,
            "market": self.population.instrument.id,
            "seconds": self.duration_ns * 1e-9,
            "start_price": self.population.start_price,
            "parameters": {row.name: getattr(self.population, row.name) for row in PARAMETERS},
            "resamples": self.resamples,
        }


def run_seed(job: Job, seed: int) -> dict[str, Any]:
    """Run and measure one seed."""
    from apex_nautilus.cli._facts import measured_json
    from apex_nautilus.cli._sim import one_sided_seconds
    from apex_nautilus.sim.stylized_facts import observe_tape, stylized_facts

    tape = Market(job.population, seed).run(job.duration_ns)
    measured = stylized_facts(observe_tape(tape), np.random.default_rng(seed), resamples=job.resamples)
    return {
        "seed": seed,
        "digest": tape.digest(),
        "one_sided_s": one_sided_seconds(tape),
        "stats": asdict(tape.stats),
        "facts": measured_json(measured),
    }


def run_missing(job: Job, seeds: Sequence[int], out: Path, workers: int) -> list[dict[str, Any]]:
    """Run the seeds that have no file yet; returns the results of all, in the order of the seeds.

    Raises
    ------
    click.ClickException
        When the folder holds another market's files, or a market cannot be run.
    """
    header = job.header()
    results: dict[int, dict[str, Any]] = {}
    missing = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        _check_folder(out, header)
        for seed in seeds:
            path = _path(out, seed)
            if path.exists():
                results[seed] = _read(path)
            else:
                missing.append(seed)
        if missing:
            _run(job, missing, out, workers, results)
    except OSError as error:
        raise click.ClickException(str(error)) from None
    except PopulationError as error:
        raise click.ClickException(f"{header['market']}: {error}") from None
    return [results[seed] for seed in seeds]


def _run(job: Job, missing: list[int], out: Path, workers: int, results: dict[int, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    def keep(result: dict[str, Any]) -> None:
        results[result["seed"]] = result
        write_atomic(_path(out, result["seed"]), (json.dumps(result, indent=1) + "\n").encode())
        bar.advance(task)

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("seeds", total=len(missing))
        if workers == 1 or len(missing) == 1:
            for seed in missing:
                keep(run_seed(job, seed))
            return
        with ProcessPoolExecutor(min(workers, len(missing)), mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(run_seed, job, seed) for seed in missing]
            try:
                for future in as_completed(futures):
                    keep(future.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _check_folder(out: Path, header: dict[str, Any]) -> None:
    path = out / "market.json"
    if not path.exists():
        write_atomic(path, (json.dumps(header, indent=1) + "\n").encode())
        return
    stored = _read(path)
    if stored == header:
        return
    keys = [k for k in header if k != "parameters" and stored.get(k) != header[k]]
    theirs = stored.get("parameters") or {}
    keys += [k for k, v in header["parameters"].items() if theirs.get(k) != v]
    name = keys[0] if keys else "parameters"
    was = theirs.get(name, stored.get(name))
    now = header["parameters"].get(name, header.get(name))
    raise click.ClickException(
        f"{path}: {name} was {was!r} and is now {now!r}; a folder holds one market: name another with --out"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise click.ClickException(f"{path}: not JSON: {error}; remove the file to run it again") from None
    if not isinstance(content, dict):
        raise click.ClickException(f"{path}: not what this command wrote; remove the file to run it again")
    return content


def _path(out: Path, seed: int) -> Path:
    return out / f"seed-{seed:06d}.json"


def show_many(job: Job, results: list[dict[str, Any]], out: Path, as_json: bool) -> None:
    """Print each seed, or how the facts spread over the seeds."""
    from apex_nautilus.cli._show import console_of_width, show_table
    from apex_nautilus.sim.facts import facts

    if as_json:
        for result in results:
            click.echo(json.dumps(result))
        return
    rows = []
    for fact in facts().values():
        for at, point in enumerate(fact.points):
            values = [r["facts"][fact.name]["values"][point] for r in results]
            known = np.array([v for v in values if v is not None])
            cells = ["-"] * 4
            if len(known):
                deviation = f"{known.std(ddof=1):.2g}" if len(known) > 1 else "-"
                cells = [f"{known.mean():,.4g}", deviation, f"{known.min():,.4g}", f"{known.max():,.4g}"]
            name, unit = (fact.name, fact.unit) if at == 0 else ("", "")
            rows.append([name, point, unit, *cells, str(len(known))])
    title = f"{job.population.instrument.id}, {job.duration_ns / 60e9:g} min, {len(results)} seeds, in {out}"
    headers = ["fact", "at", "unit", "mean", "deviation", "least", "most", "seeds"]
    console = console_of_width()
    show_table(console, title, headers, rows)
    if empty := [r["seed"] for r in results if r["one_sided_s"] > 0.0]:
        total = sum(r["one_sided_s"] for r in results)
        console.print(
            f"one side of the book was empty at times in {len(empty)} of {len(results)} seeds, {total:.3g} s "
            f"in all (first: seed {empty[0]}); the markets went on running"
        )
