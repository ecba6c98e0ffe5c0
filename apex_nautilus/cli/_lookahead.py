"""What `apex lookahead` examines: a genome on market data or on a dataset, or a whole backtest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from apex_nautilus.data import (
    Dataset,
    bar_types,
    load_instrument,
    read_bars,
    read_events,
)
from apex_nautilus.data.bars import MINUTES, minutes_of, resample
from apex_nautilus.data.external_columns import ExternalColumns
from apex_nautilus.engine import load_config, run_backtest
from apex_nautilus.engine.config import BACKTEST_SCHEMA
from apex_nautilus.features import names as feature_names
from apex_nautilus.forge import ForgeError
from apex_nautilus.forge.lookahead import Leak, LookaheadReport, examine_bars, examine_events
from apex_nautilus.forge.lookahead_dataset import compare_dataset, examine_dataset, published_early
from apex_nautilus.genome import Genome, load

__all__ = ["examine_backtest", "examine_genome", "is_backtest"]

Reports = list[tuple[str, LookaheadReport]]

#: What Nautilus and the importers write themselves; everything else in a catalog comes from outside.
_OUR_DATA = frozenset({"order_book_deltas", "order_book_depths", "trade_tick", "quote_tick", "bar"})
_DEFINITIONS = frozenset(
    {"crypto_perpetual", "currency_pair", "crypto_future", "equity", "instrument_status"}
)


class _Schema(msgspec.Struct):
    schema: str = ""


def is_backtest(path: Path) -> bool:
    """Whether a file says that it is a backtest configuration."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Schema).schema == BACKTEST_SCHEMA
    except msgspec.MsgspecError:
        return False


def examine_genome(
    path: Path,
    catalog: Path,
    *,
    instrument: str | None,
    clock: str | None,
    dataset: Path | None,
    moments: int,
    seed: int,
) -> Reports:
    """Examine a genome; see `apex lookahead --help`."""
    genome = load(path, known_features=feature_names())
    market_id = instrument or genome.instrument_id
    if dataset is not None:
        return _on_dataset(genome, dataset, catalog, moments, seed)
    clock = clock or genome.clock
    rng = np.random.default_rng(seed)
    spec = load_instrument(catalog, market_id)
    external = ExternalColumns.of_catalog(catalog, market_id, genome.features)
    what = f"{path.name} on {market_id}, clock {clock}"
    if clock in MINUTES:
        report = examine_bars(
            genome,
            _bars(catalog, market_id, clock),
            spec,
            moments=moments,
            rng=rng,
            clock=clock,
            external=external,
        )
    else:
        events = _events(catalog, market_id)
        report = examine_events(
            genome, events, spec, moments=moments, rng=rng, clock=clock, external=external
        )
    outside = _published(catalog)
    return [(what, report), *([("series from outside", outside)] if outside is not None else [])]


def _events(catalog: Path, instrument_id: str) -> np.ndarray:
    chunks = list(read_events(catalog, instrument_id))
    if not chunks:
        raise ForgeError(f"{catalog}: no order book of {instrument_id} is stored; import one first")
    return np.concatenate(chunks)


def _bars(catalog: Path, instrument_id: str, clock: str) -> np.ndarray:
    minutes = MINUTES[clock]
    stored = {m: t for t in bar_types(catalog, instrument_id) if (m := minutes_of(t)) and minutes % m == 0}
    if not stored:
        raise ForgeError(
            f"{catalog}: no bars of {instrument_id} that a clock of {clock} could use; import some"
        )
    if minutes in stored:
        return read_bars(catalog, stored[minutes])
    return resample(read_bars(catalog, stored[min(stored)]), min(stored), minutes)


def _on_dataset(genome: Genome, folder: Path, catalog: Path, moments: int, seed: int) -> Reports:
    rng = np.random.default_rng(seed)
    data = Dataset.open(folder)
    reports: Reports = [
        (f"genome on the dataset {folder.name}", examine_dataset(genome, data, moments=moments, rng=rng))
    ]
    if (catalog / "data").is_dir() and not data.is_bars:
        external = ExternalColumns.of_catalog(catalog, data.instrument.id, data.feature_names)
        events = _between(_events(catalog, data.instrument.id), data.card.span_ns)
        report = compare_dataset(data, events, genome.features, moments=moments, rng=rng, external=external)
        reports.append((f"columns of {folder.name} against {catalog}", report))
    return reports


def _between(events: np.ndarray, span_ns: tuple[int, int]) -> np.ndarray:
    lo = int(np.searchsorted(events["ts_init_ns"], span_ns[0], side="left"))
    hi = int(np.searchsorted(events["ts_init_ns"], span_ns[1], side="right"))
    return events[lo:hi]


def _published(catalog: Path) -> LookaheadReport | None:
    """Every series of the catalog that is neither a market's own data nor a definition; None without any."""
    import pyarrow.parquet as pq

    leaks: list[Leak] = []
    rows, series = 0, []
    for path in sorted((catalog / "data").rglob("*.parquet")):
        kind = path.relative_to(catalog / "data").parts[0]
        if kind in _OUR_DATA or kind in _DEFINITIONS:
            continue
        columns = set(pq.read_schema(path).names)
        if not {"ts_event", "ts_init"} <= columns:
            continue
        table = pq.read_table(path, columns=["ts_event", "ts_init"])
        event, init = (table[name].to_numpy().astype(np.int64) for name in ("ts_event", "ts_init"))
        name = "/".join(path.relative_to(catalog / "data").parts[:-1])
        rows += event.size
        series.append(name)
        leaks.extend(published_early(name, event, init))
    if not series:
        return None
    return LookaheadReport(rows, 0, {"publication": rows}, sorted(set(series)), leaks)


# -- backtests


def examine_backtest(path: Path, *, moments: int, seed: int) -> Reports:
    """Run a backtest whole and cut at moments; what agents did before the cut must be the same."""
    config = load_config(path)
    rng = np.random.default_rng(seed)
    result = run_backtest(config, write=False)
    lo, hi = result.start_ns, result.end_ns
    whole = {agent.slot: agent.fills for agent in result.agents}
    leaks: dict[str, Leak] = {}
    compared = 0
    for moment in np.sort(rng.integers(lo + (hi - lo) // 10, hi, size=moments)).tolist():
        shorter = run_backtest(msgspec.structs.replace(config, end=moment), write=False)
        cut = {agent.slot: agent.fills for agent in shorter.agents}
        for slot, fills in whole.items():
            before = [f for f in fills if f.ts_ns < moment]
            others = [f for f in cut[slot] if f.ts_ns < moment]
            compared += len(before)
            at = next((i for i, (a, b) in enumerate(zip(before, others, strict=False)) if a != b), None)
            if at is None and len(before) != len(others):
                at = min(len(before), len(others))
            if at is not None and slot not in leaks:
                leaks[slot] = _fill_leak(slot, at, before, others, moment)
    slots = sorted(whole)
    report = LookaheadReport(
        sum(map(len, whole.values())), moments, {"orders": compared}, slots, list(leaks.values())
    )
    return [(f"{path.name}: {len(slots)} agents, {moments} cuts", report)]


def _fill_leak(slot: str, at: int, before: list[Any], others: list[Any], moment: int) -> Leak:
    fill = (before if at < len(before) else others)[at]
    note = (
        f"fill {at + 1} is {_told(before, at)} on all data, {_told(others, at)} on data that end at "
        f"{np.datetime64(moment, 'ns').astype('datetime64[ms]')}"
    )
    return Leak("orders", slot, 1, at, fill.ts_ns, moment, fill.price, fill.price, note)


def _told(fills: list[Any], at: int) -> str:
    if at >= len(fills):
        return "absent"
    fill = fills[at]
    return f"{'buy' if fill.side > 0 else 'sell'} {fill.quantity:g} at {fill.price:g}"
